"""The number of CPUs that this process may use, by affinity and control groups."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_V1_CONTROLLER: Final = "cpu"


def allowed_cpus(root: Path = Path("/")) -> int:
    """The least of the machine's CPUs, the affinity and every CPU quota above this process, rounded up.

    joblib.cpu_count() reads only the quota of the outermost control group, but ours may be nested in it (loky #634). It also
    obeys LOKY_MAX_CPU_COUNT, which limits an estimator within one process. ``root`` is the directory of ``proc`` and ``sys``.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cpus, cgroup_cpus(root))))


def cgroup_cpus(root: Path) -> float:
    """The tightest CPU quota of this process' control groups, in CPUs; infinite if there is none."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    limit = math.inf
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limit = min(limit, _tightest(root / "sys/fs/cgroup", path, _v2_quota))
        elif _V1_CONTROLLER in controllers.split(","):
            limit = min(limit, _tightest(root / "sys/fs/cgroup" / controllers, path, _v1_quota))
    return limit


def _tightest(mount: Path, path: str, quota: Callable[[Path], float]) -> float:
    group = mount / path.lstrip("/")
    return min(quota(level) for level in (group, *group.parents) if level == mount or mount in level.parents)


def _v2_quota(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _v1_quota(group: Path) -> float:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota <= 0 else quota / period
