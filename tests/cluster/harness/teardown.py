"""Ending the cluster and leaving nothing behind; also what a bring-up does first, for a run that was killed.

It goes by what is there, not by what should be: run twice, or on half a cluster, or on none, it ends in the same state.
"""

import os
import shutil
from pathlib import Path

from . import cgroups, network, processes, sysctls
from .layout import NODES, RUN
from .shell import run

# three places that cannot be configured away: shims' sockets, results of CNI calls, the kubelet's links to logs
_SHIM_SOCKETS = Path("/run/containerd/s")
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")


def down() -> None:
    """End every process of the cluster and remove all that it made."""
    sockets = _shim_sockets()
    # kubelets and containerd before the containers, or they would be restarted
    processes.end(processes.recorded().values())
    processes.end(processes.shims())
    processes.end(cgroups.members())
    for mount in _mounts():
        # lazily: a mount inside one that is gone already is no fault
        run("umount", "--lazy", mount, check=False)
    if shutil.which("ip"):
        network.remove()
    cgroups.remove()
    sysctls.restore()
    for path in (*sockets, *_cni_results(), *_log_links()):
        path.unlink(missing_ok=True)
    if RUN.exists():
        shutil.rmtree(RUN)


def leftovers() -> list[str]:
    """Whatever of a cluster is still there, in words; empty after ``down``."""
    return [
        *(f"process {name} ({pid})" for name, pid in processes.recorded().items()),
        *(f"process {pid}: {command}" for pid, command in processes.shims().items()),
        *(f"process {pid} in a node's cgroup" for pid in cgroups.members()),
        *(f"mount {mount}" for mount in _mounts()),
        *(f"network namespace {name}" for name in network.namespaces()),
        *(f"link {name}" for name in network.links()),
        *(f"route to {name}" for name in network.routes()),
        *(f"cgroup {path}" for path in cgroups.remaining()),
        *(f"file {path}" for path in (*_shim_sockets(), *_cni_results(), *_log_links())),
        *([f"folder {RUN}"] if RUN.exists() else []),
    ]


def _mounts() -> list[str]:
    """Mount points inside the run directory, innermost first."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    # the kernel writes a space in a path as \040
    ours = (point.encode().decode("unicode_escape") for point in points if point.startswith(f"{RUN}/"))
    return sorted(ours, reverse=True)


def _shim_sockets() -> list[Path]:
    """The sockets that our shims listen on: their names are hashes, but each is open in its node's namespace."""
    found: set[Path] = set()
    for pid in processes.shims():
        try:
            lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()
        except OSError:
            continue
        found.update(Path(line.split()[-1]) for line in lines if str(_SHIM_SOCKETS) in line)
    return sorted(path for path in found if path.exists())


def _cni_results() -> list[Path]:
    return [path for node in NODES for path in _CNI_RESULTS.glob(f"{node.name}-*")]


def _log_links() -> list[Path]:
    if not _LOG_LINKS.is_dir():
        return []
    return [
        link for link in _LOG_LINKS.iterdir() if link.is_symlink() and str(link.readlink()).startswith(f"{RUN}{os.sep}")
    ]
