"""One parent cgroup for each node, so that two kubelets share a machine without seeing each other's pods."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .layout import NODES, Node
from .shell import until

MOUNT = Path("/sys/fs/cgroup")
# the kubelet needs these; cgroup v1 keeps a tree for each, cgroup v2 one tree for all
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


def unified() -> bool:
    """Whether this machine runs cgroup v2 alone."""
    return (MOUNT / "cgroup.controllers").exists()


def missing_controllers() -> list[str]:
    """The controllers that this machine does not offer."""
    if unified():
        offered = (MOUNT / "cgroup.controllers").read_text().split()
        return [name for name in CONTROLLERS if name not in offered]
    return [name for name in CONTROLLERS if not (MOUNT / name).is_dir()]


def create(node: Node) -> None:
    """Make the node's cgroup in every hierarchy."""
    if unified():
        wanted = " ".join(f"+{name}" for name in CONTROLLERS)
        (MOUNT / "cgroup.subtree_control").write_text(wanted)
        (MOUNT / node.name).mkdir(exist_ok=True)
        (MOUNT / node.name / "cgroup.subtree_control").write_text(wanted)
        return
    for hierarchy in MOUNT.iterdir():
        # `unified` is the v2 tree of a hybrid mount: it has no controllers, and neither containerd nor the kubelet uses it
        if hierarchy.is_dir() and not hierarchy.is_symlink() and hierarchy.name != "unified":
            (hierarchy / node.name).mkdir(exist_ok=True)
    # a new v1 cpuset is empty and takes no task: it must be given its parent's cores and memory nodes first
    for resource in ("cpus", "mems"):
        value = (MOUNT / "cpuset" / f"cpuset.{resource}").read_text()
        (MOUNT / "cpuset" / node.name / f"cpuset.{resource}").write_text(value)


@contextlib.contextmanager
def memory_limited(name: str, limit_bytes: int) -> Iterator[None]:
    """Give the pods of the node with this name so much memory together, as if its machine had no more."""
    file = MOUNT / name / "memory.max" if unified() else MOUNT / "memory" / name / "memory.limit_in_bytes"
    file.write_text(str(limit_bytes))
    try:
        yield
    finally:
        file.write_text("max" if unified() else "-1")


def members(*nodes: Node) -> set[int]:
    """Every process in the nodes' cgroups: what their containers run."""
    pids: set[int] = set()
    for tree in _trees(*nodes):
        # a pod that ends takes its folder away under the walk: os.walk goes on then, and Path.rglob does not
        for folder, _, _ in os.walk(tree):
            with contextlib.suppress(OSError):
                pids.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
    return pids


def remaining() -> list[Path]:
    """The nodes' cgroups that exist."""
    return _trees(*NODES)


def remove() -> None:
    """Remove the nodes' cgroups; their processes must have ended."""

    def removed() -> bool:
        # the kernel lets go of an emptied cgroup a moment after its last process: try again until it does
        for tree in remaining():
            folders = sorted((path for path in tree.rglob("*") if path.is_dir()), reverse=True)
            with contextlib.suppress(OSError):
                for folder in (*folders, tree):
                    folder.rmdir()
        return not remaining()

    until("the nodes' cgroups to be removable", removed)


def _trees(*nodes: Node) -> list[Path]:
    names = {node.name for node in nodes or NODES}
    parents = [MOUNT, *(path for path in MOUNT.iterdir() if path.is_dir())] if MOUNT.is_dir() else []
    return sorted(path / name for path in parents for name in names if (path / name).is_dir())
