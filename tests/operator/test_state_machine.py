"""Whatever happens to a TuningJob, in whatever order: the operator over a fake cluster that moves by itself, and a real journal.

Users edit, mutate and delete; events are lost, doubled and reordered; reads are old; calls fail, or take effect and their answer
is lost; the operator dies and comes again; clocks jump; pods work, die, are evicted and lose their nodes. After each step what
must always hold is checked; when the operator has had its say, what must hold then; and at the end every obstacle is taken away,
and every search must come to its end.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.journal.template import ensure_journal
from tests.operator.controllers import (
    KILLED,
    Controllers,
    cpu_of,
    has_ended,
    index_of,
    is_going,
    is_ready,
    memory_of,
)
from tests.operator.fake_cluster import Crash, FakeCluster, unreachable
from tests.operator.world import KEYS, NOON, Clock, World, make_settings, manifest
from tuningjob.artifacts.local import LocalStore
from tuningjob.errors import JournalError, UnknownSearch
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.manifest.status import TuningJobStatus
from tuningjob.manifest.wellknown import ExitCode
from tuningjob.protocol.records import (
    Answer,
    CellResult,
    Next,
    Pilot,
    Preflight,
    Refusal,
    SearchState,
    Spread,
    Unit,
)
from tuningjob.protocol.requests import ClaimRequest, Report
from tuningjob_operator.cluster.contract import ApiError, Conflict, NotFound
from tuningjob_operator.objects import Body, find_condition, is_owned_by, uid_of

FEW: Final = 3
EXAMPLES: Final = int(os.environ.get("TUNINGJOB_MACHINE_EXAMPLES", "30"))
STEPS: Final = int(os.environ.get("TUNINGJOB_MACHINE_STEPS", "30"))
GI: Final = 2**30
MAX_CPU: Final = Decimal(6)
MAX_MEMORY: Final = Decimal(12 * GI)
MAX_PODS: Final = 5
NAMES: Final = ("a", "b")
READS: Final = ("list", "get", "review")
# Rounds of five seconds in which every search has to come to its end, once nothing stands in its way.
MAX_ROUNDS: Final = 150
# A worker claims and fits at most eight cells; each may be given to it some times.
MAX_PIECES: Final = 200
ENDS: Final = (KILLED, 1, int(ExitCode.TERMINATED), int(ExitCode.SERVICE_UNAVAILABLE))
# Of so many that wait to be delivered none is doubled any more.
MAX_EVENTS: Final = 200
SLOTS: Final = 2


SPECS: Final = st.fixed_dictionaries(
    {},
    optional={
        "parallelism": st.sampled_from([1, 2, 2, 3, 3, 3, 3, MAX_PODS + 1]),
        "mode": st.just("Plan"),
        "suspend": st.booleans(),
        "queueName": st.just("team"),
        "activeDeadlineSeconds": st.sampled_from([20, 300, 3_000]),
        "startDeadlineSeconds": st.sampled_from([60, 3_000]),
        "ttlSecondsAfterFinished": st.integers(0, 100),
        "limits": st.fixed_dictionaries({"maxFailedFits": st.integers(0, 2)}),
        "resources": st.sampled_from(
            [
                {"cpu": "1", "memory": "1Gi", "memoryLimit": "4Gi"},
                {"cpu": "1", "memory": "2Gi"},
                {"cpu": "500m", "memory": "2Gi", "memoryLimit": "5Gi"},
            ]
        ),
    },
)
# Candidates that take so many bytes.
LETHAL: Final = st.dictionaries(st.integers(0, 3), st.sampled_from([2 * GI, 4 * GI, 64 * GI]), max_size=1)


class SkewedClock(Clock):
    """The wall clock may be set; the other one only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.skew = 0.0

    def now(self) -> dt.datetime:
        return NOON + dt.timedelta(seconds=self.seconds + self.skew)


