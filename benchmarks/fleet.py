"""What benchmarks/operator.py puts together: the operator's process, its API server's audit, and workers that fit nothing.

A simulated worker does what a real one does to the journal (preflight, claims, reports, files, the answer), and to its pod
(the end).
"""

import hashlib
import http.client
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.servers.kwok import KwokCluster
from tests.servers.ports import free_port
from tuningjob.artifacts.opening import open_store
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Answer, Cell, CellResult, Next, Pilot, Preflight, Spread
from tuningjob.protocol.requests import ClaimRequest, Report

Body = dict[str, Any]
OPERATOR: Final = "operator"  # as the API server knows it
TUNINGJOBS: Final = "/apis/tuningjob.dev/v1alpha1"
_THREADS: Final = 4
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PILOT: Final = Pilot(
    cell_seconds=Spread(low=1.0, expected=2.0, high=4.0),
    process_bytes=Spread(low=1e7, expected=2e7, high=4e7),
    pod_bytes=200 * 2**20,
    cells=4,
)
_PREFLIGHT: Final = Preflight(
    data_digest="d" * 32,
    split_digest="s" * 32,
    estimator_digest="e" * 32,
    samples=569,
    features=30,
    memory_bytes=200 * 2**20,
    versions={"numpy": "2.4.0", "pandas": "3.0.0", "scikit-learn": "1.9.1", "scipy": "1.17.0"},
    pilot=_PILOT,
)

# With the libraries of the image and no more: kopf imports the official client wherever it is installed.
OPERATOR_PYTHON = Path(__file__).parents[1] / "build" / "operator-venv" / "bin" / "python"


def wait_for(what: str, is_so: Callable[[], bool], *, seconds: float, pause: float = 0.25) -> float:
    """How long it took. Raises TimeoutError."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return time.monotonic() - began


class Refused(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Api:
    """The API server as its administrator sees it, with connections that are kept."""

    def __init__(self, cluster: KwokCluster) -> None:
        self._host = cluster.url.removeprefix("https://")
        self._context = ssl.create_default_context(cafile=str(cluster.ca_file))
        self._headers = {"Authorization": f"Bearer {cluster.token_of('admin')}"}
        self._own = threading.local()

    def call(self, method: str, path: str, body: Body | None = None, *, kind: str = "application/json") -> Body:
        """One request. Raises Refused."""
        text = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": kind}
        try:
            response = self._ask(method, path, text, headers)
        except ConnectionError:  # the server closes a connection that was idle for long
            del self._own.connection
            response = self._ask(method, path, text, headers)
        answer = response.read()
        if response.status >= 400:
            raise Refused(response.status, f"{method} {path}: {response.status} {answer[:500].decode()}")
        told: Body = json.loads(answer)
        return told

    def _ask(self, method: str, path: str, text: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPSConnection(self._host, timeout=120, context=self._context)
        connection: http.client.HTTPSConnection = self._own.connection
        connection.request(method, path, text, headers)
        return connection.getresponse()

    def items(self, path: str) -> list[Body]:
        """All of a kind, from the server's memory."""
        found: list[Body] = self.call("GET", f"{path}{'&' if '?' in path else '?'}resourceVersion=0")["items"]
        return found


