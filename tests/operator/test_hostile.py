"""A tenant who writes whatever an API server takes, beside one who is honest: the real operator, on a real API server.

The objects that once ended every operator come first, by name; then hypothesis makes others. The operator has the memory that the
chart gives it.
"""

import contextlib
import http.client
import itertools
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.operator.process import OperatorProcess, prepare, running
from tests.operator.world import manifest
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Refused
from tests.waiting import wait_for
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator.objects import Body
from tuningjob_operator.reading import members

ROOT: Final = Path(__file__).parents[2]
TUNINGJOBS: Final = "/apis/tuningjob.dev/v1alpha1/namespaces/{}/tuningjobs"
EVIL, GOOD = "evil", "good"
# Within this an honest TuningJob has its first status. By itself it is some 50 ms.
PROMPT_SECONDS: Final = 2.0
# The bound of a wait that measures nothing: an API server that other tests slow down takes megabytes in only slowly.
SLOW_SECONDS: Final = 120.0
PEAK_BYTES: Final = 200 * 2**20
EXAMPLES: Final = int(os.environ.get("TUNINGJOB_EXAMPLES", "12"))
# What one object may hold, as etcd has it.
ETCD_BYTES: Final = 1_572_864

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with apiserver.running("operator") as found:
        prepare(found, EVIL, GOOD)
        yield found