@dataclass
class Worker:
    """What a pod of ours does, as far as the journal can tell. ``needs``: the bytes that a candidate takes, if it is lethal."""

    pod: Body
    search: str
    journal: SqlJournal
    needs: dict[int, int]
    holding: dict[int, Unit] = field(default_factory=dict)

    @property
    def index(self) -> int:
        return index_of(self.pod)

    @property
    def memory(self) -> int:
        return memory_of(self.pod["spec"])

    def begin(self, *, with_pilot: bool) -> None:
        """The preflight, unless another pod has made it."""
        cell = Spread(low=1.0, expected=2.0, high=4.0)
        room = Spread(low=2.0**20, expected=2.0**21, high=2.0**22)
        pilot = Pilot(cell_seconds=cell, process_bytes=room, pod_bytes=2**26, cells=4)
        found = Preflight(
            data_digest="d", samples=150, features=4, versions={"numpy": "2"}, pilot=pilot if with_pilot else None
        )
        self.journal.view(self.search).set_preflight(found)

    def work(self, *, fails: bool = False) -> int | None:
        """Claim, or do the next piece of what was claimed. The exit code, if it ends by that."""
        unit = next(iter(self.holding.values()), None)
        if unit is None:
            claim = self.journal.view(self.search).claim(
                ClaimRequest(
                    index=self.index,
                    slots=SLOTS,
                    holding=set(self.holding),
                    claimant=f"{self.pod['metadata']['name']}.0",
                    memory=self.memory,
                )
            )
            if claim.next is Next.FINISH:
                self.finish()
                return ExitCode.DONE
            if claim.unit is None:
                return ExitCode.DONE
            self.holding[claim.unit.id] = claim.unit
            return None
        cell = unit.cells[0]
        if cell != unit.lost and self.needs.get(cell.candidate, 0) > self.memory:
            return KILLED
        error = "Traceback" if fails or cell == unit.lost else None
        result = CellResult(
            candidate=cell.candidate,
            split=cell.split,
            test_scores={"score": float("nan") if error else 0.5 + cell.candidate / 100},
            fit_seconds=1.0,
            score_seconds=0.1,
            test_samples=75,
            error=error,
        )
        self.journal.view(self.search).report(Report(index=self.index, results=[result]))
        left = unit.cells[1:]
        if left:
            self.holding[unit.id] = Unit(id=unit.id, cells=left, alone=unit.alone)
        else:
            del self.holding[unit.id]
        return None

    def finish(self) -> None:
        answer = Answer(
            best_index=0,
            best_score=0.96,
            best_std=0.01,
            best_params={"max_depth": None},
            metric="score",
            failed_fits=0,
            refit_seconds=0.1,
            fit_seconds_total=18.0,
        )
        self.journal.view(self.search).complete(answer)


class Stage(World):
    """A world whose clock may be set, and whose cluster moves by itself."""

    def __init__(self, folder: Path) -> None:
        self.clock = SkewedClock()
        self.cluster = FakeCluster(self.clock.now)
        self.journal = open_sqlite(ensure_journal(folder / "tuning.db"), clock=self.clock.now)
        self.artifacts = LocalStore(folder / "artifacts", max_bytes=1 << 30)
        self.settings = make_settings(max_pods=MAX_PODS, max_cpu=MAX_CPU, max_memory=MAX_MEMORY)
        self.keys = KEYS
        self.controllers = Controllers(self.cluster, self.clock.now)
        self.start_operator()

    def job_of(self, tuningjob: Body) -> Body | None:
        """Its Job, and nobody else's."""
        jobs = [job for job in self.cluster.of_kind("Job") if is_owned_by(job, tuningjob)]
        assert len(jobs) <= 1, "at most one Job for one TuningJob"
        return jobs[0] if jobs else None


def is_over(body: Body) -> bool:
    return terminal_of(body) is not None


def terminal_of(body: Body) -> tuple[str, str] | None:
    found = find_condition(body, "Complete") or find_condition(body, "Failed")
    return None if found is None else (found["type"], found["reason"])


