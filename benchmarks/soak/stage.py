"""The cluster and what the searches stand on: Postgres on a small disk, a web server of files, namespaces of several tenants."""

import base64
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.soak import kinds
from benchmarks.soak.checks import Cell, Ended, Life
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.plan import Order
from benchmarks.soak.truth import digest_of
from tests.cluster.harness import cgroups
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import HOST_ADDRESS, NODES
from tests.cluster.harness.shell import HarnessError
from tests.journal.test_full_disk import small_disk
from tests.servers import files, postgres
from tests.servers.postgres import Postgres
from tuningjob.aliases import Json

Document = dict[str, Any]

IN_FLIGHT: Final = 6
TENANTS: Final = ("soak-ant", "soak-bee", "soak-cat")
OPERATOR, SERVICE, WORKER = "operator", "results service", "worker"
COMMANDS: Final = {OPERATOR: "tuningjob_operator", SERVICE: "tuningjob_operator.service", WORKER: "tuningjob.pod"}
LIMITS: Final = {OPERATOR: 256 * 2**20, SERVICE: 512 * 2**20}  # the chart's
TABLES: Final = ("searches", "regions", "units", "deaths", "cells", "files", "hyperparameter_audit")
_SECRET: Final = "database"
_DISK_MEGABYTES: Final = 800
_KINDS_OF_OBJECTS: Final = ("jobs", "pods", "secrets", "configmaps", "tuningjobs")


@dataclass
class Flight:
    """A search that was sent and has not been seen to end."""

    order: Order
    sent: float
    phase: str = ""
    was_cancelled: bool = False
    was_deleted: bool = False


@dataclass(frozen=True)
class Process:
    """One of the product's in a container, as this machine sees it."""

    what: str
    pid: int
    pod: str


