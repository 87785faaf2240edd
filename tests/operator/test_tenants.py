"""Nothing that one tenant wrote, or had a worker say, is in the way of another, or of the ends that an administrator sets."""

import asyncio
import datetime as dt
import gc
import hashlib
import io
import itertools
import json
import logging
import time
from dataclasses import replace
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.world import NOON, World, make_settings, manifest
from tuningjob.journal.records import Progress
from tuningjob.manifest.loading import load
from tuningjob.protocol.records import Answer, Pilot, Preflight, Refusal, SearchState, Spread
from tuningjob.protocol.requests import ClaimRequest
from tuningjob_operator.cluster.contract import ApiError
from tuningjob_operator.control import reconcile
from tuningjob_operator.control.loops import MANY_CONFLICTS
from tuningjob_operator.control.queue import Backlog
from tuningjob_operator.control.reconcile import PACE_SECONDS
from tuningjob_operator.decide import status as status_
from tuningjob_operator.decide.decision import Look, Observed
from tuningjob_operator.decide.owned_objects import MAX_RESULT_BYTES, PUBLISHED_FILES, build_results, read_files
from tuningjob_operator.decide.plan import plan
from tuningjob_operator.decide.workforce import MAX_DEATHS
from tuningjob_operator.names import ENDED_BY_MANIFEST
from tuningjob_operator.objects import Body, Key
from tuningjob_operator.reading import LEFT_OUT, SPEC_BYTES

# --- what workers say ------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0.0, 1.0, 1e9, 1e308, float("inf"), float("nan"), -1.0])
COUNTS = st.sampled_from([0, 1, 18, 2**62, 2**63 - 1])
TEXTS = st.sampled_from(["", "x" * 100_000, "\ud800", "\x00\x1b[31m", "PlanReady: all is well", "a b", "é" * 3_000])
SPREADS = st.builds(Spread, low=NUMBERS, expected=NUMBERS, high=NUMBERS)
PILOTS = st.builds(Pilot, cell_seconds=SPREADS, process_bytes=SPREADS, pod_bytes=COUNTS, cells=COUNTS, full=COUNTS)
PREFLIGHTS = st.builds(
    Preflight,
    data_digest=TEXTS,
    samples=COUNTS,
    features=COUNTS,
    memory_bytes=COUNTS,
    versions=st.just({}),
    warnings=st.lists(TEXTS, max_size=3).map(tuple),
    pilot=st.none() | PILOTS,
)
PARAMS = st.sampled_from(
    [{}, {"a": float("inf")}, {"a": "\ud800"}, {"a": [0] * 100_000}, {"a": 10**400}, {"a": object()}, {"a": None}]
)
ANSWERS = st.builds(
    Answer,
    best_index=COUNTS,
    best_score=NUMBERS,
    best_std=NUMBERS,
    best_params=PARAMS,
    metric=TEXTS,
    failed_fits=COUNTS,
    refit_seconds=NUMBERS,
    fit_seconds_total=NUMBERS,
)
PROBLEMS = st.fixed_dictionaries({}, optional=dict.fromkeys(("field", "must_be", "got", "advice", "reason"), TEXTS))
REFUSALS = st.builds(Refusal, problems=st.lists(PROBLEMS, max_size=3).map(tuple))
PROGRESSES = st.builds(
    Progress,
    id=st.just("uid-1"),
    namespace=st.just("default"),
    name=st.just("forest"),
    state=st.sampled_from(SearchState),
    revision=st.just(1),
    done=st.integers(0, 18),
    failed=st.integers(0, 18),
    total=st.just(18),
    cell_seconds=NUMBERS,
    measured=COUNTS,
    deaths=COUNTS,
    preflight=st.none() | PREFLIGHTS,
    answer=st.none() | ANSWERS,
    refusal=st.none() | REFUSALS,
    failure=st.none() | TEXTS,
)


