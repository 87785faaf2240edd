"""One operator over the fake cluster and a real journal, with a clock that only moves when told to."""

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

from tests.journal.template import ensure_journal
from tests.operator.fake_cluster import FakeCluster
from tuningjob.artifacts.local import LocalStore
from tuningjob.journal.sql import open_sqlite
from tuningjob.protocol.records import Answer, CellResult, Next, Preflight
from tuningjob.protocol.requests import ClaimRequest, Report
from tuningjob_operator.ceilings import Bounds, Ceilings, Lifetimes
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.control.beyond import Beyond
from tuningjob_operator.control.loops import JournalPoller, Resync, work_on
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.control.reconcile import Reconciler
from tuningjob_operator.control.service_watch import ServiceWatch
from tuningjob_operator.decide.placement import CONTROL_PLANE
from tuningjob_operator.objects import Body, Key
from tuningjob_operator.settings import Settings
from tuningjob_operator.tokens import Keys

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
# whatever a manifest asks; test_placement.py is about less
ANYWHERE = Ceilings(priority_classes=("*",), taints=("*", *CONTROL_PLANE), node_labels=("*", *CONTROL_PLANE))
KEYS = Keys(b"k" * 32)
# A search takes a handful of passes between two outside events; a loop that feeds itself takes more.
MAX_PASSES = 50


def make_settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": "",
        "data_dir": Path("/data"),
        "results_url": "http://results:8080",
        "worker_image": "tuningjob/worker:test",
        "worker_pull_policy": "IfNotPresent",
        "max_fits": 100_000,
        "max_pods": 20,
        "max_cpu": None,
        "max_memory": None,
        "placement": ANYWHERE,
        "lifetimes": Lifetimes(),
        "bounds": Bounds(),
        "checks_nodes": True,
        "trusts_references": True,
        "watch_namespaces": (),
        "resync_seconds": 300.0,
        "results_port": 8080,
        "liveness_port": 8081,
        "metrics_port": 8082,
        "artifacts_url": "file:///data/artifacts",
        "max_artifact_bytes": 0,
        "max_namespace_bytes": 0,
        "max_namespace_percent": 0,
        "max_data_bytes": 0,
        "max_data_percent": 0,
        "retention": dt.timedelta(days=30),
        "tls_dir": None,
        "records_creators": True,
        "release": "",
        "pod_name": "",
        "lease_namespace": "kube-system",
        "signing_key_dir": None,
        "key_ids": KEYS.ids,
    }
    return Settings(**(values | changes))


def manifest(name: str = "forest", **spec: Any) -> Body:
    """Nine candidates × two folds = 18 fits, on three pods of two CPUs."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {
            "estimator": {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"n_estimators": [50, 100, 200], "max_depth": [None, 10, 20]}}},
            "crossValidation": {"folds": 2},
            "data": {"loader": "sklearn.datasets.load_iris"},
            "resources": {"cpu": "2", "memory": "1Gi"},
            "parallelism": 3,
            "baseline": False,
            **spec,
        },
    }


class Clock:
    """``skew``: how far the wall clock was set, forward or back; what measures intervals does not follow."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.skew = 0.0

    def now(self) -> dt.datetime:
        return NOON + dt.timedelta(seconds=self.seconds + self.skew)

    def monotonic(self) -> float:
        return self.seconds


