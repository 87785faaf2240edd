"""Whatever a worker sends is taken, or refused in one sentence within little memory; and what is stored stays readable."""

import contextlib
import gc
import json
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.journal.makers import Pod, an_answer
from tests.service.server import Service
from tests.service.test_isolation import BODIES, RESULT
from tuningjob.protocol.records import CellResult
from tuningjob.protocol.requests import Report
from tuningjob_operator.service.bodies import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_VALUES,
    BodyRefused,
    Listed,
    Takes,
    look_through,
)
from tuningjob_operator.service.workers import _REPORT

ROUTES = {path: body for path, body in BODIES.items() if isinstance(body, dict) and "{" not in path}


def send(http: httpx.Client, path: str, body: bytes) -> httpx.Response:
    return http.request("PUT" if path == "/v1/preflight" else "POST", path, content=body)


def told(response: httpx.Response) -> str:
    detail = response.json()["detail"]
    assert isinstance(detail, str)
    assert "\n" not in detail
    assert len(detail) < 1_000
    return detail


# --- any bodies -------------------------------------------------------------------------------------------------------

NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["NaN", "Infinity", "x" * 10_000, "\0", "../..", "tj1.x", 10**400, 1e308]),
)
VALUES = st.recursive(
    NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A route with what it takes, of which one part is something else; or with anything at all; as JSON, or damaged."""
    path = draw(st.sampled_from(sorted(ROUTES)))
    body: Any = json.loads(json.dumps(ROUTES[path]))
    at = body
    while isinstance(at, dict | list) and at:
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or draw(st.booleans()):
            at[key] = draw(VALUES)
            break
        at = at[key]
    whole = draw(st.one_of(st.just(body), VALUES))
    text = json.dumps(whole, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    cut = draw(st.integers(0, len(text)))
    return path, draw(
        st.sampled_from([text, text[:cut], text[:cut] + b"\xff\xfe" + text[cut:], text.replace(b'"', b'"\\ud800', 1)])
    )


@pytest.mark.slow
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sent=bodies())
def test_no_body_is_a_500_and_each_refusal_is_a_sentence(standing: Service, blunderer: httpx.Client, sent: Any) -> None:
    response = send(blunderer, *sent)
    assert response.status_code < 500, sent
    if response.status_code >= 400:
        told(response)
    for path in ("/v1/search", "/v1/cells"):
        assert blunderer.get(path).status_code == 200
    standing.journal.progress("search-a")


# --- the kinds by name ------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def answer(params: bytes) -> bytes:
    return json.dumps(ROUTES["/v1/complete"]).encode().replace(b'"best_params": {}', b'"best_params": ' + params)


def report(**changes: object) -> bytes:
    return json.dumps({"index": 0, "results": [RESULT | changes]}).encode()


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "deep parameters": ("/v1/complete", answer(b'{"a":' + nested(500) + b"}"), "at most 64 levels"),
    "deep and not closed": ("/v1/complete", b"[" * 100_000, "at most 64 levels"),
    "many parameters": ("/v1/complete", answer(b'{"a":[' + b"0," * 40_000 + b"0]}"), "at most 65,536 bytes"),
    "an infinite parameter": ("/v1/complete", answer(b'{"a":1e999}'), "finite numbers"),
    "a NaN that is no JSON": ("/v1/complete", answer(b'{"a":NaN}'), "no NaN"),
    "an integer of 5,000 digits": ("/v1/complete", answer(b'{"a":' + b"9" * 5_000 + b"}"), ""),
    "half a character in parameters": ("/v1/complete", answer(b'{"a":"\\ud800"}'), "must be JSON"),
    "half a character in a refusal": ("/v1/refuse", b'{"problems":[{"field":"\\udfff"}]}', "must be JSON"),
    "a problem of a megabyte": ("/v1/refuse", json.dumps({"problems": [{"got": "x" * 900_000}]}).encode(), "8192"),
    "a metric without a name": ("/v1/cells", report(test_scores={"": 0.5}), "at least 1 character"),
    "a metric with a long name": ("/v1/cells", report(test_scores={"x" * 65: 0.5}), "at most 64 characters"),
    "an infinite time": ("/v1/cells", report(fit_seconds="Infinity"), "finite"),
    "a time longer than any": ("/v1/cells", report(fit_seconds=1e300), "less than or equal to 1000000000"),
    "objects without end": (
        "/v1/cells",
        b'{"index":0,"results":[' + b'{"":0},' * 10**6 + b"0]}",
        "60,000 lists and objects",
    ),
    "lists without end": ("/v1/cells", b'{"index":0,"results":[' + b"[]," * 10**6 + b"0]}", "60,000 lists and objects"),
    "numbers without end": ("/v1/cells", b'{"index":0,"results":[' + b"0," * 3 * 10**6 + b"0]}", "400,000 values"),
    "texts without end": ("/v1/cells", b'{"index":0,"results":[' + b'"",' * 2 * 10**6 + b'""]}', "400,000 values"),
    "an infinite forecast": (
        "/v1/preflight",
        json.dumps(
            ROUTES["/v1/preflight"]
            | {
                "pilot": {
                    "cell_seconds": {"low": 0, "expected": "Infinity", "high": "Infinity"},
                    "process_bytes": {"low": 0, "expected": 0, "high": 0},
                    "pod_bytes": 0,
                    "cells": 1,
                }
            }
        ).encode(),
        "finite",
    ),
    "a long warning": (
        "/v1/preflight",
        json.dumps(ROUTES["/v1/preflight"] | {"warnings": ["x" * 8_193]}).encode(),
        "at most 8192 characters",
    ),
    "a long version": (
        "/v1/preflight",
        json.dumps(ROUTES["/v1/preflight"] | {"versions": {"numpy": "x" * 129}}).encode(),
        "at most 128 characters",
    ),
}


@pytest.mark.alike
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_refused_with_the_reason(blunderer: httpx.Client, kind: str) -> None:
    path, body, sentence = HOSTILE[kind]
    response = send(blunderer, path, body)
    assert response.status_code == 422, response.text[:300]
    assert sentence in told(response)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[" + b"[]," * (MAX_CONTAINERS - 2) + b"[]]",
        b"[" + b"0," * MAX_VALUES + b"0]",
        b'["' + b'\\\\\\"[{,NI' * 10_000 + b'"]',
        b"true",
        b"",
    ],
    ids=["depth", "containers", "values", "in a text nothing counts", "a word", "nothing"],
)
def test_what_is_within_the_bounds_may_be_parsed(body: bytes) -> None:
    look_through(body)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_the_depth_that_is_counted_is_the_depth_that_there_is(value: object) -> None:
    def depth(part: object) -> int:
        if isinstance(part, dict):
            return 1 + max(map(depth, part.values()), default=0)
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    body = json.dumps(value).encode()
    room = MAX_DEPTH - depth(value)
    look_through(b"[" * room + body + b"]" * room)
    with pytest.raises(BodyRefused):
        look_through(b"[" * (room + 1) + body + b"]" * (room + 1))


def a_report(cells: int, *, indent: int | None = None, **changes: Any) -> bytes:
    scores = {f"metric_{number}": 0.5 for number in range(24)}
    results = [{**RESULT, "candidate": number, "test_scores": scores} for number in range(cells)]
    for place, value in changes.items():
        results[int(place.removeprefix("at_"))] = value
    return json.dumps({"index": 3, "results": results}, indent=indent).encode()


@pytest.mark.parametrize("indent", [None, 1])
def test_a_long_report_that_is_parsed_in_pieces_is_the_one_that_was_sent(indent: int | None) -> None:
    body = a_report(1_000, indent=indent)
    assert _REPORT.parsed(body) == TypeAdapter(Report).validate_json(body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            a_report(1_000, at_777={**RESULT, "fit_seconds": "x"}),
            "body.results.777.fit_seconds: must be a valid number",
        ),
        (a_report(1_000, at_777=3), "body.results.777: must be an object"),
        (a_report(1_000, at_999=3), "body.results: must be a list of objects"),
        (a_report(1_000)[:-1] + b',"results":[]}', "body.results: must be there once"),
        (a_report(1_000)[:-1] + b',"more":1}', "body.more: must not be there"),
        (a_report(1_000)[:-2], "body: must be JSON"),
        (a_report(1_000, at_0={**RESULT, "error": "x" * 2**18}), "body.results.0: must be of at most 131,072 bytes"),
        (
            b'{"index":0,"results":[{"test_scores":{%b"":0}}]}' % (b'"a":0,' * 70_000),
            "body.results.0: must be of at most",
        ),
    ],
)
def test_what_is_wrong_in_a_long_report_is_told_with_its_place(body: bytes, sentence: str) -> None:
    with pytest.raises(BodyRefused) as refused:
        _REPORT.parsed(body)
    assert refused.value.detail.startswith(sentence)


@pytest.mark.slow
def test_no_piece_of_the_largest_hostile_report_keeps_other_threads_from_running() -> None:
    """By the time that one call of pydantic's takes: it lets no other thread run."""
    calls: list[float] = []
    numbers = b'{"index":0,"results":[' + b'{"":0},' * 900 + b'{"a":[%b0]}]}' % (b"0," * 50_000)
    many = b'{"index":0,"results":[' + b",".join([b'{"a":[%b0]}' % (b"0," * 390)] * 1_000) + b"]}"
    takes = Takes[Report](Report, Listed("results", CellResult, 1_000))
    validated = takes._validated

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return validated(*args, **kwargs)
        finally:
            calls.append(time.thread_time() - began)

    takes._validated = timed  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()  # what the tests before have left is not looked through here
    for body in (numbers, many, a_report(1_000)):
        with contextlib.suppress(BodyRefused):
            takes.parsed(body)
    assert calls
    assert max(calls) < 0.05, max(calls)


# --- memory -----------------------------------------------------------------------------------------------------------

_PARSE = """
import resource, sys
from tuningjob_operator.service.bodies import BodyRefused
from tuningjob_operator.service.workers import _REPORT
size = 8 * 2**20
shape = {"objects": b'{"":0},', "lists": b"[],", "numbers": b"0,", "texts": b'"",', "quotes": b'\\\\"', "open": b'"a'}[sys.argv[1]]
body = b'{"index":0,"results":[' + shape * (size // len(shape)) + b"0]}"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    _REPORT.parsed(body)
except BodyRefused:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["objects", "lists", "numbers", "texts", "quotes", "open"])
def test_the_largest_body_of_any_shape_is_refused_within_little_memory(shape: str) -> None:
    done = subprocess.run([sys.executable, "-c", _PARSE, shape], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 24, "MiB more than the body itself"


# --- what an older release took in -------------------------------------------------------------------------------------


@pytest.mark.alike
@pytest.mark.parametrize(
    "poison",
    [json.dumps({"a": "x" * 2**21}), "[" * 5_000, '{"a": Infinity}', "no JSON"],
    ids=["long", "deep", "infinite", "none"],
)
def test_rows_that_an_older_release_took_in_end_nobody(service: Service, poison: str) -> None:
    Pod(service.journal.view("search-a")).work()
    with service.client() as client:
        client.complete(an_answer())
        with service.journal._database.writing() as connection:
            for change in (
                "UPDATE searches SET answer = ?, preflight = ?",
                "UPDATE cells SET result = ? WHERE ordinal = 3 AND ? <> ''",
            ):
                connection.exec_driver_sql(change, (poison, poison))
        progress = service.journal.progress("search-a")
        assert progress.answer is not None
        assert (progress.preflight, progress.answer.best_params) == (None, {})
        results = list(client.results())
        assert len(results) == progress.total
        assert results[3].error is not None
        assert client.search().preflight is None
