"""A whole control plane over nodes that are only said to be there: kwok writes what kubelets would.

For scale: thousands of pods that run nothing, on one machine, without its network. Jobs, scheduling, garbage collection and
the API server are Kubernetes' own. Pods become ready at once, and stay so until the caller says that they ended.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.harness import binaries
from tests.servers.apiserver import ApiServer, Refused
from tests.servers.missing import missing

_SECONDS: Final = 60
_PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kwok-stages.yaml")
# Without those that only add objects to each namespace: what is left is what a search's Job meets.
_CONTROLLERS: Final = (
    *("job-controller", "garbage-collector-controller", "pod-garbage-collector-controller", "namespace-controller"),
    *("node-lifecycle-controller", "taint-eviction-controller", "resourcequota-controller"),
    "ttl-after-finished-controller",
)
_FAKE: Final = {"kwok.x-k8s.io/node": "fake"}
_BIG: Final = (
    1_000  # requests a second: the controllers' own limits are made for many of them, and would be all that is measured
)


class KwokCluster(ApiServer):
    """An API server, the controllers that Jobs need, the scheduler, and ``nodes`` nodes of kwok."""

    def __init__(
        self, root: Path, *, users: Sequence[str] = (), options: Sequence[str] = (), nodes: int = 10, cpu: int = 64
    ) -> None:
        super().__init__(root, users=tuple(users), options=tuple(options))
        self._nodes = [f"fake-{number}" for number in range(nodes)]
        self._cpu = cpu

    def start(self) -> None:
        """Start everything, and wait until every node is ready."""
        super().start()
        # no election, as each is alone; no port, as nobody asks them
        alone = (f"--kubeconfig={self.kubeconfig()}", "--leader-elect=false", "--secure-port=0")
        quick = (f"--kube-api-qps={_BIG}", f"--kube-api-burst={_BIG}")
        self._run(
            "kube-controller-manager",
            *(*alone, *quick, f"--controllers={','.join(_CONTROLLERS)}"),
            # a machine that is busy loses no node
            "--node-monitor-grace-period=10m",
        )
        self._run("kube-scheduler", *alone, *quick)
        self._run(
            "kwok",
            *(f"--kubeconfig={self.kubeconfig()}", f"--config={binaries.path('kwok-stages.yaml')}"),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            *("--node-lease-duration-seconds=40", "--v=WARN"),
        )
        for name in self._nodes:
            self.create_object("/api/v1/nodes", self._node(name))
        deadline = time.monotonic() + _SECONDS
        while not self._nodes_are_ready():
            ended = [process.args for process in self._processes if process.poll() is not None]
            is_late = bool(ended) or time.monotonic() > deadline
            assert not is_late, f"the nodes are not ready; ended: {ended}\n{self.log}"
            time.sleep(0.1)

    def _node(self, name: str) -> dict[str, object]:
        holds = {"cpu": str(self._cpu), "memory": f"{4 * self._cpu}Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
        return {
            "metadata": {"name": name, "annotations": _FAKE, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": holds, "allocatable": holds},
        }

    def _nodes_are_ready(self) -> bool:
        """Ready, and no longer tainted as nodes are that were never heard of."""
        try:
            nodes = self.call("GET", "/api/v1/nodes")["items"]
        except (Refused, OSError):
            return False
        ready = [
            not node["spec"].get("taints")
            and any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
            for node in nodes
            if (conditions := node["status"].get("conditions", []))
        ]
        return len(ready) == len(self._nodes) and all(ready)


@contextlib.contextmanager
def running(
    *, users: Sequence[str] = (), options: Sequence[str] = (), nodes: int = 10, cpu: int = 64
) -> Iterator[KwokCluster]:
    """One that runs, and is gone at the end. Fails or skips where its programs are not built."""
    if lacking := [name for name in _PROGRAMS if not binaries.path(name).exists()]:
        missing(f"{', '.join(lacking)}: not built here. Get them with: make cluster-deps")
    root = Path(tempfile.mkdtemp(prefix="tuningjob-kwok-"))
    try:
        cluster = KwokCluster(root, users=users, options=options, nodes=nodes, cpu=cpu)
        cluster.create()
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(root)
