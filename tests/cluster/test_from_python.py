"""From a Python process with only a kubeconfig: `fit` sends X and y, pods search, and the results are scikit-learn's."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.layout import HOST_ADDRESS
from tests.cluster.harness.release import Release
from tests.cluster.people import kubeconfig_in, person
from tests.cluster.tuningjobs import TuningJobs, all_at_once
from tests.servers import buckets

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "from-python.ipynb"
NOTEBOOK = "done.ipynb"


def notebook(what: str, jobs: TuningJobs, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    mine = {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.notebook", what, str(jobs.cluster.kubeconfig), jobs.namespace],
        cwd=folder,
        env=os.environ | mine,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[list[object], str]:
    out, said = process.communicate(timeout=800)
    assert process.returncode == 0, said
    return [json.loads(line) for line in out.splitlines()], said


def ended_for_good(process: "subprocess.Popen[str]") -> None:
    with process:  # which reads and waits, and closes what it said
        process.kill()


@dataclass(frozen=True)
class Begun:
    """A process of somebody's, and what it works with."""

    jobs: TuningJobs
    folder: Path
    environment: Mapping[str, str]
    process: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def both(cluster: Cluster, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Begun, Begun]]:
    """A script and the example's notebook, begun at once: both mostly wait for their pods."""
    with (
        all_at_once(cluster, release, "script") as of_script,
        all_at_once(cluster, release, "notebook") as of_notebook,
        contextlib.ExitStack() as ends,
    ):
        folder = tmp_path_factory.mktemp("script")
        person(cluster, of_script.namespace, "ann", role="edit", server="")
        script = Begun(of_script, folder, {}, notebook("fit", of_script, folder))
        ends.callback(ended_for_good, script.process)

        folder = tmp_path_factory.mktemp("notebook")
        ann = person(cluster, of_notebook.namespace, "ann", role="edit", server="")
        mine = {
            "KUBECONFIG": str(kubeconfig_in(cluster, of_notebook.namespace, folder / "kubeconfig")),
            "TUNINGJOB_TOKEN": ann.token,
            "JUPYTER_PLATFORM_DIRS": "1",
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        words = [str(Path(sys.executable).parent / "jupyter-execute"), str(EXAMPLE), f"--output={folder / NOTEBOOK}"]
        executing = subprocess.Popen(
            words, env=os.environ | mine, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        ends.callback(ended_for_good, executing)
        yield script, Begun(of_notebook, folder, mine, executing)


def test_a_script_is_fitted_by_pods_as_it_is_here(both: tuple[Begun, Begun]) -> None:
    jobs = both[0].jobs
    told, said = ended(both[0].process)
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


@pytest.mark.usefixtures("own_nodes")
def test_pods_read_a_bucket_that_fit_names_and_an_operator_that_restarts_meanwhile_is_outlived(
    jobs: TuningJobs, tmp_path: Path
) -> None:
    person(jobs.cluster, jobs.namespace, "ann", role="edit", server="")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"]).assign(y=rng.normal(size=200))
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    with buckets.s3(tmp_path / "s3", host=HOST_ADDRESS) as store:
        store.put("rows.parquet", (tmp_path / "rows.parquet").read_bytes())
        keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": store.environment}
        jobs.apply(keys)
        env = [{"name": name, "secret": {"name": "keys", "key": name}} for name in store.environment]
        running = notebook("bucket", jobs, tmp_path, POD=json.dumps({"env": env}))

        def begun() -> str | None:
            assert running.poll() is None, running.communicate()[1]
            found = jobs.cluster.items("tj", namespace=jobs.namespace)
            done = [
                each["metadata"]["name"] for each in found if each.get("status", {}).get("progress", {}).get("done")
            ]
            return done[0] if done else None

        name = jobs.cluster.wait_for("a fit", begun, namespace=jobs.namespace)
        system = jobs.release.namespace
        before = {
            pod["metadata"]["uid"] for pod in jobs.cluster.items("pods", "-l", jobs.operator_pods, namespace=system)
        }
        jobs.cluster.kubectl("delete", "pod", "-l", jobs.operator_pods, "--wait=false", namespace=system)
        assert jobs.status(name)["phase"] == "Running", "the search ended before the operator did"
        jobs.finish(name)
        told, said = ended(running)
    assert told == ["all equal"]
    assert "Complete, 24/24 fits" in said
    after = {pod["metadata"]["uid"] for pod in jobs.cluster.items("pods", "-l", jobs.operator_pods, namespace=system)}
    assert not before & after, "another operator has ended it"
    (manifest,) = [each["spec"] for each in jobs.cluster.items("tj", namespace=jobs.namespace)]
    assert "uploaded" not in manifest["data"]


def test_the_notebook_of_the_examples_runs_on_the_cluster_and_a_pod_verifies_its_search(
    both: tuple[Begun, Begun],
) -> None:
    begun = both[1]
    jobs = begun.jobs
    _, complaint = begun.process.communicate(timeout=600)
    assert begun.process.returncode == 0, complaint[-3000:]
    text = (begun.folder / NOTEBOOK).read_text()
    (found,) = jobs.cluster.items("tj", namespace=jobs.namespace)
    assert (found["status"]["phase"], found["status"]["modelVersion"]) == ("Complete", 1)
    assert "plan: 2 pods of 500m CPU and 600Mi" in text
    cells = {"".join(each["source"]): each.get("outputs") for each in json.loads(text)["cells"]}
    (equal,) = (outputs for source, outputs in cells.items() if source.startswith("bool("))
    assert equal[0]["data"]["text/plain"] == ["True"], "the pods' scores are those of the fit before"

    words = [sys.executable, "-m", "tuningjob.cli", "verify", found["metadata"]["name"], "--in-pod", "--cells", "3"]
    again = subprocess.run(
        words, check=False, env=os.environ | begun.environment, capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("again: the same to the bit.\n"), again.stdout
    assert [each["metadata"]["name"] for each in jobs.cluster.items("tj", namespace=jobs.namespace)] == [
        found["metadata"]["name"]
    ]
