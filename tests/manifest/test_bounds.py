"""What somebody else wrote may be deep, long, or say one thing a million times: it is refused, in bounded time and memory."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load, load_spec
from tuningjob.manifest.bounds import MAX_DEPTH, MAX_FILE_BYTES, MAX_SPEC_BYTES, problems_of
from tuningjob.manifest.canonical import canonical, read_file, read_yaml
from tuningjob.manifest.grid import parse_grid
from tuningjob.manifest.literals import parse_literal, parse_params, shown
from tuningjob.manifest.ranges import parse_values

DEEP = f"lists and maps inside each other, {MAX_DEPTH} deep at the most"


def nested(depth: int, wrap: str = "list") -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if wrap == "list" else {"a": value} if wrap == "map" else {"tuple": [value]}
    return value


def aliased(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value] * 9
    return value


def refusal(of: Any, *arguments: Any) -> str:
    with pytest.raises(ManifestRefused) as refused:
        of(*arguments)
    return str(refused.value)


def verdict(of: Any, *arguments: Any) -> str:
    """The reason of a refusal, or nothing. Any other exception goes through."""
    try:
        of(*arguments)
    except ManifestRefused as refused:
        return str(refused)
    return ""


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.integers()
    | st.sampled_from([18, 307, 308, 400, 5_000]).map(lambda digits: -(10**digits)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["class", "params", "float", "int", "tuple", "dict", "none", "range", "linspace", "logspace", "a"]
            ),
            inner,
            max_size=2,
        )
        | st.builds(nested, st.sampled_from([3, MAX_DEPTH + 1, 5_000]), st.sampled_from(["list", "map", "tuple"]))
        | st.just(30).map(aliased)
    ),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=20)
@given(odd)
def test_no_json_value_ends_in_anything_but_a_refusal(value: Any) -> None:
    for read in (
        canonical,
        load,
        load_spec,
        lambda each: load_spec(
            {
                "estimator": {"class": "a.B", "params": {"x": each}},
                "search": {"grid": {"parameters": {"y": each}}},
                "data": {"loader": "sklearn.datasets.load_iris"},
            }
        ),
    ):
        assert len(verdict(read, value)) < 2_000


@pytest.mark.slow
@given(odd.filter(lambda value: not problems_of(value, "", max_bytes=10_000, max_depth=6_000)))
def test_literals_are_refused_or_parsed_however_deep_they_are(value: Any) -> None:
    for parse in (
        parse_literal,
        parse_values,
        lambda each, field: parse_params({"a": each}, field),
        lambda each, _: parse_grid({"a": each}),
    ):
        assert len(verdict(parse, value, "field")) < 2_000


@pytest.mark.slow
@given(odd)
def test_whatever_it_is_it_can_be_shown(value: Any) -> None:
    assert len(shown(value)) <= 80


@pytest.mark.slow
@given(
    st.recursive(
        st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner) | st.lists(inner).map(tuple),
        max_leaves=8,
    )
)
def test_what_is_shown_is_the_repr(value: Any) -> None:
    assert shown(value, sys.maxsize) == repr(value)


@pytest.mark.slow
def test_what_says_one_thing_a_million_times_is_refused_and_shown_all_the_same() -> None:
    assert "of at most 200,000 values, but got more" in verdict(canonical, aliased(30))
    assert "of at most 50,000 values, but got more" in verdict(load, {"spec": aliased(30)})
    assert shown(aliased(30)).startswith("[[[[")


@pytest.mark.parametrize("wrap", ["list", "map"])
def test_what_is_as_deep_as_it_may_be_is_taken_and_one_level_more_is_refused_with_its_path(wrap: str) -> None:
    assert canonical(nested(MAX_DEPTH, wrap)) == nested(MAX_DEPTH, wrap)
    step = "[0]" if wrap == "list" else ".a"
    assert refusal(canonical, {"spec": nested(MAX_DEPTH, wrap)}).startswith(f"spec{step}{step}")
    assert refusal(canonical, {"spec": nested(2_000, wrap)}).endswith(f": must be {DEEP}, but got more.")


def test_what_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert DEEP in refusal(canonical, circle)
    assert "must be YAML, but got a syntax error (the alias *a stands for what it is inside of)" in refusal(
        read_yaml, "a: &a [1, *a]"
    )
    assert "the alias *a stands for" in refusal(read_yaml, "a: &a {<<: *a}")


@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_number_of_hundreds_of_digits_is_refused(digits: int) -> None:
    for text in ("9" * digits, f"-{'9' * digits}", f"0x{'f' * digits}"):
        assert "must be a number of at most 308 digits, but got one of " in refusal(read_yaml, f"a: {text}")


def test_the_largest_number_that_is_taken_is_one_that_a_float_holds() -> None:
    assert read_yaml(f"a: {'9' * 308}") == {"a": 1e308}
    assert canonical(10**308 - 1) == 1e308
    assert refusal(canonical, {"a": 10**308}).startswith("a: must be a number of at most 308 digits")


def resident_bytes(field: str) -> int:
    """What this process holds (VmRSS), or has held at the most (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "\n".join(["a: &a0 0", *(f"b{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(30))]),
            id="lists",
        ),
        pytest.param(
            "\n".join(
                [
                    "a: &a0 {x: 0}",
                    *(f"b{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}], k{i}: 0}}" for i in range(30)),
                ]
            ),
            id="merges",
        ),
        pytest.param(
            "\n".join(
                ["a: &a0 0", *(f"b{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(30)), "? *a30\n: 1"]
            ),
            id="keys",
        ),
        pytest.param("[" * 100_000, id="brackets"),
        pytest.param("a:\n" + "\n".join(" " * i + "a:" for i in range(1, 1_000)), id="indents"),
        pytest.param(f"[{'0,' * 400_000}]", id="values", marks=pytest.mark.slow),
    ],
)
def test_what_multiplies_or_nests_is_refused_before_it_costs_anything(text: str) -> None:
    # the peak is one from now on; to trace allocations would take four times as long
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, began = resident_bytes("VmRSS"), time.process_time()
    message = refusal(read_yaml, text)
    assert time.process_time() - began < 10
    assert resident_bytes("VmHWM") - before < 64 * 2**20
    assert any(
        words in message
        for words in ("deep", "at most 200,000 values", "keys are merged", "a key is a list", "more than 50,000 values")
    )


def test_a_spec_is_bounded_and_metadata_beside_it_is_not_counted(iris_forest: dict[str, Any]) -> None:
    iris_forest["metadata"]["annotations"] = {"note": "x" * MAX_SPEC_BYTES}
    load(iris_forest)
    iris_forest["spec"]["data"]["params"] = {"note": "x" * MAX_SPEC_BYTES}
    assert refusal(load, iris_forest).startswith("spec: must be of at most 256 KiB as JSON, but got more.")


@pytest.mark.slow
def test_a_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"#" * MAX_FILE_BYTES)
    assert refusal(read_file, path) == "the file: must be one YAML document, but got 0 documents."
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert refusal(read_file, path) == f"{path}: must be a file of at most 1 MiB, but got a longer one."
