"""The operator under load: `python -m benchmarks.operator`, from the repository's root. About ten minutes for 1,000 TuningJobs.

The real operator as a process, on a real control plane whose nodes are kwok's, with its journal in SQLite. 1,000 TuningJobs
at once, over 20 namespaces, live their whole lives; half-way the operator is stopped, the searches go on, and it is started
again. Then one TuningJob of 2,000 pods. Workers are simulated: what they would tell the journal is told, nothing is fitted.

With ``--replicas 2`` another operator stands by, and half-way the one that works is killed: the other one takes over, and the
first is started again to stand by. Every figure is one replica's then, except the calls, which are both replicas' together.
"""

import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import yaml
from rich.console import Console

from benchmarks.fleet import (
    OPERATOR,
    TUNINGJOBS,
    Api,
    Audit,
    Body,
    Operator,
    Usage,
    Workers,
    passes_of,
    side_by_side,
    wait_for,
)
from benchmarks.journal import Service
from tests.servers import kwok

_ROOT: Final = Path(__file__).parents[1]
_RESULTS: Final = Path(__file__).parent / "results"
_NAMESPACES: Final = [f"team-{number:02}" for number in range(20)]
_PODS: Final = 2
_FOLDS: Final = 5
_CANDIDATES: Final = 8
_ROUNDS: Final = 8  # a search reports in so many rounds: each is a step that its status could show
_ROUNDS_AWAY: Final = 2  # of them, while the operator is stopped
_ROUND_SECONDS: Final = 10.0  # at least; a step is not shown more often than every 3 s
_NODES: Final = 50
_LONE: Final = 20  # TuningJobs that are created one by one beside the others
_BIG: Final = "big"
_GOAL_CALLS, _GOAL_BYTES, _GOAL_SECONDS, _GOAL_TAKE_OVER = 20, 128 * 2**20, 30.0, 15.0

console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@dataclass
class Found:
    """Everything that was measured."""

    tuningjobs: int = 0
    to_job: list[float] = field(default_factory=list)  # seconds
    lone: list[float] = field(default_factory=list)
    calls: Counter[tuple[str, ...]] = field(default_factory=Counter)  # by code, resource, verb
    audited: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    passes: int = 0
    conflicts: int = 0
    cpu_seconds: float = 0.0
    peak: int = 0
    steady: int = 0
    restarted: int = 0  # resident bytes after the restart
    took_over: float = 0.0  # seconds from the end of the one to the first moment of the other
    converged: float = 0.0  # seconds
    troubles: int = 0
    big: dict[str, float] = field(default_factory=dict)


def _manifest(namespace: str, name: str, *, pods: int, candidates: int) -> Body:
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "estimator": {"class": "sklearn.svm.SVC"},
            "search": {"grid": {"parameters": {"C": [float(number + 1) for number in range(candidates)]}}},
            "crossValidation": {"folds": _FOLDS},
            "data": {"loader": "sklearn.datasets.load_breast_cancer"},
            "resources": {"cpu": "1", "memory": "1Gi"},
            "parallelism": pods,
            "baseline": False,  # the simulated workers fit candidates alone
        },
    }


