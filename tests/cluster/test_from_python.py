"""From a Python process with only a kubeconfig: `fit` sends X and y, pods search, and the results are scikit-learn's."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.people import person
from tests.cluster.tuningjobs import TuningJobs

ROOT = Path(__file__).resolve().parents[2]


def notebook(what: str, jobs: TuningJobs, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.notebook", what, str(jobs.cluster.kubeconfig), jobs.namespace],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[list[object], str]:
    out, said = process.communicate(timeout=800)
    assert process.returncode == 0, said
    return [json.loads(line) for line in out.splitlines()], said


def test_a_script_is_fitted_by_pods_as_it_is_here(jobs: TuningJobs, tmp_path: Path) -> None:
    person(jobs.cluster, jobs.namespace, "ann", role="edit", server="")
    told, said = ended(notebook("fit", jobs, tmp_path))
    assert told == ["all equal"]
    assert "is reached through https://" in said
    assert "plan: 2 pods of 500m CPU and 600Mi, 1 fit at once in each: parallelism is 2" in said
    manifests = [each["spec"] for each in jobs.cluster.items("tj", namespace=jobs.namespace)]
    assert sorted(len(each["data"]["uploaded"]) for each in manifests) == [2, 2, 4]
    assert sum("uploaded" in each.get("code", {}) for each in manifests) == 1


def test_a_process_that_is_killed_comes_back_to_one_search_and_sends_nothing_twice(
    jobs: TuningJobs, tmp_path: Path
) -> None:
    person(jobs.cluster, jobs.namespace, "ann", role="edit", server="")
    first = notebook("submit", jobs, tmp_path)
    assert first.stderr is not None
    for line in first.stderr:
        if "MiB sent" in line and not line.startswith("X: 0 of"):
            break
    first.send_signal(signal.SIGKILL)  # while it sends
    first.communicate()
    assert jobs.cluster.items("tj", namespace=jobs.namespace) == []

    second = notebook("submit", jobs, tmp_path)
    assert second.stdout is not None
    name = json.loads(second.stdout.readline())
    jobs.wait_for(name, lambda status: status.get("progress", {}).get("done", 0) or status.get("activePods"))
    second.send_signal(signal.SIGKILL)  # while it runs
    _, said = second.communicate()
    sent = [line for line in said.splitlines() if "MiB sent" in line]
    assert not any(line.startswith("X: 0 of") for line in sent), f"what was there was sent again: {sent}"

    (again, score), said = ended(notebook("submit", jobs, tmp_path))
    assert again == name
    assert "MiB sent" not in said
    assert isinstance(score, float)
    assert len(jobs.cluster.items("tj", namespace=jobs.namespace)) == 1
