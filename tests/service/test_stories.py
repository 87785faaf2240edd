"""A TuningJob as the pages read it: its status, and nothing of a spec that its tenant may have made large or deep."""

import json
import tracemalloc

import pytest

from tuningjob.live.story import story_of
from tuningjob_operator.service.stories import tuningjob_of

SPECS = {
    "a megabyte of small maps": b"[" + b",".join([b'{"a":0}'] * 175_000) + b"]",
    "a megabyte of empty lists": b"[" + b",".join([b"[]"] * 400_000) + b"]",
    "as deep as an API server takes": b'{"a":' * 4_900 + b"1" + b"}" * 4_900,
}


@pytest.mark.alike
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_of_a_hostile_spec_nothing_is_decoded(spec: bytes) -> None:
    body = {
        "kind": "TuningJob",
        "metadata": {"name": "forest", "uid": "1"},
        "spec": "HERE",
        "status": {"phase": "Failed", "conditions": [{"type": "Failed", "status": "True"}]},
    }
    text = json.dumps(body).encode().replace(b'"HERE"', b'{"estimator":%b}' % spec)
    tracemalloc.start()
    try:
        found = tuningjob_of(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(text) + 2**18
    story = story_of(found, None)
    assert (story.phase, story.is_over) == ("Failed", True)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an object"):
        tuningjob_of(b"[]")
