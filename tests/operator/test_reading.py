"""Objects cut out of an API server's text are small and shallow, and otherwise unchanged."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from tuningjob.manifest.bounds import MAX_SPEC_BYTES
from tuningjob_operator.names import ANNOTATION_CREATED_BY
from tuningjob_operator.reading import (
    KEPT_SPEC_BYTES,
    ListSplitter,
    is_large,
    is_partial,
    members,
    slim,
    slim_event,
    unreadable,
)

TEXT = st.text(max_size=8) | st.sampled_from(["}", '"', "\\", '\\"]', "items", "a{[", "\u2028", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)

FEW = settings(max_examples=40)


def written(value: Any, *, blanks: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=None if blanks else (",", ":")).encode()


def tuningjob(spec: Any, **fields: Any) -> bytes:
    metadata = {"name": "forest", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 1}
    return written({"kind": "TuningJob", "metadata": metadata, "spec": spec, **fields})


def deep(levels: int) -> bytes:
    """A TuningJob with so many lists inside each other; written by hand, as Python's own encoder does not go so deep."""
    return tuningjob({"cancel": True, "x": 0}).replace(b'"x":0', b'"x":' + b"[" * levels + b"]" * levels)


@pytest.mark.slow
@FEW
@given(item=OBJECTS, blanks=st.booleans())
def test_the_fields_of_any_object_are_found(item: dict[str, Any], blanks: bool) -> None:
    found = members(written(item, blanks=blanks))
    assert {json.loads(b'"%b"' % name): json.loads(member.text) for name, member in found.items()} == item


@pytest.mark.slow
@FEW
@given(
    items=st.lists(OBJECTS, max_size=5),
    fields=st.dictionaries(TEXT.filter(lambda name: name != "items"), VALUES, max_size=3),
    after=st.booleans(),
    blanks=st.booleans(),
    size=st.integers(1, 200),
)
def test_a_list_comes_apart_into_its_items_however_its_text_comes(
    items: list[Any], fields: dict[str, Any], after: bool, blanks: bool, size: int
) -> None:
    whole = {**fields, "items": items} if after else {"items": items, **fields}
    text, splitter = written(whole, blanks=blanks), ListSplitter()
    found = [item for at in range(0, len(text), size) for item in splitter.feed(text[at : at + size])]

    assert [json.loads(item) for item in found] == items
    assert json.loads(splitter.rest) == {**fields, "items": []}


@pytest.mark.slow
@FEW
@given(spec=OBJECTS, status=OBJECTS)
def test_an_ordinary_tuningjob_stays_as_it_is_but_for_what_nobody_reads(
    spec: dict[str, Any], status: dict[str, Any]
) -> None:
    status.pop("managedFields", None)
    body = json.loads(slim(tuningjob(spec, status=status)))
    assert (body["spec"], body["status"]) == (spec, status)
    assert not is_partial(body)


def test_of_the_annotations_only_the_creator_is_kept() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 9_000, ANNOTATION_CREATED_BY: "alice"}
    text = written({"kind": "TuningJob", "metadata": {"name": "a", "annotations": annotations, "managedFields": [1]}})
    assert json.loads(slim(text))["metadata"] == {"name": "a", "annotations": {ANNOTATION_CREATED_BY: "alice"}}


@pytest.mark.parametrize("levels", [200, 985, 9_000, 100_000])
def test_what_is_nested_deep_is_not_decoded_and_says_so(levels: int) -> None:
    body = from_json(slim(deep(levels)))

    assert body["spec"] == {"cancel": True}
    assert "64 deep at the most, but got" in str(unreadable(body))


@pytest.mark.alike
@pytest.mark.parametrize("value", [[0], [{"a": 0}], [[]], ["é"], [{"é" * 40: None}]])
def test_what_is_wide_is_left_out_and_what_may_change_is_there(value: list[Any]) -> None:
    spec = {"cancel": True, "parallelism": 3, "estimator": {"params": value * 200_000}}
    for spec_bytes in (KEPT_SPEC_BYTES, MAX_SPEC_BYTES):
        text = slim(tuningjob(spec), spec_bytes=spec_bytes)
        body = json.loads(text)
        assert len(text) < 1_000
        assert body["spec"] == {"cancel": True, "parallelism": 3}
        if len(written(spec)) > MAX_SPEC_BYTES:
            assert "of at most 256 KiB as JSON" in str(unreadable(body))


def test_a_spec_that_is_not_kept_is_there_when_it_is_asked_for() -> None:
    spec = {"estimator": {"params": {"a": ["x" * 100] * 200}}}
    kept = json.loads(slim(tuningjob(spec)))
    whole = json.loads(slim(tuningjob(spec), spec_bytes=MAX_SPEC_BYTES))

    assert is_partial(kept)
    assert unreadable(kept) is None
    assert whole["spec"] == spec
    assert is_large(whole)


def test_nobody_can_write_the_mark_that_says_what_was_left_out() -> None:
    body = json.loads(slim(tuningjob({}, leftOut={"bytes": 10**9, "depth": 1}, specBytes=10**9)))
    assert not is_partial(body)
    assert not is_large(body)


def test_a_large_answer_in_a_status_does_not_hide_that_the_search_has_ended() -> None:
    ended = [{"type": "Complete", "status": "True"}]
    status = {"best": {"params": {"a": [0] * 200_000}}, "conditions": ended}
    assert json.loads(slim(tuningjob({}, status=status)))["status"] == {"conditions": ended}


@pytest.mark.slow
@FEW
@given(item=OBJECTS)
def test_other_objects_lose_only_what_is_too_large_or_too_deep(item: dict[str, Any]) -> None:
    item = {name: value for name, value in item.items() if name not in {"kind", "metadata", "spec", "status"}}
    large = {"a": 1, "b": "x" * 200_000}
    body = {**item, "kind": "Job", "metadata": {"name": "a", "managedFields": []}, "spec": large}
    assert json.loads(slim(written(body))) == {**item, "kind": "Job", "metadata": {"name": "a"}, "spec": {"a": 1}}


def test_an_event_is_slim_and_a_bookmark_is_as_it_was() -> None:
    event = json.loads(slim_event(b'{"type":"ADDED","object":%b}' % deep(985)))
    assert (event["type"], event["object"]["metadata"]["name"], event["object"]["spec"]) == (
        "ADDED",
        "forest",
        {"cancel": True},
    )
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "9"}, "spec": {}}}
    assert json.loads(slim_event(written(bookmark))) == bookmark
    gone = {"type": "ERROR", "object": {"kind": "Status", "metadata": {}, "status": "Failure", "code": 410}}
    assert json.loads(slim_event(written(gone))) == gone


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'{"a"', b'{"a":[}', b'{"a":', b"{a:1}", b'{"a":"x'])
def test_what_is_no_object_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="must be"):
        members(text)