class Scene:
    """The control plane, the operator, the workers, and what is being measured."""

    def __init__(
        self, cluster: kwok.KwokCluster, audit: Audit, folder: Path, service: Service, *, replicas: int
    ) -> None:
        self.api = Api(cluster)
        self.audit = audit
        self.found = Found()
        self.replicas = [
            Operator(
                cluster,
                folder,
                f"operator-{number}",
                TUNINGJOB_RELEASE=f"{_NAMESPACES[0]}/tuningjob",
                TUNINGJOB_RESULTS_PORT=str(service.port),
                TUNINGJOB_MAX_PODS="5000",
                TUNINGJOB_CHECK_NODES="true",
                TUNINGJOB_REFERENCES="allow",
            )
            for number in range(replicas)
        ]
        self.operator = self.replicas[0]  # the one that works
        self._folder = folder
        self._started = time.monotonic()

    def prepare(self) -> None:
        """The CRD, the operator's rights, the namespaces."""
        crd = yaml.safe_load((_ROOT / "crds" / "tuningjobs.yaml").read_text())
        self.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}
        binding = {"metadata": {"name": OPERATOR}, "roleRef": role, "subjects": [subject]}
        self.api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        for namespace in _NAMESPACES:
            self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    def say(self, text: str) -> None:
        """Print progress, with the seconds since the start."""
        console.print(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def workers(self) -> Workers:
        """With the operator's own journal: it must have been there once."""
        return Workers(self.api, self._folder)

    # --- what is seen from outside

    def tuningjobs(self) -> list[Body]:
        return self.api.items(f"{TUNINGJOBS}/tuningjobs")

    def jobs(self) -> list[Body]:
        return self.api.items("/apis/batch/v1/jobs")

    def searches(self) -> list[str]:
        return [tuningjob["metadata"]["uid"] for tuningjob in self.tuningjobs()]

    def jobs_made(self) -> int:
        """By this process of the operator: the cheap question, where a list of a thousand Jobs is 4 MB."""
        return int(self.operator.metrics()["tuningjob_api_calls_total", "201", "jobs", "create"])

    def has_made_more_than(self, jobs: int) -> bool:
        """Whether there are more Jobs by now."""
        return self.jobs_made() > jobs

    def settled(self) -> bool:
        """Whether nothing waits for the operator."""
        metrics = self.operator.metrics()
        return bool(metrics) and metrics["tuningjob_queue_depth",] == 0

    # --- the operator's own account, which ends with its process

    def start(self) -> None:
        """Those that do not run, the one that works first, so that the others stand by."""
        if not self.operator.runs:
            self.operator.start()
        wait_for("the operator to lead", lambda: _leads(self.operator), seconds=120)
        for replica in self.replicas:
            if not replica.runs:
                replica.start()

    def stop(self) -> None:
        """All of them."""
        for replica in self.replicas:
            if replica.runs:
                self._take_in(replica.metrics(), replica.usage())
        self.end()

    def end(self) -> None:
        """All of them, and nothing is counted."""
        for replica in sorted(self.replicas, key=lambda replica: replica is self.operator):
            replica.stop()

    def kill(self) -> None:
        """The one that works; from now on another one does. Returns when it does."""
        self._take_in(self.operator.metrics(), self.operator.usage())
        self.operator.kill()
        began = time.monotonic()
        self.operator = next(replica for replica in self.replicas if replica.runs)
        wait_for("another operator to lead", lambda: _leads(self.operator), seconds=120, pause=0.1)
        self.found.took_over = time.monotonic() - began

    def troubles(self) -> list[Body]:
        """What any of them has warned of."""
        return [line for replica in self.replicas for line in replica.troubles()]

    def _take_in(self, metrics: Counter[tuple[str, ...]], usage: Usage) -> None:
        found = self.found
        calls = {key[1:]: int(value) for key, value in metrics.items() if key[0] == "tuningjob_api_calls_total"}
        found.calls.update(calls)
        found.passes += passes_of(metrics)
        found.conflicts += int(metrics["tuningjob_reconcile_seconds_count", "conflict"])
        found.cpu_seconds += usage.cpu_seconds
        found.peak = max(found.peak, usage.peak)


def _leads(operator: Operator) -> bool:
    return operator.metrics()["tuningjob_leading",] == 1


def _lives(scene: Scene, count: int) -> None:
    """``count`` TuningJobs at once, from their creation to their end."""
    found, api = scene.found, scene.api
    found.tuningjobs = count + _LONE
    scene.start()
    scene.say(f"creating {count} TuningJobs")
    names = [(_NAMESPACES[number % len(_NAMESPACES)], f"search-{number:04}") for number in range(count)]
    side_by_side(lambda name: _create(api, *name), names)
    wait_for("every Job", lambda: scene.jobs_made() == count, seconds=600, pause=1)
    wait_for("the operator to settle", scene.settled, seconds=120)
    scene.say("every Job is there")
    lone = [(_NAMESPACES[0], f"lone-{number}") for number in range(_LONE)]
    for name in lone:
        before = scene.jobs_made()
        _create(api, *name)
        wait_for("its Job", partial(scene.has_made_more_than, before), seconds=60, pause=0.5)
    # the API server writes its audit log a moment after it has answered
    wait_for("every Job in the audit log", lambda: len(scene.audit.seconds_to_job()) == found.tuningjobs, seconds=60)
    took = scene.audit.seconds_to_job()
    found.to_job = [took[f"{namespace}/{name}"] for namespace, name in names]
    found.lone = [took[f"{namespace}/{name}"] for namespace, name in lone]
    with ExitStack() as stack:
        workers = scene.workers()
        stack.callback(workers.close)
        searches = scene.searches()
        scene.say("preflights")
        side_by_side(workers.preflight, searches)
        wait_for("every Job to be scaled", lambda: _are_scaled(scene.jobs()), seconds=600, pause=5)
        scene.say("every Job is scaled")
        for _ in range(_ROUNDS // 2):
            _round(workers, searches)
        wait_for("the operator to settle", scene.settled, seconds=120)
        time.sleep(5)
        found.steady = scene.operator.usage().resident
        scene.say(f"half of the fits are in; steady at {found.steady / 2**20:.0f} MiB; restarting the operator")
        _restart(scene, workers, searches)
        for _ in range(_ROUNDS // 2 - _ROUNDS_AWAY):
            _round(workers, searches)
        scene.say("every fit is in")
        side_by_side(workers.finish, searches)
        _await_the_end(scene, workers)
        scene.say("every TuningJob is complete")
    wait_for("the operator to settle", scene.settled, seconds=120)
    scene.stop()
    found.troubles = len(scene.troubles())
    found.audited = scene.audit.calls()


def _create(api: Api, namespace: str, name: str, *, pods: int = _PODS, candidates: int = _CANDIDATES) -> None:
    path = f"{TUNINGJOBS}/namespaces/{namespace}/tuningjobs"
    api.call("POST", path, _manifest(namespace, name, pods=pods, candidates=candidates))


def _are_scaled(jobs: Iterable[Body]) -> bool:
    return all(job["spec"]["parallelism"] == _PODS and job["status"].get("ready") == _PODS for job in jobs)


def _round(workers: Workers, searches: list[str]) -> None:
    began = time.monotonic()
    cells = _CANDIDATES * _FOLDS // _ROUNDS
    side_by_side(lambda search: workers.fit(search, cells, pods=_PODS), searches)
    time.sleep(max(0.0, _ROUND_SECONDS - (time.monotonic() - began)))


def _restart(scene: Scene, workers: Workers, searches: list[str]) -> None:
    """Stop it, let every search go on, start it, or another one takes over: until each was looked at, and nothing waits."""
    before = _done(scene)
    if len(scene.replicas) == 1:
        scene.stop()
        for _ in range(_ROUNDS_AWAY):
            _round(workers, searches)
        began = time.monotonic()
        scene.start()
    else:
        began = time.monotonic()
        scene.kill()
        scene.say(f"another operator works after {scene.found.took_over:.1f} s")
        scene.start()

    # while nobody was there, every search went on, which its status must show; one that took over at once has nothing to add
    more = 1 if len(scene.replicas) == 1 else 0

    def converged() -> bool:
        metrics = scene.operator.metrics()
        if passes_of(metrics) < len(searches) or metrics["tuningjob_queue_depth",] > 0:
            return False
        return all(done >= before[name] + more for name, done in _done(scene).items())

    wait_for("the operator to converge", converged, seconds=300, pause=0.5)
    scene.found.converged = time.monotonic() - began
    if len(scene.replicas) > 1:
        for _ in range(_ROUNDS_AWAY):
            _round(workers, searches)
    usage = scene.operator.usage()
    scene.found.restarted = usage.resident
    scene.say(
        f"converged in {scene.found.converged:.1f} s, "
        f"{usage.resident / 2**20:.0f} MiB, {usage.cpu_seconds:.1f} s of CPU"
    )


def _done(scene: Scene) -> dict[tuple[str, str], int]:
    """Cells that each status says are done, by the TuningJob's namespace and name."""
    return {
        (body["metadata"]["namespace"], body["metadata"]["name"]): body["status"]["progress"]["done"]
        for body in scene.tuningjobs()
    }


def _pods_of(scene: Scene) -> list[Body]:
    """Those that have not ended."""
    chosen = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dtuningjob&fieldSelector=status.phase%21%3DSucceeded"
    return scene.api.items(f"/api/v1/pods?{chosen}")


def _await_the_end(scene: Scene, workers: Workers) -> None:
    """Nothing is left to claim, so every pod goes home, the late ones too."""

    def ended() -> bool:
        workers.go_home(_pods_of(scene))
        statuses = [tuningjob.get("status", {}) for tuningjob in scene.tuningjobs()]
        return all(status.get("phase") == "Complete" and not status.get("activePods") for status in statuses)

    wait_for("every TuningJob to be complete", ended, seconds=600, pause=5)


def _is_big(scene: Scene, pods: int) -> None:
    """One TuningJob of very many pods."""
    api, big = scene.api, scene.found.big
    for namespace in _NAMESPACES:
        api.call("DELETE", f"{TUNINGJOBS}/namespaces/{namespace}/tuningjobs?propagationPolicy=Background")
    wait_for("everything to be gone", lambda: not scene.jobs() and not _pods_of(scene), seconds=600, pause=2)
    before = sum(scene.audit.calls().values())
    scene.start()
    wait_for("the operator to settle", lambda: scene.settled() and not scene.searches(), seconds=120)
    idle = scene.operator.usage()
    _create(api, _NAMESPACES[0], _BIG, pods=pods, candidates=pods)
    wait_for("its Job", lambda: bool(scene.jobs()), seconds=60)
    (search,) = scene.searches()
    workers = scene.workers()
    began = time.monotonic()
    workers.preflight(search)
    wait_for("it to be scaled", lambda: scene.jobs()[0]["spec"]["parallelism"] == pods, seconds=60, pause=0.1)
    big["seconds to scale"] = time.monotonic() - began
    wait_for("its pods", lambda: scene.jobs()[0]["status"].get("ready") == pods, seconds=600, pause=1)
    big["seconds until all pods run"] = time.monotonic() - began
    scene.say(f"{pods} pods run after {big['seconds until all pods run']:.0f} s")
    for _ in range(_ROUNDS):
        workers.fit(search, pods * _FOLDS // _ROUNDS + 1, pods=pods)
        time.sleep(3)
    workers.finish(search)
    _await_the_end(scene, workers)
    workers.close()
    wait_for("the operator to settle", scene.settled, seconds=60)
    metrics, usage = scene.operator.metrics(), scene.operator.usage()
    big["passes"] = passes_of(metrics)
    big["seconds of CPU"] = usage.cpu_seconds - idle.cpu_seconds
    big["peak MiB"] = usage.peak / 2**20
    scene.end()
    big["calls"] = sum(scene.audit.calls().values()) - before
    scene.say("the big one is complete")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tuningjobs", default=1_000, show_default=True, help="At once.")
@click.option("--pods", default=2_000, show_default=True, help="Of the big one; 0: without it.")
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1, 2), help="Of the operator.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results/operator.md, or operator-replicas.md.")
@click.option("--date", default="", help="The date to write there.")
def main(*, tuningjobs: int, pods: int, replicas: int, write: bool, date: str) -> None:
    """Measure the operator on fake nodes."""
    # what was started is ended then, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-operator-")))
        audit = Audit(folder)
        cluster = stack.enter_context(kwok.running(users=[OPERATOR], options=audit.options, nodes=_NODES))
        service = Service(folder, f"sqlite:///{folder / 'tuning.db'}")
        stack.callback(service.end)
        service.wait()
        scene = Scene(cluster, audit, folder, service, replicas=replicas)
        stack.callback(scene.end)
        stack.callback(lambda: console.print(*scene.troubles()[:10], sep="\n", markup=False))
        scene.prepare()
        _lives(scene, tuningjobs)
        if pods:
            console.print(_page(scene.found, pods=pods, replicas=replicas, date=date), markup=False)
            _is_big(scene, pods)
        page = _page(scene.found, pods=pods, replicas=replicas, date=date)
    console.print(page, markup=False)
    if write:
        (_RESULTS / ("operator.md" if replicas == 1 else "operator-replicas.md")).write_text(page)


def _page(found: Found, *, pods: int, replicas: int, date: str) -> str:
    """The results, as Markdown."""
    when = f" on {date}" if date else ""
    command = "python -m benchmarks.operator" + (f" --replicas {replicas}" if replicas > 1 else "")
    half_way = (
        "Half-way the operator is stopped, every search goes on, and it is started again"
        if replicas == 1
        else "Another operator stands by. Half-way the one that works is killed with SIGKILL, so that its Lease runs out, and is "
        "started again to stand by; memory and CPU are those of one replica, calls of both"
    )
    how = (
        f"Written by `{command}`{when}: the operator as a process of its own, on a real etcd, API "
        f"server, controller manager and scheduler, with {_NODES} fake nodes (kwok), all of them, the results service and "
        f"the simulated workers on {os.cpu_count()} CPUs ({platform.machine()}). {found.tuningjobs - _LONE:,} TuningJobs of "
        f"{_CANDIDATES * _FOLDS} fits and {_PODS} pods are created at once over {len(_NAMESPACES)} namespaces, then {_LONE} "
        f"more one by one; all live until they are complete. {half_way}: converged once every TuningJob was looked at, every "
        f"status was written, and nothing waits."
    )
    counted = (
        "Counted by the operator's own metrics. The API server's audit of the operator's user, with kopf's watches and "
        f"lists, has {sum(found.audited.values()) / found.tuningjobs:.2f} per TuningJob."
    )
    lines = ["# The operator at scale", "", how, "", "| | measured | goal |", "|---|---:|---:|", *_rows(found), ""]
    lines += ["## Calls to the API server per TuningJob", ""]
    lines += ["| verb | resource | per TuningJob | refused, of all |", "|---|---|---:|---:|", *_call_rows(found)]
    lines += ["", counted, ""]
    if found.big:
        lines += [f"## One TuningJob of {pods:,} pods", "", "| | |", "|---|---:|"]
        lines += [f"| {name} | {value:,.1f} |" for name, value in found.big.items()]
        lines.append("")
    return "\n".join(lines)


def _rows(found: Found) -> list[str]:
    def row(name: str, value: str, goal: str = "") -> str:
        return f"| {name} | {value} | {goal} |"

    mib = 2**20
    calls = sum(found.calls.values()) / found.tuningjobs
    return [
        row(
            "`apply` to Job, all at once: P50, P99",
            f"{statistics.median(found.to_job):.2f} s, {_quantile(found.to_job, 0.99):.2f} s",
        ),
        row(
            "`apply` to Job, one more beside them: P50, worst",
            f"{1e3 * statistics.median(found.lone):.0f} ms, {1e3 * max(found.lone):.0f} ms",
        ),
        row("calls per TuningJob's life", f"{calls:.2f}", f"≤ {_GOAL_CALLS}"),
        row("passes per TuningJob's life", f"{found.passes / found.tuningjobs:.1f}"),
        row("passes that met a conflict", f"{found.conflicts}"),
        row("CPU per TuningJob's life", f"{1e3 * found.cpu_seconds / found.tuningjobs:.0f} ms"),
        row("memory, peak", f"{found.peak / mib:.0f} MiB", f"≤ {_GOAL_BYTES // mib} MiB"),
        row("memory, all running", f"{found.steady / mib:.0f} MiB", f"≤ {_GOAL_BYTES // mib} MiB"),
        row("memory, after the restart", f"{found.restarted / mib:.0f} MiB", f"≤ {_GOAL_BYTES // mib} MiB"),
        *(
            [row("a stand-by took over after", f"{found.took_over:.1f} s", f"≤ {_GOAL_TAKE_OVER:.0f} s")]
            if found.took_over
            else []
        ),
        row("converged after a restart", f"{found.converged:.1f} s", f"≤ {_GOAL_SECONDS:.0f} s"),
        row("warnings and errors logged", f"{found.troubles}"),
    ]


def _call_rows(found: Found) -> list[str]:
    told: dict[tuple[str, str], list[int]] = {}
    for (code, resource, verb), number in found.calls.items():
        row = told.setdefault((verb, resource), [0, 0])
        row[0] += number
        row[1] += number if int(code) >= 400 or code == "0" else 0
    rows: list[tuple[Any, ...]] = sorted(((*key, *counts) for key, counts in told.items()), key=lambda row: -row[2])
    return [f"| {verb} | {what} | {n / found.tuningjobs:.2f} | {bad} |" for verb, what, n, bad in rows]


def _quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


if __name__ == "__main__":
    main()