class World:
    """``settle`` lets the operator do all it wants to do; everything else is the world around it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.cluster = FakeCluster(self.clock.now)
        self.journal = open_sqlite(ensure_journal(folder / "tuning.db"), clock=self.clock.now)
        self.artifacts = LocalStore(folder / "artifacts", max_bytes=1 << 30)
        self.settings = make_settings(**settings)
        self.keys = KEYS
        self.start_operator()

    def start_operator(self) -> None:
        """A new process: it knows nothing but what it reads."""
        self.cache = Cache(self.settings.bounds)
        self.queue: WorkQueue[Key] = WorkQueue(clock=self.clock.monotonic, jitter=lambda: 0.0)
        self.cache.on_room = self.queue.add
        self.service = ServiceWatch(
            "", clock=self.clock.monotonic, on_change=lambda: self.queue.add_all(self.cache.tuningjobs.keys())
        )
        self.reconciler = Reconciler(
            cluster=self.cluster,
            journal=self.journal,
            artifacts=self.artifacts,
            cache=self.cache,
            settings=self.settings,
            keys=self.keys,
            clock=self.clock,
            service=self.service,
        )
        self.poller = JournalPoller(journal=self.journal, cache=self.cache, queue=self.queue)
        self.beyond = Beyond(
            cluster=self.cluster,
            cache=self.cache,
            settings=self.settings,
            clock=self.clock,
            look=self.reconciler.look_beyond,
        )
        self.resync = Resync(
            cluster=self.cluster,
            journal=self.journal,
            cache=self.cache,
            queue=self.queue,
            clock=self.clock,
            namespaces=self.settings.watch_namespaces,
            on_beyond=self.beyond.notice,
        )

    def deliver(self) -> None:
        """What kopf does with the events of its two watches."""
        for kind, body in self.cluster.watch:
            if kind != "DELETED" and body["kind"] == "TuningJob" and self.cache.tuningjobs.knows(body):
                continue
            if body["kind"] == "TuningJob":
                is_gone = kind == "DELETED"
                self.queue.add(self.cache.remove_tuningjob(body) if is_gone else self.cache.put_tuningjob(body))
                if not is_gone:
                    self.beyond.notice(body)
            elif body["kind"] == "Job":
                (self.cache.jobs.remove if kind == "DELETED" else self.cache.put_job)(body)
                self.queue.add(Key(body["metadata"]["namespace"], body["metadata"]["name"]))
        self.cluster.watch.clear()

    async def settle(self) -> int:
        """Passes until nothing is left to do now."""
        for passes in range(MAX_PASSES):
            self.deliver()
            await self.poller.poll()
            key = self.queue.take_nowait()
            if key is None and await self.beyond.step():
                continue
            if key is None:
                return passes
            await work_on(self.queue, key, self.reconciler.reconcile)
        raise AssertionError(f"not settled after {MAX_PASSES} passes: {self.cluster.calls[-10:]}")

    async def later(self, seconds: float) -> int:
        self.clock.seconds += seconds
        return await self.settle()

    async def restart(self, *, crash_after: int | None = None) -> None:
        """A new process starts as the real one does, with a resync; events of the old one's watch are lost."""
        self.cluster.watch.clear()
        self.cluster.crash_after = None if crash_after is None else len(self.cluster.calls) + crash_after
        self.start_operator()
        await self.resync.resync()

    # what is seen from outside

    def status(self, name: str = "forest") -> Body:
        return self.cluster.tuningjob(name).get("status", {})

    def condition(self, kind: str, name: str = "forest") -> Body | None:
        conditions = self.status(name).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), None)

    def uid(self, name: str = "forest") -> str:
        return str(self.cluster.tuningjob(name)["metadata"]["uid"])

    # the workers

    def preflight(self, name: str = "forest", *, splits: int = 0) -> None:
        self.cluster.run_pods()
        self.journal_preflight(name, splits=splits)

    def journal_preflight(self, name: str = "forest", *, splits: int = 0) -> None:
        found = Preflight(data_digest="d", samples=150, features=4, versions={"numpy": "2"}, splits=splits)
        self.journal.view(self.uid(name)).set_preflight(found)

    def fit(self, cells: int, *, index: int = 0, name: str = "forest", error: str | None = None) -> int:
        """Fit at least so many cells, unless there are no more; returns how many."""
        uid, done = self.uid(name), 0
        while done < cells:
            claim = self.journal.view(uid).claim(ClaimRequest(index=index, slots=1, holding=set()))
            if claim.next is not Next.EVALUATE or claim.unit is None:
                return done
            for cell in claim.unit.cells[: cells - done]:
                score = float("nan") if error else 0.5 + cell.candidate / 100
                result = CellResult(
                    candidate=cell.candidate,
                    split=cell.split,
                    test_scores={"score": score},
                    fit_seconds=1.0,
                    score_seconds=0.1,
                    test_samples=75,
                    error=error,
                )
                self.journal.view(uid).report(Report(index=index, results=[result]))
                done += 1
        return done

    def answer(self, name: str = "forest", *, failed_fits: int = 0) -> None:
        for file, content in (
            ("best_params.json", b"{}"),
            ("leaderboard.csv", b"rank\n1\n"),
            ("cv_results.csv", b"a\n1\n"),
        ):
            self.artifacts.put(self.uid(name), file, [content], sha256=hashlib.sha256(content).hexdigest())
        self.journal.view(self.uid(name)).complete(
            Answer(
                best_index=8,
                best_score=0.96,
                best_std=0.01,
                best_params={"max_depth": None, "n_estimators": 200},
                metric="score",
                failed_fits=failed_fits,
                refit_seconds=0.1,
                fit_seconds_total=18.0,
            )
        )

    async def live(self, *, seconds: float = 10.0) -> None:
        """A whole search: preflight, fits one by one, answer."""
        self.cluster.apply(manifest())
        await self.settle()
        self.preflight()
        await self.later(seconds)
        self.cluster.run_pods()
        while self.fit(1):
            await self.later(seconds)
        self.answer()
        await self.later(seconds)
        self.cluster.end_jobs()
        await self.later(seconds)