def observed(progress: Progress, **spec: Any) -> Observed:
    metadata = {"namespace": "default", "uid": "uid-1", "generation": 1, "resourceVersion": "1"}
    body = manifest(**spec)
    body["metadata"] |= {**metadata, "creationTimestamp": NOON.isoformat()}
    admitted = load(manifest()).spec
    return Observed(tuningjob=body, progress=progress, admitted=admitted, looked=frozenset(Look))


def told(body: dict[str, Any]) -> str:
    """A status as it goes over the wire, which takes no NaN, no half characters, and nothing large."""
    text = json.dumps(body, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) < 100_000
    return text


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(progress=PROGRESSES, mode=st.sampled_from(["Run", "Plan"]))
def test_whatever_workers_say_a_plan_is_made_and_its_status_can_be_told(progress: Progress, mode: str) -> None:
    made = plan(observed(progress, mode=mode), make_settings(), NOON)
    told(status_.dump_status(made.status))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(progress=PROGRESSES, late=st.booleans())
def test_whatever_workers_say_a_search_is_cancelled_and_its_deadlines_hold(progress: Progress, late: bool) -> None:
    spec = {"activeDeadlineSeconds": 5} if late else {"cancel": True}
    seen = observed(replace(progress, state=SearchState.RUNNING), **spec)
    seen.tuningjob["status"] = {"startTime": NOON.isoformat()}
    made = plan(seen, make_settings(), NOON + dt.timedelta(seconds=6))

    (ended,) = [each for each in made.status.conditions or [] if each.type == "Failed"]
    assert ended.reason == ("DeadlineExceeded" if late else "Cancelled")
    assert ended.reason in ENDED_BY_MANIFEST


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(progress=PROGRESSES)
def test_the_least_of_any_status_is_small_and_says_the_end(progress: Progress) -> None:
    made = plan(observed(progress), make_settings(), NOON).status
    least = status_.least(made)

    assert len(told(status_.dump_status(least))) < 2_000
    assert status_.has_ended(least) == status_.has_ended(made)


# --- specs that cannot be read ---------------------------------------------------------------------------------------


