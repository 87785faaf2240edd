"""The operator as a process of its own, as its container starts it, within the memory that the chart gives it."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.servers.apiserver import ApiServer, Refused
from tests.servers.ports import free_port
from tests.waiting import wait_for
from tests.yamls import document

LIMIT_BYTES: Final = 256 * 2**20  # of the chart's operator.resources.memory
_ROOT: Final = Path(__file__).parents[2]
_CGROUPS: Final = Path("/sys/fs/cgroup/memory")


class OperatorProcess:
    """Started by ``start``; ``folder`` is its volume, which outlives it."""

    def __init__(
        self, server: ApiServer, folder: Path, user: str, python: Path = Path(sys.executable), /, **environment: str
    ) -> None:
        self.folder = folder
        self.log = folder / "operator.log"
        self.health = free_port()
        self.metrics = free_port()
        self._python = python
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(server.kubeconfig(user)),
            "TUNINGJOB_DATA_DIR": str(folder),
            "TUNINGJOB_WORKER_IMAGE": "tuningjob/worker:test",
            "TUNINGJOB_LIVENESS_PORT": str(self.health),
            "TUNINGJOB_METRICS_PORT": str(self.metrics),
            "TUNINGJOB_RESULTS_PORT": str(free_port()),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [*_within_the_limit(), str(self._python), "-m", "tuningjob_operator"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    @property
    def peak_bytes(self) -> int:
        """The most that it ever held."""
        return self._bytes("VmHWM")

    @property
    def resident_bytes(self) -> int:
        """What it holds now."""
        return self._bytes("VmRSS")

    def _bytes(self, field: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) * 1024

    def metric(self, name: str) -> float | None:
        """What it tells Prometheus under this name; None while it tells nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return next((float(line.split()[1]) for line in lines if line.split(" ")[0] == name), None)

    def is_healthy(self) -> bool:
        """Whether its probe answers in the second that the chart gives it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def prepare(server: ApiServer, *namespaces: str) -> None:
    """The CRD, all rights for the user ``operator``, and these namespaces; returns when TuningJobs are taken."""
    crd = document((_ROOT / "crds" / "tuningjobs.yaml").read_text(encoding="utf-8"))
    server.create_object("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}
    binding = {"metadata": {"name": "operator"}, "roleRef": role, "subjects": [subject]}
    server.create_object("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    for namespace in namespaces:
        server.create_object("/api/v1/namespaces", {"metadata": {"name": namespace}})
    wait_for(lambda: _takes_tuningjobs(server), seconds=30)


def _takes_tuningjobs(server: ApiServer) -> bool:
    with contextlib.suppress(Refused):
        server.call("GET", "/apis/tuningjob.dev/v1alpha1/tuningjobs")
        return True
    return False


@contextlib.contextmanager
def running(
    server: ApiServer, folder: Path, user: str, python: Path = Path(sys.executable), /, **environment: str
) -> Iterator[OperatorProcess]:
    """One that runs, and is gone at the end."""
    process = OperatorProcess(server, folder, user, python, **environment)
    try:
        process.start()
        yield process
    finally:
        process.stop()


def _within_the_limit() -> list[str]:
    """How to be in a cgroup of the chart's size, where this machine lets us make one; ``peak_bytes`` tells anywhere."""
    group = _CGROUPS / f"tuningjob-test-{os.getpid()}"
    try:
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError:
        return []
    return ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(group)]
