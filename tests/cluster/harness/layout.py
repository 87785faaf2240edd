"""Where everything is: one home for the names, addresses and folders that the modules of the harness share.

Every name that exists outside the run directory starts with ``tj``: that is how leftovers of a killed run are found.
"""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The project's checkout."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuningjob"
"""What is worth keeping between runs: binaries, the base image, image layers and archives."""

# Not under /run: that is a small tmpfs mounted noexec on most machines, and containers' root file systems live in here.
# Short: a unix socket's path must fit 108 bytes.
RUN = Path("/var/lib/tuningjob-cluster")
"""The state of the running cluster: keys, logs, pids, both nodes' disks. Gone after ``down``."""

KUBECONFIG = RUN / "admin.kubeconfig"
LOCK = Path("/run/lock/tuningjob-cluster.lock")

BRIDGE = "tjbr"
HOST_ADDRESS = "10.200.0.1"  # pods reach what this machine listens on (Postgres, say) here
CONTROL_PLANE = "tj-cp"
CONTROL_PLANE_ADDRESS = "10.200.0.2"
API_PORT = 6443
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/16"

SYSTEM_NAMESPACE = "tuningjob-system"
RELEASE = "tuningjob"
CHART = ROOT / "charts" / "tuningjob"


@dataclass(frozen=True)
class Node:
    """One worker node; its network namespace, cgroup and folder carry its name."""

    number: int

    @property
    def name(self) -> str:
        return f"tj-node{self.number}"

    @property
    def address(self) -> str:
        return f"10.200.0.{10 + self.number}"

    @property
    def pod_range(self) -> str:
        return f"10.244.{self.number}.0/24"

    @property
    def home(self) -> Path:
        return RUN / self.name

    @property
    def containerd_socket(self) -> Path:
        return self.home / "containerd.sock"


NODES = (Node(1), Node(2))