class Fetched:
    """A cluster whose lists leave large specs out, as the real one's do."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, *, told: Body) -> None:
        self.whole = world.cluster.get_tuningjob
        put = world.cache.tuningjobs.put

        def slim(body: Body, **options: Any) -> Body | None:
            live = {name: body["spec"][name] for name in ("cancel", "parallelism") if name in body["spec"]}
            return put({**body, "spec": live, LEFT_OUT: told}, **options)

        monkeypatch.setattr(world.cache.tuningjobs, "put", slim)


async def test_a_spec_that_is_too_large_is_refused_unread_and_its_neighbour_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fetched(world, monkeypatch, told={"bytes": 10**6, "depth": 3})
    world.cluster.apply(manifest("evil"))
    await world.settle()
    monkeypatch.undo()
    world.cluster.apply(manifest("good"))
    await world.settle()

    refused = world.condition("Failed", "evil")
    assert refused is not None
    assert (refused["reason"], refused["message"].split(",")[0]) == (
        "ManifestRefused",
        "spec: must be of at most 256 KiB as JSON",
    )
    assert world.cluster.job("good")


async def test_a_spec_that_is_not_cached_is_fetched_until_it_is_admitted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fetched(world, monkeypatch, told={"bytes": 10_000, "depth": 3})
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.settle()
    fetched = world.cluster.calls.count("list TuningJob")
    assert world.cluster.job("forest")["spec"]["parallelism"] == 3
    await world.later(10)
    world.fit(5)
    await world.later(10)
    assert world.cluster.calls.count("list TuningJob") == fetched

    world.cluster.edit("forest", cancel=True)
    await world.settle()
    assert world.condition("Failed") is not None


async def test_a_fault_of_our_own_is_told_and_costs_nobody_but_the_tuningjob_that_brings_it_to_light(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(seen: Observed, *rest: Any) -> Any:
        if seen.tuningjob["metadata"]["name"] == "evil":
            raise RecursionError
        return plan(seen, *rest)

    monkeypatch.setattr(reconcile, "plan", faulty)
    world.cluster.apply(manifest("evil"))
    world.cluster.apply(manifest("good"))
    await world.settle()

    told = world.condition("Admitted", "evil")
    assert told is not None
    assert (told["status"], told["reason"]) == ("False", "OperatorFault")
    assert world.cluster.job("good")
    monkeypatch.undo()
    await world.later(200)
    assert world.cluster.job("evil")


# --- results ---------------------------------------------------------------------------------------------------------


def finish(world: World, **files: bytes) -> None:
    while world.fit(1):
        pass
    world.answer()
    for name, content in files.items():
        file = name.replace("_csv", ".csv").replace("_json", ".json")
        world.artifacts.put(world.uid(), file, [content], sha256=hashlib.sha256(content).hexdigest())


async def test_results_that_the_api_server_refuses_do_not_keep_a_search_from_its_end(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    finish(world)
    refused = ApiError(413, "RequestEntityTooLarge", "limit is 3145728")
    create = world.cluster.create_configmap

    async def too_large(body: Body) -> None:  # noqa: ARG001  its name is the protocol's
        raise refused

    world.cluster.create_configmap = too_large  # type: ignore[method-assign]
    await world.later(10)
    world.cluster.create_configmap = create  # type: ignore[method-assign]

    complete = world.condition("Complete")
    assert complete is not None
    assert "The API server refused the ConfigMap forest-results" in complete["message"]


class Endless:
    """A file that grows while it is read, and counts what was."""

    def __init__(self, byte: bytes) -> None:
        self.read_bytes = 0
        self._byte = byte

    def read(self, size: int) -> bytes:
        self.read_bytes += size
        return self._byte * size if self._byte else hashlib.shake_128(b"%d" % self.read_bytes).digest(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("byte", [b"", b"0", b"\x00", b"\xff"])
def test_no_more_of_a_result_is_read_than_an_object_can_hold(byte: bytes) -> None:
    files = {name: Endless(byte) for name in PUBLISHED_FILES}
    opened: Any = files.__getitem__
    found = read_files(opened)

    assert not found.contents
    assert all(file.read_bytes <= 10 * 2**20 for file in files.values())


@given(content=st.sampled_from([b"\x00", b"\xff", b'"', "é".encode(), b"x"]), size=st.integers(1, 2**20))
@settings(max_examples=20, deadline=None)
def test_what_is_published_fits_into_an_object(content: bytes, size: int) -> None:
    body = observed(Progress(**_PLAIN)).tuningjob
    results = build_results(body, read_files(lambda _: io.BytesIO(content * (size // len(content)))))
    assert len(json.dumps(results.configmap, ensure_ascii=False).encode()) <= MAX_RESULT_BYTES + 4_096


_PLAIN: dict[str, Any] = {
    "id": "uid-1",
    "namespace": "default",
    "name": "forest",
    "state": SearchState.RUNNING,
    "revision": 1,
    "done": 0,
    "failed": 0,
    "total": 18,
}


# --- orphans, deaths, conflicts, a restored cluster ------------------------------------------------------------------


@pytest.mark.slow
async def test_a_search_that_ended_long_ago_is_buried_if_its_tuningjob_went_while_nobody_looked(world: World) -> None:
    await world.live()
    uid = world.uid()
    world.clock.seconds += dt.timedelta(days=30).total_seconds()
    world.cluster.delete("TuningJob", "forest")
    await world.restart()
    await world.settle()

    assert uid not in world.journal.places()


@pytest.mark.slow
async def test_names_that_workers_make_up_neither_raise_retries_nor_call_the_api_server(world: World) -> None:
    world.cluster.apply(manifest(parallelism=1))
    await world.settle()
    world.preflight()
    await world.later(10)
    before = len(world.cluster.calls)
    limit = world.cluster.job("forest")["spec"]["backoffLimit"]
    for number in range(40):
        world.journal.view(world.uid()).claim(
            ClaimRequest(index=0, slots=1, holding=set(), claimant=f"made-up-{number}")
        )
        await world.later(1)
    assert world.journal.progress(world.uid()).deaths > 3
    assert world.cluster.job("forest")["spec"]["backoffLimit"] == limit
    looks = world.cluster.calls[before:].count("list pods")
    assert looks <= 40 / PACE_SECONDS + 1
    assert "scale job" not in world.cluster.calls[before:]


async def test_a_job_does_not_outlive_any_number_of_deaths(world: World) -> None:
    world.cluster.apply(manifest(parallelism=1))
    await world.settle()
    world.preflight()
    await world.later(10)
    job = world.cluster.job("forest")
    seen = observed(Progress(**_PLAIN | {"deaths": 10**6}), parallelism=1)
    seen = replace(seen, tuningjob=world.cluster.tuningjob("forest"), job={**job, "status": {"failed": 10**6}})
    steps = plan(seen, make_settings(), NOON).steps

    assert [step.deaths for step in steps if hasattr(step, "deaths")] == [MAX_DEATHS]


async def test_conflicts_that_repeat_are_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cluster.apply(manifest())
    world.deliver()
    world.cache.tuningjobs.put({**world.cluster.tuningjob("forest"), "metadata": _of_the_future(world)})
    with caplog.at_level(logging.WARNING):
        for _ in range(MANY_CONFLICTS):
            await world.later(200)
    assert "the pass met a conflict again and again" in caplog.messages


def _of_the_future(world: World) -> Body:
    metadata: Body = world.cluster.tuningjob("forest")["metadata"]
    return {**metadata, "resourceVersion": "999999"}


async def test_a_cluster_that_was_restored_to_an_earlier_day_is_believed(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.cache.tuningjobs.put({**world.cluster.tuningjob("forest"), "metadata": _of_the_future(world)})
    assert world.cache.tuningjobs.uid(Key("default", "forest"))
    await world.resync.resync()

    known = world.cache.tuningjobs.get(Key("default", "forest"))
    assert known == world.cluster.tuningjob("forest")


# --- fair shares -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    waiting=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1),
    late=st.sampled_from("abcde"),
    order=st.randoms(use_true_random=False),
)
def test_a_key_waits_for_no_more_than_one_key_of_each_other_lane(
    waiting: dict[str, int], late: str, order: Any
) -> None:
    backlog: Backlog[str] = Backlog(lane=lambda key: key[0])
    keys = [f"{lane}{number}" for lane, many in waiting.items() for number in range(many)]
    order.shuffle(keys)
    for key in keys:
        backlog.add(key, 0.0)
    for _ in range(len(keys) // 3):
        backlog.take(0.0)
    backlog.add(f"{late}-late", 0.0)
    left = list(iter(lambda: backlog.take(0.0), None))
    before = left[: left.index(f"{late}-late")]
    own = [key for key in before if key[0] == late]

    for lane in set("abcd") - {late}:
        assert sum(key[0] == lane for key in before) <= len(own) + 1
    assert len(left) == len(keys) - len(keys) // 3 + 1


# --- the event loop --------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_planning_for_what_is_large_leaves_the_loop_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in seconds of the loop's own thread, because a machine that is busy takes its turns, too."""
    values = [[f"value-{number}"] for number in range(7_000)]
    body = manifest("large", search={"grid": {"parameters": {"criterion": values}}}, limits={"maxFits": 100_000})
    gaps: list[float] = []

    async def heartbeat() -> None:
        for _ in itertools.count():
            began = time.thread_time()
            await asyncio.sleep(0.001)
            gaps.append(time.thread_time() - began)

    began = time.thread_time()
    load(body)
    at_once = time.thread_time() - began
    put = world.cache.tuningjobs.put
    gc.collect()
    gc.freeze()  # what the tests before have left is not this loop's to look through
    monkeypatch.setattr(world.cache.tuningjobs, "put", lambda body, **_: put({**body, SPEC_BYTES: 250_000}))
    beating = asyncio.create_task(heartbeat())
    world.cluster.apply(body)
    await world.settle()
    beating.cancel()

    assert world.condition("Admitted", "large") is not None, world.status("large")
    # 50 ms; on a machine so slow that half of the plan takes longer, that half.
    assert max(gaps) < max(0.05, at_once / 2), (max(gaps), at_once)