@dataclass
class Stage:
    """What the run sees and does. ``timeline`` is everything that was done, in its order."""

    cluster: Cluster
    release: chart.Release
    server: Postgres
    database: str
    disk: Path
    url: str
    ledger: Ledger
    fit_seconds: float
    began: float = field(default_factory=time.monotonic)
    timeline: list[str] = field(default_factory=list)
    flying: dict[str, Flight] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)
    acknowledged: dict[tuple[str, int], Cell] = field(default_factory=dict)
    lives: dict[tuple[int, str], Life] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, what: str) -> None:
        """Write it into the timeline."""
        self.timeline.append(f"{time.monotonic() - self.began:7.1f} s  {what}")

    # --- the tenants

    def send(self, order: Order) -> None:
        """Apply its manifest; tried again while there is no API server."""
        document = kinds.manifest(
            order.kind, order.name, url=f"{self.url}/t.csv", ledger=self.ledger.address, fit_seconds=self.fit_seconds
        )
        self._try_again(lambda: self.cluster.apply(document, namespace=order.tenant))
        with self.lock:
            self.flying[order.name] = Flight(order, time.monotonic())
        self.say(f"sent {order.name} by {order.tenant}")

    def look(self) -> list[Flight]:
        """See which searches have ended since, and return them. Nothing, while there is no API server."""
        done: list[Flight] = []
        for tenant in TENANTS:
            try:
                there = {each["metadata"]["name"]: each for each in self.cluster.items("tj", namespace=tenant)}
            except HarnessError:
                continue
            with self.lock:
                of_tenant = [flight for flight in self.flying.values() if flight.order.tenant == tenant]
            done += [flight for flight in of_tenant if self._has_ended(flight, there.get(flight.order.name))]
        return done

    def _has_ended(self, flight: Flight, found: Document | None) -> bool:
        name = flight.order.name
        if found is None:
            self._end(flight, Ended(name, flight.order.kind, "Deleted", was_deleted=flight.was_deleted))
            return True
        status = found.get("status") or {}
        flight.phase = status.get("phase", "")
        if flight.phase not in {"Complete", "Failed"}:
            return False
        failed = [
            each for each in status.get("conditions", []) if each["type"] == "Failed" and each["status"] == "True"
        ]
        try:
            digest = self._digest_of(flight) if flight.phase == "Complete" else ""
        except HarnessError:
            return False
        reason = "".join(each["reason"] for each in failed)
        ended = Ended(name, flight.order.kind, flight.phase, reason, digest, flight.was_cancelled, flight.was_deleted)
        self._end(flight, ended)
        return True

    def _end(self, flight: Flight, ended: Ended) -> None:
        with self.lock:
            del self.flying[ended.name]
            self.ended.append(ended)
        seconds = time.monotonic() - flight.sent
        self.say(f"{ended.name} ended {ended.phase} {ended.reason} after {seconds:.0f} s")

    def _digest_of(self, flight: Flight) -> str:
        found = self.cluster.get("configmap", f"{flight.order.name}-results", namespace=flight.order.tenant)
        if found is None:
            return ""
        return digest_of(gzip.decompress(base64.b64decode(found["binaryData"]["cv_results.csv.gz"])).decode())

    def running(self, kind: str = "") -> list[Flight]:
        """Searches at work that nobody has cancelled or deleted, by name."""
        with self.lock:
            found = [
                flight
                for flight in self.flying.values()
                if flight.phase == "Running" and not flight.was_cancelled and not flight.was_deleted
            ]
        chosen = [flight for flight in found if flight.order.kind == kind] or found
        return sorted(chosen, key=lambda flight: flight.order.name)

    def delete(self, order: Order) -> None:
        """Delete its TuningJob."""
        words = ("delete", "tj", order.name, "--wait=false", "--ignore-not-found")
        self._try_again(lambda: self.cluster.kubectl(*words, namespace=order.tenant))

    def patch(self, flight: Flight, **spec: Json) -> None:
        """Change its spec. Raises HarnessError if that is refused."""
        words = ("patch", "tj", flight.order.name, "--type=merge", "-p", json.dumps({"spec": spec}))
        self.cluster.kubectl(*words, namespace=flight.order.tenant)

    @staticmethod
    def _try_again(what: Callable[[], object], *, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                what()
            except HarnessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    # --- what is seen beside

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The journal's database, past the journal. Raises psycopg.OperationalError while it is away."""
        with psycopg.connect(self.server.url(self.database), connect_timeout=5) as connection:
            return connection.execute(query).fetchall()

    def cells(self, *, newest_seconds: float | None = None) -> list[Cell]:
        """What the journal has of results, or has of the last so many seconds."""
        since = "" if newest_seconds is None else f"WHERE c.reported_at > now() - interval '{newest_seconds} seconds'"
        rows = self.ask(
            "SELECT s.name, c.ordinal, md5(c.result), extract(epoch FROM c.reported_at)::float8 "
            f"FROM cells c JOIN searches s ON s.id = c.search_id {since}"
        )
        return [Cell(*row) for row in rows]

    def sample(self) -> None:
        """What was acknowledged of late, and how much memory the control plane holds."""
        with contextlib.suppress(psycopg.OperationalError):
            for cell in self.cells(newest_seconds=60):
                self.acknowledged.setdefault((cell.search, cell.ordinal), cell)
        for process in processes():
            if process.what != WORKER and (held := _resident_bytes(process.pid)):
                life = self.lives.setdefault((process.pid, _started(process.pid)), Life(process.what, process.pid))
                life.resident_bytes.append(held)

    def objects(self) -> dict[str, list[str]]:
        """Everything in the tenants' namespaces that a TuningJob may have made, as namespace: kind/name."""
        return {
            tenant: [
                f"{kind}/{each['metadata']['name']}"
                for kind in _KINDS_OF_OBJECTS
                for each in self.cluster.items(kind, namespace=tenant)
            ]
            for tenant in TENANTS
        }

    def pods_that_end(self) -> list[str]:
        """Pods of the tenants that are deleted and still there, with what holds them."""
        return [
            f"{tenant}/{pod['metadata']['name']} on {pod['spec'].get('nodeName')}, held by {pod['metadata'].get('finalizers')}"
            for tenant in TENANTS
            for pod in self.cluster.items("pods", namespace=tenant)
            if "deletionTimestamp" in pod["metadata"]
        ]


def processes() -> list[Process]:
    """The product's processes in containers: of each pod and command the first one."""
    modules = {module: what for what, module in COMMANDS.items()}
    found: dict[tuple[str, str], Process] = {}
    for pid in sorted(cgroups.members(*NODES)):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            what = next((modules[word] for word in words[:4] if word in modules), None)
            if what is None:
                continue
            told = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
            pod = next((each.partition("=")[2] for each in told if each.startswith("TUNINGJOB_POD_NAME=")), "")
            found.setdefault((what, pod), Process(what, pid, pod))
    return list(found.values())


def search_of(pod: str) -> str:
    """The name of a worker pod's search: the pod is called after its Job, its index and something."""
    return pod.rpartition("-")[0].rpartition("-")[0]


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0


def _started(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


@contextlib.contextmanager
def standing(cluster: Cluster, folder: Path, *, fit_seconds: float) -> Iterator[Stage]:
    """All of it; ``folder`` has t.csv. The release is left as it is: the cluster goes with it."""
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_disk(_DISK_MEGABYTES))
        addresses = ("127.0.0.1", HOST_ADDRESS)
        server = stack.enter_context(postgres.running(disk / "postgres", addresses=addresses))
        database = server.create_database()
        (folder / "site").mkdir(exist_ok=True)
        site = stack.enter_context(files.https(folder / "site", host=HOST_ADDRESS))
        (site.folder / "t.csv").write_bytes((folder / "t.csv").read_bytes())
        ledger = stack.enter_context(Ledger.listening(HOST_ADDRESS))
        release = _installed(cluster, server.url(database, address=HOST_ADDRESS))
        for tenant in TENANTS:
            stack.enter_context(temporary_namespace(cluster, tenant))
            cluster.apply(*_config_maps(folder / "t.csv", site.authority), namespace=tenant)
        yield Stage(cluster, release, server, database, disk, site.url, ledger, fit_seconds)


def _installed(cluster: Cluster, url: str) -> chart.Release:
    namespace = chart.Release().namespace
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": _SECRET}, "stringData": {"url": url}}
    cluster.apply(space)
    cluster.apply(secret, namespace=namespace)
    return chart.install(cluster, f"databaseSecret={_SECRET}")


def _config_maps(csv: Path, authority: Path) -> Sequence[Document]:
    code = Path(kinds.__file__).with_name("counted.py")
    told = {
        kinds.TABLE: {"t.csv": csv.read_text(encoding="utf-8"), "ca.crt": authority.read_text(encoding="utf-8")},
        kinds.CODE: {code.name: code.read_text(encoding="utf-8")},
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        for name, data in told.items()
    ]