def side_by_side(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """``work`` of each, a few at a time."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(work, items))


@dataclass(frozen=True)
class Usage:
    """Of a process: bytes, and seconds of CPU so far."""

    resident: int
    peak: int
    cpu_seconds: float


class Operator:
    """``python -m tuningjob_operator``, as its container starts it; ``pod`` is its name among the replicas."""

    def __init__(self, cluster: KwokCluster, folder: Path, pod: str, **environment: str) -> None:
        self._metrics_port = free_port()
        self._log = folder / f"{pod}.log"
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig(OPERATOR)),
            "TUNINGJOB_DATA_DIR": str(folder),
            "TUNINGJOB_WORKER_IMAGE": "tuningjob/worker:simulated",
            "TUNINGJOB_LIVENESS_PORT": str(free_port()),
            "TUNINGJOB_METRICS_PORT": str(self._metrics_port),
            "TUNINGJOB_POD_NAME": pod,
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it is not awaited."""
        with self._log.open("ab") as log:
            command = [str(OPERATOR_PYTHON), "-m", "tuningjob_operator"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """SIGTERM, and wait. Nothing, if it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """SIGKILL, as a node that is lost ends it: it gives nothing back."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)
        self._process = None

    @property
    def runs(self) -> bool:
        """Whether it was started, and not ended."""
        return self._process is not None

    def usage(self) -> Usage:
        """As the kernel counts."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))}
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return Usage(kib["VmRSS"] * 1024, kib["VmHWM"] * 1024, (int(fields[11]) + int(fields[12])) / _TICKS)

    def metrics(self) -> Counter[tuple[str, ...]]:
        """Every sample of its ``/metrics``, by name and its labels' values (labels by name); nothing before it answers."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the operator ended: {self._log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return Counter()
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return Counter(
            {(each.name, *(each.labels[label] for label in sorted(each.labels))): each.value for each in samples}
        )

    def troubles(self) -> list[Body]:
        """Its log's lines from warnings on."""
        if not self._log.exists():
            return []
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["level"] not in {"info", "debug"}]


def passes_of(metrics: Counter[tuple[str, ...]]) -> int:
    """How many passes have ended."""
    return int(sum(value for key, value in metrics.items() if key[0] == "tuningjob_reconcile_seconds_count"))


class Audit:
    """The API server's own log: every request of the operator's, kopf's included, and every TuningJob's creation."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "audit.log"
        self._policy = folder / "audit.json"
        rules = [
            {"level": "Metadata", "users": [OPERATOR]},
            {
                "level": "Metadata",
                "verbs": ["create"],
                "resources": [{"group": "tuningjob.dev", "resources": ["tuningjobs"]}],
            },
            {"level": "None"},
        ]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        self._policy.write_text(json.dumps(policy | {"omitStages": ["RequestReceived", "ResponseStarted"]}))

    @property
    def options(self) -> tuple[str, ...]:
        """For the API server."""
        return f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"

    def _entries(self) -> Iterator[Body]:
        with self._log.open() as log:
            yield from (json.loads(line) for line in log)

    def calls(self) -> Counter[tuple[str, str, int]]:
        """The operator's calls by verb, resource and status."""
        return Counter(
            (entry["verb"], _resource(entry), entry["responseStatus"]["code"])
            for entry in self._entries()
            if entry["user"]["username"] == OPERATOR
        )

    def seconds_to_job(self) -> dict[str, float]:
        """From the request that creates a TuningJob to the answer to the one that creates its Job, by namespace/name."""
        began: dict[str, datetime] = {}
        took: dict[str, float] = {}
        for entry in self._entries():
            if entry["verb"] != "create" or entry["responseStatus"]["code"] != 201:
                continue
            what = entry["objectRef"]
            key = f"{what.get('namespace')}/{what.get('name')}"
            if what["resource"] == "tuningjobs":
                began[key] = datetime.fromisoformat(entry["requestReceivedTimestamp"])
            elif what["resource"] == "jobs" and key in began:
                took[key] = (datetime.fromisoformat(entry["stageTimestamp"]) - began[key]).total_seconds()
        return took


def _resource(entry: Body) -> str:
    what = entry.get("objectRef", {})
    return "/".join(part for part in (what.get("resource", "none"), what.get("subresource")) if part)


class Workers:
    """All workers of all searches."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._journal = SqlJournal(f"sqlite:///{folder / 'tuning.db'}")
        self._store = open_store((folder / "artifacts").as_uri(), max_bytes=2**20, scratch=folder / "uploads")

    def close(self) -> None:
        self._journal.close()

    def preflight(self, search: str) -> None:
        """The first pod's finding."""
        self._journal.view(search).set_preflight(_PREFLIGHT)

    def fit(self, search: str, cells: int, *, pods: int) -> None:
        """So many cells, the pods taking turns."""
        index, idle = 0, 0
        while cells > 0 and idle < pods:
            claim = self._journal.view(search).claim(ClaimRequest(index=index, slots=1, holding=set()))
            if claim.next is Next.FINISH:
                return
            if claim.unit is None:
                idle += 1  # what is left, others hold
            else:
                idle, taken = 0, claim.unit.cells[:cells]
                self._journal.view(search).report(Report(index=index, results=[_result(cell) for cell in taken]))
                cells -= len(taken)
            index = (index + 1) % pods

    def finish(self, search: str) -> None:
        """The files and the answer."""
        for name, size in (("best_params.json", 100), ("leaderboard.csv", 2_000), ("cv_results.csv", 10_000)):
            content = b"x" * size
            self._store.put(search, name, [content], sha256=hashlib.sha256(content).hexdigest())
        answer = Answer(
            best_index=0, best_score=0.9, best_std=0.01, best_params={"C": 1.0}, metric="score", failed_fits=0,
            refit_seconds=1.0, fit_seconds_total=80.0,
        )  # fmt: skip
        self._journal.view(search).complete(answer)

    def go_home(self, pods: Sequence[Body]) -> None:
        """Every pod ends well."""
        ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        container = {"name": "worker", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
        status = {"status": {"phase": "Succeeded", "containerStatuses": [container]}}

        def end(pod: Body) -> None:
            metadata = pod["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
            try:
                self._api.call("PATCH", path, status, kind="application/merge-patch+json")
            except Refused as refused:
                if refused.status != 404:  # the operator needed it no more
                    raise

        side_by_side(end, pods)


def _result(cell: Cell) -> CellResult:
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores={"score": 0.5 + cell.candidate / 10_000},
        fit_seconds=1.9,
        score_seconds=0.1,
        test_samples=114,
        identity=f"{cell.candidate:016x}{cell.split:016x}",
    )