@pytest.fixture(scope="module")
def operator(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with running(server, tmp_path_factory.mktemp("operator"), "operator") as process:
        wait_for(process.is_healthy, seconds=SLOW_SECONDS)
        yield process


def named(name: str, namespace: str, **spec: Any) -> Body:
    body = manifest(name, **spec)
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def post(server: ApiServer, text: bytes) -> int:
    """POST of an object that no honest client would write; returns the status.

    An API server that other tests slow down needs more for a megabyte than the 34 s that it gives itself. It then answers 504, and
    may have created the object all the same, so the same request is sent again.
    """
    for _ in range(5):
        status = server.ask("POST", TUNINGJOBS.format(EVIL), text)[0]
        if status != http.client.GATEWAY_TIMEOUT:
            break
    return http.client.CREATED if status == http.client.CONFLICT else status


def delete(server: ApiServer, name: str) -> None:
    assert server.ask("DELETE", f"{TUNINGJOBS.format(EVIL)}/{name}")[0] == 200


def hostile(name: str, value: bytes) -> bytes:
    """A TuningJob with this JSON as a parameter of its estimator, whatever Python's own encoder says to it."""
    body = named(name, EVIL, estimator={"class": "sklearn.svm.SVC", "params": {"class_weight": "HERE"}})
    return json.dumps(body).encode().replace(b'"HERE"', value)


def status_of(server: ApiServer, namespace: str, name: str) -> Body:
    """Read by the operator's own reader, because Python's decoder does not take all that a tenant may write."""
    _, text = server.ask("GET", f"{TUNINGJOBS.format(namespace)}/{name}")
    told = members(text).get(b"status")
    status: Body = {} if told is None else json.loads(told.text)
    return status


def job_of(server: ApiServer, namespace: str, name: str) -> int:
    """The status of a GET of its Job."""
    return server.ask("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")[0]


NUMBERS = itertools.count()


def first_status_seconds(server: ApiServer) -> float:
    """Of an honest TuningJob that is created now."""
    name = f"honest-{next(NUMBERS)}"
    server.create_object(TUNINGJOBS.format(GOOD), named(name, GOOD))
    return wait_for(lambda: status_of(server, GOOD, name).get("phase") == "Pending", seconds=SLOW_SECONDS)


def busy() -> float:
    """How many times slower this machine may be than an idle one, because it runs other tests, too."""
    return 1 + os.getloadavg()[0] / (os.cpu_count() or 1)


def assert_unharmed(server: ApiServer, operator: OperatorProcess) -> None:
    assert first_status_seconds(server) < PROMPT_SECONDS * busy()
    assert operator.exit_code is None
    assert operator.peak_bytes < PEAK_BYTES


def wide(item: bytes, size: int) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


CASES = {
    "a value that is nested 400 deep": b"[" * 400 + b"1" + b"]" * 400,
    "a value that is nested 985 deep": b"[" * 985 + b"1" + b"]" * 985,
    "a value that is nested as deep as an API server takes": b'{"a":' * 4_900 + b"1" + b"}" * 4_900,
    "350 KB of small maps": wide(b'{"a":0}', 350_000),
    "1 MB of small maps": wide(b'{"a":0}', 1_000_000),
    "1.4 MB of empty lists": wide(b"[]", 1_400_000),
    "1.4 MB of zeros": wide(b"0", 1_400_000),
    "just what is read, of empty maps": wide(b"{}", 250_000),
    "just what is read, of numbers beyond any float": wide(b"9" * 300, 250_000),
    "a text of 250 KB": b'"' + b"x" * 250_000 + b'"',
}


@pytest.mark.parametrize("value", CASES.values(), ids=CASES.keys())
def test_an_object_that_ended_the_operator_is_refused_and_nobody_else_is_concerned(
    server: ApiServer, operator: OperatorProcess, value: bytes
) -> None:
    name = f"case-{next(NUMBERS)}"
    created = post(server, hostile(name, value))
    assert_unharmed(server, operator)
    if created == 201:
        wait_for(lambda: status_of(server, EVIL, name).get("phase") in {"Failed", "Pending"}, seconds=SLOW_SECONDS)
        ended = [each for each in status_of(server, EVIL, name)["conditions"] if each["type"] == "Failed"]
        assert [each["reason"] for each in ended] in ([], ["ManifestRefused"])
        delete(server, name)  # the API server is slow with every one that it keeps


def test_an_honest_search_may_have_a_large_spec(server: ApiServer, operator: OperatorProcess) -> None:
    name = f"large-{next(NUMBERS)}"
    parameters = {"criterion": [f"{number:06}" for number in range(12_000)], "max_depth": [1, 2]}
    body = named(name, GOOD, search={"grid": {"parameters": parameters}}, limits={"maxFits": 100_000})
    server.create_object(TUNINGJOBS.format(GOOD), body)
    wait_for(lambda: status_of(server, GOOD, name).get("phase") == "Pending", seconds=SLOW_SECONDS)
    wait_for(lambda: job_of(server, GOOD, name) == 200, seconds=SLOW_SECONDS)
    assert_unharmed(server, operator)

    path = f"{TUNINGJOBS.format(GOOD)}/{name}"
    whole = server.call("GET", path)
    server.call("PUT", path, {**whole, "spec": {**whole["spec"], "cancel": True}})
    wait_for(lambda: status_of(server, GOOD, name).get("phase") == "Failed", seconds=SLOW_SECONDS)


def test_an_object_that_has_no_room_for_its_status_harms_nobody(server: ApiServer, operator: OperatorProcess) -> None:
    names = [f"full-{next(NUMBERS)}" for _ in range(4)]
    for name, room in zip(names, (0, 300, 2_000, 4_000), strict=True):
        text = hostile(name, b'"HERE"')
        # etcd counts what the API server adds to metadata, too: managedFields have some 1 KB
        post(server, text.replace(b"HERE", b"x" * (ETCD_BYTES - len(text) - 1_500 - room)))
    assert_unharmed(server, operator)
    for name in names:
        server.ask("DELETE", f"{TUNINGJOBS.format(EVIL)}/{name}")  # some were too large for etcd


def test_the_operator_ends_soon_when_it_is_told_to(server: ApiServer, tmp_path: Path) -> None:
    """A pod that takes its whole grace goes on deciding meanwhile, and keeps its successor waiting."""
    release = {"TUNINGJOB_RELEASE": "good/tj", "TUNINGJOB_POD_NAME": "tj-0"}
    with running(server, tmp_path, "operator", **release) as process:
        wait_for(lambda: any(line["message"] == "started" for line in process.lines()), seconds=SLOW_SECONDS)
        wait_for(process.is_healthy, seconds=SLOW_SECONDS)
        # kopf asks the API server for all of its resources first, and calls it an error if that is cut off
        server.create_object(TUNINGJOBS.format(GOOD), named(f"seen-{next(NUMBERS)}", GOOD))
        wait_for(lambda: any("tuningjob" in line for line in process.lines()), seconds=SLOW_SECONDS)
        began = time.monotonic()
        process.stop()
        assert time.monotonic() - began < 8 * busy()
        # kopf was cut off while it asked, or its watch (a generator) was busy when the loop closed: no fault of ours
        cut_off = {"kopf._core.reactor.observation", "asyncio"}
        assert not [line for line in process.lines() if line["level"] == "error" and line.get("logger") not in cut_off]


def test_a_standby_ends_when_it_is_told_to(server: ApiServer, tmp_path: Path) -> None:
    """Not by Python's own handling: the first process of a container has none."""
    lease = {"metadata": {"name": "held"}, "spec": {"holderIdentity": "good/held/another", "renewTime": None}}
    server.ask("POST", "/apis/coordination.k8s.io/v1/namespaces/good/leases", json.dumps(lease).encode())
    with running(server, tmp_path, "operator", TUNINGJOB_RELEASE="good/held", TUNINGJOB_POD_NAME="tj-0") as process:
        wait_for(lambda: any(line["message"] == "standing by" for line in process.lines()), seconds=SLOW_SECONDS)
        assert process.is_healthy()
        os.kill(process.pid, signal.SIGTERM)
        wait_for(lambda: process.exit_code is not None, seconds=5)
        assert process.exit_code == 0


def test_the_operator_comes_up_beside_all_of_them(server: ApiServer, operator: OperatorProcess) -> None:
    names = []
    # one of a megabyte: an API server takes seconds for each, and for each again when it is listed
    for value in (wide(b'{"a":0}', 1_000_000), *[b"[" * 985 + b"1" + b"]" * 985] * 3):
        names.append(f"again-{next(NUMBERS)}")
        assert post(server, hostile(names[-1], value)) == 201
    operator.stop()
    operator.start()
    wait_for(operator.is_healthy, seconds=SLOW_SECONDS)
    first_status_seconds(server)  # with all that it finds when it starts
    assert_unharmed(server, operator)
    for name in names:
        delete(server, name)


def test_a_refused_object_can_be_deleted(server: ApiServer, operator: OperatorProcess) -> None:
    name = f"gone-{next(NUMBERS)}"
    assert post(server, hostile(name, wide(b"0", 350_000))) == 201
    wait_for(lambda: status_of(server, EVIL, name).get("phase") == "Failed", seconds=SLOW_SECONDS)
    delete(server, name)
    assert_unharmed(server, operator)


def poison(operator: OperatorProcess, search: str, **columns: str) -> None:
    """What a release without bounds took in from a worker."""
    changes = ", ".join(f"{name} = ?" for name in columns)
    with contextlib.closing(sqlite3.connect(operator.folder / "tuning.db", timeout=30)) as database, database:
        database.execute(
            f"UPDATE searches SET revision = revision + 1, {changes} WHERE id = ?", (*columns.values(), search)
        )


def opened(server: ApiServer) -> tuple[str, str]:
    """Name and uid of a TuningJob of the tenant's whose search is open."""
    name = f"poisoned-{next(NUMBERS)}"
    uid = server.create_object(TUNINGJOBS.format(EVIL), named(name, EVIL))["metadata"]["uid"]
    wait_for(lambda: status_of(server, EVIL, name).get("phase") == "Pending", seconds=SLOW_SECONDS)
    return name, uid


ENDED = {"state": "Complete", "finished_at": "2026-01-01 00:00:00.000000"}
SPREAD = '{"low": 0, "expected": "Infinity", "high": "NaN"}'
WORDS: dict[str, dict[str, str]] = {
    "an answer of 2 MB": {**ENDED, "answer": f'{{"best_params": {{"a": [{"0," * 10**6}0]}}}}'},
    "an answer of 12 MB": {**ENDED, "answer": f'{{"best_params": {{"a": [{"0," * 6 * 10**6}0]}}}}'},
    "an answer that is nested 900 deep": {**ENDED, "answer": f'{{"best_params": {"[" * 900}{"]" * 900}}}'},
    "an infinite pilot": {
        "preflight": f'{{"data_digest": "d", "samples": 1, "features": 1, "versions": {{}}, "pilot": {{"cell_seconds": {SPREAD}, '
        f'"process_bytes": {SPREAD}, "pod_bytes": 1, "cells": 1}}}}'
    },
    "a reason of 4,000 characters": {
        "state": "Refused",
        "refusal": f'{{"problems": [{{"reason": "{"x" * 4_000}", "got": "\\ud800"}}]}}',
    },
}


def test_what_workers_once_said_neither_ends_the_operator_nor_stays_when_the_tuningjobs_go(
    server: ApiServer, operator: OperatorProcess
) -> None:
    uids = {}
    for words in WORDS.values():
        name, uid = opened(server)
        uids[name] = uid
        poison(operator, uid, **words)

    def is_cancelled(name: str) -> bool:
        with contextlib.suppress(Refused):  # a conflict with the operator's own write
            path = f"{TUNINGJOBS.format(EVIL)}/{name}"
            body = server.call("GET", path)
            if not body["spec"].get("cancel"):
                server.call("PUT", path, {**body, "spec": {**body["spec"], "cancel": True}})
        return status_of(server, EVIL, name).get("phase") in {"Failed", "Complete"}

    for name, what in zip(uids, WORDS, strict=True):
        wait_for(partial(is_cancelled, name), seconds=SLOW_SECONDS, what=what)
    operator.stop()
    for name in uids:
        delete(server, name)
    operator.start()
    wait_for(operator.is_healthy, seconds=SLOW_SECONDS)
    with contextlib.closing(SqlJournal(f"sqlite:///{operator.folder / 'tuning.db'}")) as journal:
        wait_for(lambda: not set(uids.values()) & set(journal.places()), seconds=SLOW_SECONDS)
    first_status_seconds(server)  # with all that it finds when it starts
    assert_unharmed(server, operator)


SCALARS = st.sampled_from(
    [b"0", b"null", b"true", b'""', b"1e308", b"-0.0", b"9" * 400, b'"\\ud800"', b'"\\u0000"', b'"}]"', b'"\xc3\xa9"']
)
SHAPES: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "deep lists": lambda scalar, size: b"[" * (size // 100) + scalar + b"]" * (size // 100),
    "deep maps": lambda scalar, size: b'{"a":' * (size // 200) + scalar + b"}" * (size // 200),
    "wide lists": wide,
    "wide maps": lambda scalar, size: wide(b'{"a":%b}' % scalar, size),
    "many keys": lambda scalar, size: (
        b"{" + b",".join(b'"%d":%b' % (key, scalar) for key in range(size // (len(scalar) + 9))) + b"}"
    ),
    "long keys": lambda scalar, size: b'{"%b":%b}' % (b"k" * size, scalar),
}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(shape=st.sampled_from(list(SHAPES)), scalar=SCALARS, size=st.integers(1, 1_450_000))
def test_whatever_a_tenant_writes_an_honest_one_is_served(
    server: ApiServer, operator: OperatorProcess, shape: str, scalar: bytes, size: int
) -> None:
    name = f"made-up-{next(NUMBERS)}"
    created = post(server, hostile(name, SHAPES[shape](scalar, size)))
    assert_unharmed(server, operator)
    if created == 201:
        wait_for(lambda: "phase" in status_of(server, EVIL, name), seconds=SLOW_SECONDS)
        delete(server, name)


def test_a_tenant_with_hundreds_of_tuningjobs_delays_nobody(server: ApiServer, operator: OperatorProcess) -> None:
    for _ in range(200):
        post(server, json.dumps(named(f"one-of-many-{next(NUMBERS)}", EVIL)).encode())
    assert_unharmed(server, operator)
