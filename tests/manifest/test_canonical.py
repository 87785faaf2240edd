"""A manifest means the same whether or not it went through an API server."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.canonical import canonical, read_yaml, to_yaml

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@given(json_values)
def test_canonical_form_is_its_own_canonical_form(value: Any) -> None:
    once = canonical(value)
    assert canonical(once) == once
    assert json.dumps(canonical(once)) == json.dumps(once)


odd_text = st.sampled_from(
    ["y", "No", "1e5", "0o17", "~", "", "<<", "12:30", "a: b", "- a", "#", "1" * 2_000, "\u2028", "x\n y"]
)


@pytest.mark.slow
@given(st.dictionaries(st.text() | odd_text, json_values | odd_text, max_size=3))
def test_what_is_written_as_yaml_is_read_as_it_was(value: dict[str, Any]) -> None:
    once = canonical(value)
    if once:
        assert read_yaml(to_yaml(once)) == once


@pytest.mark.slow
@given(json_values)
def test_canonical_form_survives_json(value: Any) -> None:
    assert canonical(json.loads(json.dumps(canonical(value)))) == canonical(value)


# what kubectl and kube-apiserver 1.34 hand back for each of these is held against this table in tests/cluster
SCALARS = {
    "1.0": 1,
    "0.5": 0.5,
    "1e-3": 0.001,
    "1E3": 1000,
    "1e300": 1e300,
    ".5": 0.5,
    "5.": 5,
    "-0.0": 0,
    "007": 7,
    "0o17": 15,
    "0x1F": 31,
    "0b101": 5,
    "1_000": 1000,
    "12:30:45": "12:30:45",
    "2026-11-21": "2026-11-21",
    "yes": True,
    "off": False,
    "'1'": "1",
    '"yes"': "yes",
    "~": None,
    "scale": "scale",
    "9223372036854775807": 9223372036854775807,
}


@pytest.mark.parametrize(("written", "want"), SCALARS.items())
def test_scalars_are_read_as_kubectl_reads_them(written: str, want: object) -> None:
    (found,) = read_yaml(f"[{written}]")
    assert found == want
    assert type(found) is type(want)


def test_a_null_under_a_key_is_dropped_and_one_in_a_list_lives() -> None:
    assert read_yaml("{a: null, b: [null, 1]}") == {"b": [None, 1]}


def test_keys_become_strings() -> None:
    assert read_yaml("{1: a, true: b}") == {"1": "a", "true": "b"}


def test_merge_keys_and_anchors_work() -> None:
    assert read_yaml("base: &b {a: 1}\nmore: {<<: *b, c: 2}") == {"base": {"a": 1}, "more": {"a": 1, "c": 2}}


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_json_cannot_carry_is_refused_with_the_spelling_that_works(number: float) -> None:
    with pytest.raises(ManifestRefused, match=r"a\[0\]: must be a finite number, .* Write \{float:"):
        canonical({"a": [number]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "must be YAML, but got a syntax error"),
        ("a: 1\n---\nb: 2", "must be one YAML document, but got 2 documents"),
        ("", "0 doc"),
    ],
)
def test_what_is_not_one_yaml_document_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestRefused, match=message):
        read_yaml(text)


def test_yaml_cannot_make_python_objects() -> None:
    with pytest.raises(ManifestRefused):
        read_yaml("!!python/object/apply:os.getcwd []")
