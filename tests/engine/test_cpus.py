"""How many CPUs a process may use, and what is done when more are asked for."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tuningjob.engine.cpus import allowed_cpus, cgroup_cpus
from tuningjob.manifest.wellknown import THREAD_CAPS


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/\n", {}, float("inf")),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, float("inf")),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "100000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 1),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "50000 100000\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/gone\n", {"sys/fs/cgroup/cpu.max": ""}, float("inf")),
        (
            "3:memory:/x\n1:cpu,cpuacct:/x\n0::/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_the_tightest_quota_above_a_process_counts(
    tmp_path: Path, groups: str, files: dict[str, str], cpus: float
) -> None:
    assert cgroup_cpus(machine(tmp_path, groups, files)) == cpus


def test_half_a_cpu_is_one_process_and_no_quota_is_the_affinity(tmp_path: Path) -> None:
    half = machine(tmp_path / "half", "0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert allowed_cpus(half) == 1
    assert allowed_cpus(tmp_path / "nothing") == len(os.sched_getaffinity(0))


SEARCH = """
import json, resource, warnings
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from tuningjob import GridSearchCV

X, y = load_digits(return_X_y=True)
grid = {"min_samples_leaf": [1, 4, 15]}
seconds, told = {}, set()

def of_a_core():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)

# others use this machine, too: what it costs is the least of some rounds, of more where they got in the way
for turn in range(30):
    n_jobs = (1, 16)[turn % 2]
    if turn >= 4 and n_jobs == 1 and min(seconds[16]) < 1.05 * min(seconds[1]):
        break
    search = GridSearchCV(RandomForestClassifier(5, random_state=0), grid, cv=3, n_jobs=n_jobs, refit=False)
    started = of_a_core()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, y)
    told |= {str(warning.message) for warning in caught}
    seconds.setdefault(n_jobs, []).append(of_a_core() - started)
print(json.dumps([min(seconds[1]), min(seconds[16]), sorted(told)]))
"""


@pytest.fixture
def one_cpu() -> Iterator[str]:
    """A control group of one CPU; the shell command that enters it. Needs root, as the test cluster does."""
    mount = Path("/sys/fs/cgroup")
    unified = (mount / "cgroup.controllers").exists()
    group = (mount if unified else mount / "cpu") / f"tuningjob-{os.getpid()}"
    group.mkdir()
    try:
        if unified:
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield f"echo $$ > {group}/cgroup.procs && exec "
    finally:
        # joblib's tracker outlives the search a little
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                end = os.pidfd_open(int(pid))
                select.select([end], [], [], 30)
                os.close(end)
        group.rmdir()


@pytest.mark.slow
def test_asking_for_sixteen_processes_where_one_cpu_is_allowed_costs_nothing_and_is_told(one_cpu: str) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", one_cpu + '"$@"', "sh", sys.executable, "-c", SEARCH],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(THREAD_CAPS, "1")},
        capture_output=True,
        text=True,
        check=True,
    )
    right, asked, told = json.loads(ran.stdout)
    assert asked < 1.1 * right
    assert told == [
        "n_jobs=16 asks for 16 processes, but this process may use 1 CPU: 1 will be used, more would only wait for each other."
    ]