def is_live(job: Body) -> bool:
    ended = find_condition(job, "Complete") or find_condition(job, "Failed")
    return not ended and not job["metadata"].get("deletionTimestamp") and not job["spec"].get("suspend")


class Life(RuleBasedStateMachine):
    """See the module."""

    runner: asyncio.Runner
    bugs: "Bugs"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stage = Stage(Path(self.folder.name))
        self.cluster, self.controllers = self.stage.cluster, self.stage.controllers
        self.workers: dict[str, Worker] = {}  # by the pod's uid
        self.needs: dict[str, dict[int, int]] = {}  # by the TuningJob's name
        self.ends: dict[str, tuple[str, str]] = {}  # by the TuningJob's uid
        self.searches: dict[str, bool] = {}  # uids of TuningJobs that ever were: whether they are there
        self.orphaned: set[str] = set()  # uids of Jobs that were deleted by hand, without waiting for their pods
        self.lost_nodes: set[str] = set()  # uids of pods that will never say that they ended

    # --- the operator

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def settle(self) -> None:
        """The operator does what it wants to do now; if it dies, it comes again."""
        for _ in range(3):
            try:
                self.run(self.stage.settle())
            except Crash:
                self.restart()
            else:
                return
        raise AssertionError("nobody told it to crash again")

    def restart(self, crash_after: int | None = None) -> None:
        with contextlib.suppress(ApiError, Crash):
            self.run(self.stage.restart(crash_after=crash_after))
            return
        self.cluster.fail_next.clear()
        self.cluster.lose_next.clear()
        self.run(self.stage.restart())

    def calm(self) -> None:
        """No more faults; everything that got lost is found; and the operator does all that it wants to do now."""
        self.cluster.fail_next.clear()
        self.cluster.lose_next.clear()
        self.cluster.crash_after = None
        self.cluster.behind = 0
        self.run(self.stage.resync.resync())
        self.run(self.stage.settle())
        # what failed before waits for its time; now its time has come
        self.run(self.stage.resync.resync())
        self.run(self.stage.settle())

    # --- users

    @initialize(spec=SPECS, depths=st.integers(1, 4), lethal=LETHAL)
    def begin(self, spec: dict[str, Any], depths: int, lethal: dict[int, int]) -> None:
        self.restart()
        self.create("a", spec, depths, lethal)

    @rule(name=st.sampled_from(NAMES), spec=SPECS, depths=st.integers(1, 4), lethal=LETHAL)
    def create(self, name: str, spec: dict[str, Any], depths: int, lethal: dict[int, int]) -> None:
        if self.has(name):
            return
        grid = {"search": {"grid": {"parameters": {"max_depth": list(range(1, depths + 1))}}}}
        body = self.cluster.apply(manifest(name, **grid, **spec))
        self.searches[uid_of(body)] = True
        self.needs[name] = lethal

    def has(self, name: str) -> bool:
        return any(body["metadata"]["name"] == name for body in self.cluster.of_kind("TuningJob"))

    def edit(self, name: str, **spec: Any) -> None:
        if self.has(name):
            self.cluster.edit(name, **spec)

    @rule(name=st.sampled_from(NAMES), pods=st.integers(1, 2 * MAX_PODS))
    def scale(self, name: str, pods: int) -> None:
        self.edit(name, parallelism=pods)

    @rule(name=st.sampled_from(NAMES), suspend=st.booleans())
    def suspend(self, name: str, suspend: bool) -> None:
        self.edit(name, suspend=suspend)

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        self.edit(name, cancel=True)

    @rule(
        name=st.sampled_from(NAMES),
        deadline=st.none() | st.integers(1, 1_000),
        ttl=st.none() | st.integers(0, 1_000),
    )
    def change_deadlines(self, name: str, deadline: int | None, ttl: int | None) -> None:
        self.edit(name, activeDeadlineSeconds=deadline, ttlSecondsAfterFinished=ttl)

    @rule(name=st.sampled_from(NAMES), depths=st.integers(0, 6))
    def change_what_is_frozen(self, name: str, depths: int) -> None:
        """The API server cannot see it. Without a value the spec cannot even be read."""
        self.edit(name, search={"grid": {"parameters": {"max_depth": list(range(1, depths + 1))}}})

    @rule(name=st.sampled_from(NAMES), foreground=st.booleans(), collect=st.booleans())
    def delete(self, name: str, foreground: bool, collect: bool) -> None:
        if self.has(name):
            self.cluster.delete("TuningJob", name, foreground=foreground, collect=collect)

    @rule()
    def collect_garbage(self) -> None:
        self.cluster.collect_garbage()

    # --- hands in what is not theirs

    def jobs(self) -> Iterator[Body]:
        """Ours, that have not ended."""
        for job in self.cluster.of_kind("Job"):
            if job["metadata"].get("ownerReferences") and not job["metadata"].get("deletionTimestamp"):
                yield job

    @rule(pods=st.integers(1, 9))
    def scale_jobs_by_hand(self, pods: int) -> None:
        for job in self.jobs():
            # what Kueue has started keeps its size
            with contextlib.suppress(ApiError):
                self.cluster.patch_job(job["metadata"]["name"], {"parallelism": pods, "completions": pods})

    @rule(suspend=st.booleans())
    def suspend_jobs_by_hand(self, suspend: bool) -> None:
        for job in self.jobs():
            self.cluster.patch_job(job["metadata"]["name"], {"suspend": suspend})

    @rule(foreground=st.booleans())
    def delete_jobs_by_hand(self, foreground: bool) -> None:
        for job in self.jobs():
            self.orphaned |= set() if foreground else {uid_of(job)}
            # the garbage collector may have taken it when the one before it was deleted
            with contextlib.suppress(NotFound):
                self.cluster.delete("Job", job["metadata"]["name"], foreground=foreground)

    @rule(kind=st.sampled_from(["Secret", "ConfigMap"]))
    def delete_small_objects_by_hand(self, kind: str) -> None:
        for body in self.cluster.of_kind(kind):
            # the deletion of one wakes the garbage collector, which may have taken the next
            with contextlib.suppress(NotFound):
                self.cluster.delete(kind, body["metadata"]["name"])

    @rule(name=st.sampled_from(NAMES))
    def take_the_names(self, name: str) -> None:
        """Somebody else's Job and ConfigMap, if the names are free."""
        metadata = {"name": name, "namespace": "default"}
        with contextlib.suppress(ApiError):
            template = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "c"}]}}
            self.cluster.put(
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "metadata": metadata,
                    "spec": {"template": template, "parallelism": 0, "completions": 1, "backoffLimit": 6},
                }
            )
        with contextlib.suppress(ApiError):
            theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "name": f"{name}-results"}}
            self.cluster.put(theirs)

    @rule()
    def give_the_names_back(self) -> None:
        for kind in ("Job", "ConfigMap"):
            for body in self.cluster.of_kind(kind):
                if not body["metadata"].get("ownerReferences"):
                    self.cluster.delete(kind, body["metadata"]["name"])

    # --- the weather

    @rule(errors=st.lists(st.sampled_from([0, 403, 409, 410, 429, 500]), min_size=1, max_size=4))
    def answer_with_errors(self, errors: list[int]) -> None:
        self.cluster.fail_next += [refusal(status) for status in errors]

    @rule(errors=st.lists(st.sampled_from([None, 0, 500]), min_size=1, max_size=4))
    def lose_answers(self, errors: list[int | None]) -> None:
        self.cluster.lose_next += [None if status is None else refusal(status) for status in errors]

    @rule(changes=st.integers(0, 12))
    def read_from_the_past(self, changes: int) -> None:
        self.cluster.behind = changes

    @rule(keep=st.lists(st.booleans(), min_size=1, max_size=6))
    def lose_events(self, keep: list[bool]) -> None:
        events = self.cluster.watch
        self.cluster.watch[:] = [event for number, event in enumerate(events) if keep[number % len(keep)]]

    @rule(order=st.permutations(range(4)))
    def double_and_reorder_events(self, order: list[int]) -> None:
        events = self.cluster.watch[:]
        if len(events) <= MAX_EVENTS:  # time and again they would be two to the power of steps
            events *= 2
        self.cluster.watch[:] = [event for part in order for event in events[part :: len(order)]]

    @rule(calls=st.none() | st.integers(0, 8))
    def restart_the_operator(self, calls: int | None) -> None:
        self.restart(crash_after=calls)

    @rule(seconds=st.sampled_from([0.5, 3.0, 31.0, 70.0, 400.0, 5_000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.stage.clock.seconds += seconds

    @rule(seconds=st.sampled_from([-40.0, -5.0, -1.0, 2.0, 60.0]))
    def set_the_clock(self, seconds: float) -> None:
        self.stage.clock.skew += seconds

    @rule()
    def resync(self) -> None:
        with contextlib.suppress(ApiError, Crash):
            self.run(self.stage.resync.resync())

    # --- quotas and queues

    @rule(cpus=st.integers(0, 6), jobs=st.integers(0, 3))
    def put_a_quota(self, cpus: int, jobs: int) -> None:
        with contextlib.suppress(ApiError):
            self.controllers.put_quota("q", {"requests.cpu": str(cpus), "count/jobs.batch": str(jobs)})

    @rule()
    def lift_the_quota(self) -> None:
        for quota in self.cluster.of_kind("ResourceQuota"):
            self.cluster.delete("ResourceQuota", quota["metadata"]["name"])

    @rule(pods=st.integers(1, MAX_PODS))
    def admit_from_the_queue(self, pods: int) -> None:
        for job in self.queued():
            self.controllers.admit(job, pods=pods)

    @rule()
    def preempt_what_is_queued(self) -> None:
        for job in self.jobs():
            if "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"] and is_live(job):
                self.controllers.preempt(job)

    def queued(self) -> list[Body]:
        return [
            job
            for job in self.jobs()
            if "kueue.x-k8s.io/queue-name" in job["metadata"]["labels"] and job["spec"].get("suspend")
        ]

    # --- the cluster moves

    @rule(batch=st.integers(1, 3))
    def sync_jobs(self, batch: int) -> None:
        self.controllers.sync_jobs(batch=batch)

    @rule()
    def start_pods(self) -> None:
        for pod in self.controllers.pods():
            if not has_ended(pod) and not is_going(pod) and not is_ready(pod):
                self.controllers.start(pod)

    @rule(kind=st.sampled_from(["unscheduled", "waiting"]))
    def keep_pods_from_starting(self, kind: str) -> None:
        for pod in self.controllers.pods():
            if not has_ended(pod) and not is_ready(pod):
                (self.controllers.leave_unscheduled if kind == "unscheduled" else self.controllers.keep_waiting)(pod)

    @rule(times=st.integers(1, 6), fails=st.booleans(), with_pilot=st.booleans())
    def work(self, times: int, fails: bool, with_pilot: bool) -> None:
        for pod in self.controllers.pods():
            for _ in range(times):
                if not self.work_in(pod, fails=fails, with_pilot=with_pilot):
                    break

    def work_in(self, pod: Body, *, fails: bool = False, with_pilot: bool = True) -> bool:
        """One pod's worker does one thing; False once it has nothing left to do."""
        if not is_ready(pod) or has_ended(pod) or uid_of(pod) in self.lost_nodes:
            return False
        worker = self.workers.get(uid_of(pod)) or self.new_worker(pod)
        try:
            if self.stage.journal.view(worker.search).search().state is not SearchState.RUNNING:
                code: int | None = ExitCode.DONE
            elif uid_of(pod) not in self.workers:
                worker.begin(with_pilot=with_pilot)
                self.workers[uid_of(pod)] = worker
                is_plan = self.stage.journal.view(worker.search).search().spec.get("mode") == "Plan"
                code = ExitCode.DONE if is_plan else None
            else:
                code = worker.work(fails=fails)
        except UnknownSearch:
            code = ExitCode.CRASHED
        if code is None:
            return True
        self.controllers.exit(pod, code, reason="OOMKilled" if code == KILLED else "")
        return False

    def new_worker(self, pod: Body) -> Worker:
        labels = pod["metadata"]["labels"]
        return Worker(
            pod,
            search=labels["tuningjob.dev/uid"],
            journal=self.stage.journal,
            needs=self.needs.get(labels["tuningjob.dev/name"], {}),
        )

    def working(self) -> list[Body]:
        return [pod for pod in self.controllers.pods() if not has_ended(pod) and uid_of(pod) not in self.lost_nodes]

    @rule(number=st.integers(0, 9), code=st.sampled_from(ENDS), disrupted=st.booleans())
    def end_a_pod(self, number: int, code: int, disrupted: bool) -> None:
        """Killed, crashed, or evicted: without a word to the journal unless it was asked to go."""
        pods = self.working()
        if pods:
            self.end(pods[number % len(pods)], code, disrupted=disrupted)

    def end(self, pod: Body, code: int, *, disrupted: bool = False) -> None:
        worker = self.workers.get(uid_of(pod))
        if worker is not None and code == ExitCode.TERMINATED:
            with contextlib.suppress(JournalError):
                self.stage.journal.view(worker.search).leave(index=worker.index)
        self.controllers.exit(pod, code, disrupted=disrupted)

    @rule(obeys=st.booleans())
    def end_what_is_going(self, obeys: bool) -> None:
        for pod in self.working():
            if is_going(pod):
                self.end(pod, ExitCode.TERMINATED if obeys else KILLED)

    @rule(number=st.integers(0, 9))
    def drain_a_pod(self, number: int) -> None:
        pods = self.working()
        if pods:
            self.controllers.delete_pod(pods[number % len(pods)])

    @rule(number=st.integers(0, 9))
    def lose_a_node(self, number: int) -> None:
        pods = self.working()
        if pods:
            self.lost_nodes.add(uid_of(pods[number % len(pods)]))
            self.controllers.delete_pod(pods[number % len(pods)])

    @rule()
    def remove_lost_nodes(self) -> None:
        """As the pod garbage collector does."""
        for pod in self.controllers.pods():
            if uid_of(pod) in self.lost_nodes and not has_ended(pod):
                self.controllers.exit(pod, KILLED, disrupted=True)

    @rule(refuses=st.booleans(), number=st.integers(0, 9))
    def give_the_search_up(self, refuses: bool, number: int) -> None:
        """A worker's own verdict: what the manifest names cannot be searched, or no answer can come of it."""
        pods = [pod for pod in self.working() if uid_of(pod) in self.workers]
        if not pods:
            return
        pod = pods[number % len(pods)]
        search = self.workers[uid_of(pod)].search
        problem = {"field": "spec.data", "must_be": "there", "got": "nothing", "advice": "", "reason": "DataLoad"}
        with contextlib.suppress(JournalError):
            if refuses:
                self.stage.journal.view(search).refuse(Refusal(problems=(problem,)))
            else:
                self.stage.journal.fail(search, "the refit failed")
        self.controllers.exit(pod, ExitCode.REFUSED if refuses else ExitCode.FAILED)

    # --- the operator's turn

    @rule(rounds=st.integers(1, 4))
    def let_all_go_well(self, rounds: int) -> None:
        for _ in range(rounds):
            with contextlib.suppress(Crash):
                self.live_on()
                continue
            self.restart()

    @rule()
    def let_the_operator_work(self) -> None:
        self.settle()

    @rule()
    def look_closely(self) -> None:
        """Without faults the operator comes to rest, at what is asked for, and writes nothing more."""
        self.calm()
        self.check_rest()

    def check_rest(self) -> None:
        before = len(self.cluster.calls)
        self.run(self.stage.resync.resync())
        self.run(self.stage.settle())
        written = [call for call in self.cluster.calls[before:] if not call.startswith(READS)]
        assert written == [], f"nothing had changed, but {written}"
        for body in self.cluster.of_kind("TuningJob"):
            self.check_one_at_rest(body)
        there = {uid_of(body) for body in self.cluster.of_kind("TuningJob")}
        for uid in self.searches.keys() - there:
            with pytest.raises(UnknownSearch):
                self.stage.journal.progress(uid)

    def check_one_at_rest(self, body: Body) -> None:
        if body["metadata"].get("deletionTimestamp"):
            return
        job, spec, uid = self.stage.job_of(body), body["spec"], uid_of(body)
        try:
            state = self.stage.journal.progress(uid).state
        except UnknownSearch:
            state = None
        if is_over(body):
            assert state is not SearchState.RUNNING or find_condition(body, "Failed"), "no answer of a search that runs"
            ttl = spec.get("ttlSecondsAfterFinished")
            ended = dt.datetime.fromisoformat(body["status"]["completionTime"])
            assert ttl is None or (self.stage.clock.now() - ended).total_seconds() < ttl, "its time is over"
            return
        assert state in {None, SearchState.RUNNING}, "the journal leads"
        assert not spec.get("cancel"), "cancelled is ended"
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        if job is not None and is_live(job):
            assert not spec.get("suspend"), "suspended is without pods"
            size, pod = job["spec"]["parallelism"], job["spec"]["template"]["spec"]
            assert size <= MAX_PODS
            assert size * cpu_of(pod) <= MAX_CPU
            assert size * memory_of(pod) <= MAX_MEMORY
            assert size <= max(1, spec.get("parallelism", 1)) or spec.get("queueName"), "no more than asked for"
        if job is None and not spec.get("suspend"):
            told = {c["type"]: c["status"] for c in body["status"]["conditions"]}
            assert "False" in {told.get("Capacity"), told.get("Admitted"), told.get("PodsReady")} or self.left_over(
                body
            ), "it waits, and says why"

    def left_over(self, body: Body) -> bool:
        """Whether the Job of an earlier TuningJob of the name is still there."""
        return any(job["metadata"]["name"] == body["metadata"]["name"] for job in self.cluster.of_kind("Job"))

    # --- what always holds

    @invariant()
    def the_end_is_the_end(self) -> None:
        for body in self.cluster.of_kind("TuningJob"):
            end = terminal_of(body)
            known = self.ends.get(uid_of(body))
            assert known is None or end == known, "a terminal condition never flips"
            if end is not None:
                self.ends[uid_of(body)] = end

    @invariant()
    def statuses_are_what_the_schema_says(self) -> None:
        for body in self.cluster.of_kind("TuningJob"):
            status = TuningJobStatus.model_validate(body.get("status") or {})
            kinds = [condition.type for condition in status.conditions or []]
            assert len(kinds) == len(set(kinds))

    @invariant()
    def no_pass_meets_what_nobody_expects(self) -> None:
        found = "\n".join(self.bugs.texts)
        self.bugs.texts.clear()
        assert not found, found

    @invariant()
    def no_index_has_two_pods(self) -> None:
        seen: set[tuple[str, int]] = set()
        for pod in self.controllers.pods():
            labels = pod["metadata"]["labels"]
            if has_ended(pod) or labels["batch.kubernetes.io/controller-uid"] in self.orphaned:
                continue
            claim = (labels["tuningjob.dev/uid"], index_of(pod))
            assert claim not in seen, "one index never has two live pods"
            seen.add(claim)

    # --- the end

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.come_to_an_end()
        finally:
            self.stage.journal.close()
            self.folder.cleanup()

    def come_to_an_end(self) -> None:
        """Nothing stands in the way any more: every search ends, and every deleted one is forgotten."""
        self.lift_the_quota()
        self.give_the_names_back()
        self.cluster.collect_garbage()
        for name in NAMES:
            self.edit(name, suspend=False)
        self.calm()
        for _ in range(MAX_ROUNDS):
            self.live_on()
            if all(is_over(body) for body in self.cluster.of_kind("TuningJob")):
                break
        else:
            raise AssertionError(f"not ended: {self.story()}")
        for _ in range(12):
            self.live_on()
        self.check_rest()
        for body in self.cluster.of_kind("TuningJob"):
            job = self.stage.job_of(body)
            assert job is None or not is_live(job), "pods go home at the end"
            assert body["status"].get("activePods", 0) == 0
            self.cluster.delete("TuningJob", body["metadata"]["name"])
        self.calm()
        self.check_rest()
        self.no_pass_meets_what_nobody_expects()

    def story(self) -> str:
        """Everything that there is, as text in the message of a failure."""
        lines = []
        for body in [*self.cluster.of_kind("TuningJob"), *self.cluster.of_kind("Job")]:
            status = dict(body.get("status") or {})
            told = [f"{c['type']}={c['status']}/{c['reason']}: {c['message']}" for c in status.pop("conditions", [])]
            spec = {
                field: value for field, value in body["spec"].items() if field not in {"template", "podFailurePolicy"}
            }
            lines.append(f"{body['kind']} {body['metadata']} {spec} {told} {status}")
        lines += [
            f"Pod {pod['metadata']['name']} {pod['status']['phase']} going={is_going(pod)}"
            for pod in self.controllers.pods()
        ]
        for uid in self.searches:
            with contextlib.suppress(UnknownSearch):
                lines.append(str(self.stage.journal.progress(uid)))
        return "\n".join(lines)

    def live_on(self) -> None:
        """Five seconds of a cluster in which all goes well."""
        self.remove_lost_nodes()
        for job in self.queued():
            self.controllers.admit(job, pods=MAX_PODS)
        self.controllers.sync_jobs()
        for pod in self.working():
            if is_going(pod):
                self.end(pod, ExitCode.TERMINATED)
            elif not is_ready(pod):
                self.controllers.start(pod)
        for pod in self.controllers.pods():
            if all(self.work_in(pod) for _ in range(MAX_PIECES)):
                raise AssertionError(f"{pod['metadata']['name']} is given work without end: {self.story()}")
        self.controllers.sync_jobs()
        self.cluster.collect_garbage()
        self.run(self.stage.later(5.0))


def refusal(status: int) -> ApiError:
    match status:
        case 0:
            return unreachable()
        case 409:
            return Conflict(409, "Conflict", "the object has been modified")
    return ApiError(
        status, {403: "Forbidden", 410: "Expired", 429: "TooManyRequests"}.get(status, "InternalError"), "no"
    )


class Bugs(logging.Handler):
    """What a pass met that nobody expects: the operator logs it, and tries that key again later."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter().format(record))


class InlineExecutor(ThreadPoolExecutor):
    """Without threads: half of the time would go into changing between them, and every failure comes again as it was."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  a crash, too
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def machine() -> Iterator[type[Life]]:
    # pytest keeps what is logged until the test ends: with an exception its frames, and in them the whole life that met it
    logging.disable(logging.WARNING)
    logger, bugs = logging.getLogger("tuningjob_operator"), Bugs()
    logger.addHandler(bugs)
    logger.propagate = False
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(InlineExecutor())
            yield type("Life", (Life,), {"runner": runner, "bugs": bugs})
    finally:
        logger.removeHandler(bugs)
        logger.propagate = True
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("lives", [FEW, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_every_life_comes_to_its_end(machine: type[Life], lives: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=STEPS,
            deadline=None,
            # the same lives each time, but for who asks for more of them: a find belongs to a search for it
            derandomize="TUNINGJOB_MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
