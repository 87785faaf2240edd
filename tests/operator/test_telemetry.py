"""The operator's metrics, scraped as Prometheus does: over HTTP."""

import asyncio
import json
import logging
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.operator.world import World, manifest
from tuningjob.journal.records import Progress
from tuningjob.protocol.records import SearchState
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.contract import ApiError, Conflict
from tuningjob_operator.control.loops import work_on
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.control.telemetry import Telemetry, serving
from tuningjob_operator.logs import JsonFormatter
from tuningjob_operator.objects import Key

KEY = Key("default", "forest")


class Scraped(Collector):
    """A telemetry, and an endpoint that serves it: one for all tests, because to end one takes half a second."""

    telemetry: Telemetry

    def __init__(self, url: str) -> None:
        self.url = url

    def collect(self) -> Iterable[Metric]:
        return self.telemetry.registry.collect()

    async def value(self, name: str, **labels: str) -> float:
        """One sample as it is served now. Raises KeyError if it is not there."""
        text = (await asyncio.to_thread(get, self.url)).decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise KeyError(name)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
        return found


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Scraped]:
    registry = CollectorRegistry()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    made = Scraped(f"http://127.0.0.1:{server.server_port}/metrics")
    made.telemetry = Telemetry(Cache())
    registry.register(made)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def scraped(endpoint: Scraped, world: World) -> Scraped:
    endpoint.telemetry = Telemetry(world.cache)
    return endpoint


def progress(*, done: int, state: SearchState = SearchState.RUNNING, **counts: Any) -> Progress:
    values = {"failed": 0, "total": 18, "revision": 1, **counts}
    return Progress(id="u", namespace="default", name="forest", state=state, done=done, **values)


async def test_tuningjobs_are_counted_by_phase_when_asked(world: World, scraped: Scraped) -> None:
    for name in ("first", "second"):
        world.cluster.apply(manifest(name))
    await world.settle()
    world.preflight("first")
    await world.later(10)

    assert await scraped.value("tuningjob_tuningjobs", phase="Running") == 1
    assert await scraped.value("tuningjob_tuningjobs", phase="Pending") == 1
    assert await scraped.value("tuningjob_tuningjobs", phase="Failed") == 0


async def test_pods_are_counted_over_all_jobs(world: World, scraped: Scraped) -> None:
    for name in ("first", "second"):
        world.cluster.apply(manifest(name))
    await world.settle()
    world.cluster.run_pods()
    await world.settle()

    assert await scraped.value("tuningjob_active_pods") == 2


async def test_a_stand_by_says_that_it_is_one_and_is_not_taken_for_blind(scraped: Scraped) -> None:
    is_leading = False
    scraped.telemetry.show(queue=[], resync_age=lambda: 5_000.0, leads=lambda: is_leading)
    assert await scraped.value("tuningjob_leading") == await scraped.value("tuningjob_resync_age_seconds") == 0
    is_leading = True
    assert await scraped.value("tuningjob_leading") == 1
    assert await scraped.value("tuningjob_resync_age_seconds") == 5_000


async def test_the_queue_tells_its_depth_and_how_long_keys_waited(world: World, scraped: Scraped) -> None:
    queue: WorkQueue[Key] = WorkQueue(clock=world.clock.monotonic, on_take=scraped.telemetry.waited)
    scraped.telemetry.show(queue=queue, resync_age=lambda: 7.0, leads=lambda: True)
    queue.add(KEY)
    queue.add_after(Key("default", "later"), 3.0)
    world.clock.seconds += 4.0

    assert await scraped.value("tuningjob_queue_depth") == 1
    assert await scraped.value("tuningjob_resync_age_seconds") == 7
    assert {queue.take_nowait(), queue.take_nowait()} == {KEY, Key("default", "later")}
    assert await scraped.value("tuningjob_queue_latency_seconds_count") == 2
    # 4 since it was added, 1 since its delay was over
    assert await scraped.value("tuningjob_queue_latency_seconds_sum") == 5


