"""Where the tenants meet: a real API server, the real operator and the real results service, each in the chart's memory.

Both run as their containers start them: ``python -m`` in an environment of its own, from a folder that is not this repository.
``TUNINGJOB_CHAOS_PYTHON`` names the Python that runs them, for one with the requirements of production and no more (`make
bench-operator` makes it); by default it is this one.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chaos.groups import MemoryGroup
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer
from tests.servers.ports import free_port
from tests.waiting import wait_for
from tests.yamls import document
from tuningjob.manifest.quantity import memory_bytes

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = os.environ.get("TUNINGJOB_CHAOS_PYTHON", sys.executable)
OPERATOR: Final = "operator"
HONEST, HOSTILE = "alice", "mallory"  # as the API server knows the two tenants
NAMESPACES: Final = {HONEST: "good", HOSTILE: "evil"}
# What `edit` gives in a namespace, of what this can be about.
_EDIT: Final = [
    {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs", "tuningjobs/scale"], "verbs": ["*"]},
    {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs/status"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods", "configmaps", "secrets", "events"], "verbs": ["*"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
]
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_READY_SECONDS: Final = 120.0


class Container:
    """One of the control plane's two, by its name in the chart's resources. It ends with the test, and not before."""

    def __init__(self, name: str, module: str, folder: Path, environment: dict[str, str]) -> None:
        values = yaml.safe_load((ROOT / "charts" / "tuningjob" / "values.yaml").read_text())
        self.name = name
        self.group = MemoryGroup(f"chaos-{name}", memory_bytes(values["resources"][name]["limits"]["memory"]))
        self.log_file = folder / f"{name}.log"
        scratch = folder / f"{name}-tmp"
        scratch.mkdir()
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                self.group.entering(PYTHON, "-m", module),
                env={"PATH": os.defpath, "TMPDIR": str(scratch), **environment},
                cwd=scratch,
                stdout=log,
                stderr=log,
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def peak_bytes(self) -> int:
        """The most that it ever held."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)
        self.group.remove()


def answers(url: str, *, seconds: float) -> bool:
    """Whether a probe of the kubelet's would pass."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Stage:
    """Everything that runs, and where it is. ``folder`` is the volume that the two containers share."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._ports = {"operator": free_port(), "results": free_port(), "metrics": free_port()}
        self.containers: list[Container] = []

    @property
    def url(self) -> str:
        """Of the results service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self._ports["results"]

    @property
    def probes(self) -> dict[str, str]:
        """The liveness probes, by container."""
        return {
            "operator": f"http://127.0.0.1:{self._ports['operator']}/healthz",
            "results": f"{self.url}/healthz",
        }

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'tuning.db'}"

    def prepare(self) -> None:
        """The CRD, the tenants' namespaces, and what each may do: everything in its own, nothing elsewhere."""
        server = self.server
        crd = document((ROOT / "crds" / "tuningjobs.yaml").read_text(encoding="utf-8"))
        server.create_object("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        self._bind(f"{_RBAC}/clusterrolebindings", OPERATOR, "ClusterRole", "cluster-admin")
        for user, namespace in NAMESPACES.items():
            server.create_object("/api/v1/namespaces", {"metadata": {"name": namespace}})
            here = f"{_RBAC}/namespaces/{namespace}"
            server.create_object(f"{here}/roles", {"metadata": {"name": "edit"}, "rules": _EDIT})
            self._bind(f"{here}/rolebindings", user, "Role", "edit")

    def _bind(self, path: str, user: str, kind: str, role: str) -> None:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        self.server.create_object(path, {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]})

    def start(self) -> None:
        """Both containers, until their probes pass."""
        values = yaml.safe_load((ROOT / "charts" / "tuningjob" / "values.yaml").read_text())["limits"]
        shared = {"TUNINGJOB_DATA_DIR": str(self.folder), "TUNINGJOB_RESULTS_PORT": str(self._ports["results"])}
        results = {
            **shared,
            "TUNINGJOB_MAX_ARTIFACT_BYTES": str(values["maxArtifactBytes"]),
            "TUNINGJOB_KUBERNETES_URL": self.server.url,
            "TUNINGJOB_KUBERNETES_CA_FILE": str(self.server.ca_file),
        }
        operator = {
            **shared,
            "KUBECONFIG": str(self.server.kubeconfig(OPERATOR)),
            "TUNINGJOB_RESULTS_URL": self.url,
            "TUNINGJOB_WORKER_IMAGE": "tuningjob/worker:test",
            "TUNINGJOB_LIVENESS_PORT": str(self._ports["operator"]),
            "TUNINGJOB_METRICS_PORT": str(self._ports["metrics"]),
            "TUNINGJOB_MAX_FITS": str(values["maxFits"]),
            "TUNINGJOB_MAX_PODS": str(values["maxPods"]),
            "TUNINGJOB_MAX_CPU": str(values["maxCpu"]),
            "TUNINGJOB_MAX_MEMORY": str(values["maxMemory"]),
            "TUNINGJOB_MAX_DISK": str(values["maxDisk"]),
        }
        self.containers.append(Container("results", "tuningjob_operator.service", self.folder, results))
        self.containers.append(Container("operator", "tuningjob_operator", self.folder, operator))
        for name, url in self.probes.items():
            answer = functools.partial(answers, url, seconds=5)
            wait_for(answer, seconds=_READY_SECONDS, what=f"{name} to answer its probe")

    def close(self) -> None:
        for container in self.containers:
            container.close()


@contextlib.contextmanager
def raised(folder: Path) -> Iterator[Stage]:
    """A stage that stands, and is gone at the end."""
    # what is overwritten goes at once: etcd would be full of what it keeps of every version for five minutes
    options = ("--etcd-compaction-interval=20s",)
    with apiserver.running(OPERATOR, HONEST, HOSTILE, options=options) as server, ExitStack() as stack:
        stage = Stage(server, folder)
        stack.callback(stage.close)
        stage.prepare()
        stage.start()
        yield stage


def errors_in(log: str) -> list[str]:
    """The lines of a container's log that tell of a fault."""
    found = []
    for line in log.splitlines():
        told: Any = json.loads(line) if line.startswith("{") else None
        if (told or {}).get("level") in {"error", "critical"} or (told is None and _is_a_fault(line)):
            found.append(line[:1_000])
    return found


def _is_a_fault(line: str) -> bool:
    return line.startswith("Traceback") or " ERROR " in line or " CRITICAL " in line