async def test_a_key_that_is_added_while_it_is_worked_on_waits_from_then_on(world: World, scraped: Scraped) -> None:
    queue: WorkQueue[Key] = WorkQueue(clock=world.clock.monotonic, on_take=scraped.telemetry.waited)
    queue.add(KEY)
    assert queue.take_nowait() == KEY
    queue.add(KEY)
    world.clock.seconds += 2.0
    queue.add(KEY)
    queue.done(KEY)
    world.clock.seconds += 1.0

    assert queue.take_nowait() == KEY
    assert await scraped.value("tuningjob_queue_latency_seconds_sum") == 3


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (None, "done"),
        (Conflict(409, "Conflict", "changed"), "conflict"),
        (ApiError(500, "InternalError", "etcd"), "failed"),
        (KeyError("a bug"), "failed"),
    ],
)
async def test_a_pass_is_told_by_how_it_ended(scraped: Scraped, raised: Exception | None, outcome: str) -> None:
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: 0.0)

    async def reconcile(_key: Key) -> float | None:
        if raised is not None:
            raise raised
        return None

    queue.add(KEY)
    await work_on(queue, queue.take_nowait() or KEY, reconcile, on_pass=scraped.telemetry.passed)

    assert await scraped.value("tuningjob_reconcile_seconds_count", outcome=outcome) == 1


async def test_calls_are_told_by_verb_resource_and_code(scraped: Scraped) -> None:
    for status in (201, 201, 409):
        scraped.telemetry.called("create", "jobs", status, 0.02)
    scraped.telemetry.called("update", "tuningjobs/status", 0, 30.0)

    calls = "tuningjob_api_calls_total"
    assert await scraped.value(calls, verb="create", resource="jobs", code="201") == 2
    assert await scraped.value(calls, verb="create", resource="jobs", code="409") == 1
    assert await scraped.value(calls, verb="update", resource="tuningjobs/status", code="0") == 1
    assert await scraped.value("tuningjob_api_call_seconds_count", verb="create", resource="jobs") == 3


async def test_fits_are_counted_from_the_opening_of_a_search(scraped: Scraped) -> None:
    told = scraped.telemetry.progressed
    told("new", None)
    told("new", progress(done=6, failed=1, reused=2, cell_seconds=40.0))
    told("new", progress(done=6, failed=1, reused=2, cell_seconds=40.0))
    told("new", progress(done=18, failed=1, reused=2, cell_seconds=100.0, state=SearchState.COMPLETE))
    told("new", progress(done=18, failed=1, reused=2, cell_seconds=100.0, state=SearchState.COMPLETE))

    assert await scraped.value("tuningjob_fits_total") == 16
    assert await scraped.value("tuningjob_failed_fits_total") == 1
    assert await scraped.value("tuningjob_reused_fits_total") == 2
    assert await scraped.value("tuningjob_fit_seconds_total") == 100


async def test_a_search_that_was_half_done_at_the_start_counts_from_there(world: World, scraped: Scraped) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    told = scraped.telemetry.progressed
    told(world.uid(), progress(done=10))
    assert await scraped.value("tuningjob_fits_total") == 0
    told(world.uid(), progress(done=12))

    assert await scraped.value("tuningjob_fits_total") == 2


async def test_what_python_and_the_process_need_is_told_too(scraped: Scraped) -> None:
    assert await scraped.value("process_resident_memory_bytes") > 2**20


async def test_the_operator_serves_them_until_it_ends_on_a_port_that_must_be_free() -> None:
    registry = Telemetry(Cache()).registry
    async with serving(registry, 0) as port:
        assert b"tuningjob_active_pods 0.0" in await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")
        with pytest.raises(ValueError, match=rf"TUNINGJOB_METRICS_PORT: must be a port that is free, but got {port}"):
            async with serving(registry, port):
                pass
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(get, f"http://127.0.0.1:{port}/metrics")


async def test_each_line_about_a_tuningjob_names_it(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: 0.0)
    lines: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    logger = logging.getLogger("tuningjob_operator.test")
    logger.addHandler(Lines())
    logger.setLevel(logging.INFO)

    async def reconcile(_key: Key) -> float | None:
        logger.info("in the pass")
        await asyncio.to_thread(logger.info, "on a thread of it")
        return None

    with caplog.at_level(logging.INFO):
        await work_on(queue, KEY, reconcile)
        logger.info("between passes")
        # as kopf logs what it does for a TuningJob or its Job, which has the same name
        logger.info("kopf's", extra={"k8s_ref": {"kind": "Job", "namespace": "default", "name": "forest"}})

    assert [line.get("tuningjob") for line in lines] == ["default/forest", "default/forest", None, "default/forest"]
