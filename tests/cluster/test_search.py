"""A TuningJob applied to a real cluster: the answer is scikit-learn's to the bit, whatever dies on the way."""

import base64
import gzip
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.tuningjobs import TuningJobs, all_at_once, named
from tests.truth import sklearn_search_of
from tuningjob.manifest import load
from tuningjob.search.written import to_literals

pytestmark = pytest.mark.cluster

Document = dict[str, Any]


def results_of(jobs: TuningJobs, name: str) -> pd.DataFrame:
    """The ConfigMap's cv_results.csv."""
    configmap = jobs.cluster.get("configmap", f"{name}-results", namespace=jobs.namespace)
    assert configmap is not None
    packed = base64.b64decode(configmap["binaryData"]["cv_results.csv.gz"])
    return pd.read_csv(io.BytesIO(gzip.decompress(packed)))


def assert_equal_to_scikit_learn(jobs: TuningJobs, document: Document) -> None:
    """Scores of every split, means, ranks, the order of params, best_index_ and the answer's objects."""
    name = document["metadata"]["name"]
    _, want = sklearn_search_of(load(document).spec)
    found = results_of(jobs, name)
    assert [json.loads(params) for params in found["params"]] == [
        to_literals(params) for params in want.cv_results_["params"]
    ]
    for column, values in want.cv_results_.items():
        if column.endswith("_score"):
            np.testing.assert_array_equal(found[column].to_numpy(), np.asarray(values), err_msg=column)
    status = jobs.status(name)
    # what it is measured against is no part of scikit-learn's
    assert {key: value for key, value in status["best"].items() if key != "baseline"} == {
        "index": want.best_index_,
        "score": want.best_score_,
        "params": to_literals(want.best_params_, want.best_estimator_),
    }
    configmap = jobs.cluster.get("configmap", f"{name}-results", namespace=jobs.namespace)
    assert configmap is not None
    assert json.loads(configmap["data"]["best_params.json"]) == to_literals(want.best_params_, want.best_estimator_)
    assert f"The answer is candidate {want.best_index_}: " in configmap["data"]["verdict.txt"]
    assert configmap["data"]["leaderboard.csv"].splitlines()[0].startswith("rank_test_score,candidate,mean_test_score")


def is_complete(status: Document) -> bool:
    return status.get("phase") == "Complete"


@pytest.fixture
def forest(iris_forest: Document) -> Document:
    """The random forest grid, 90 fits, on iris: one pod fits on each node."""
    return iris_forest


def test_the_forest_grid_is_equal_to_the_bit_with_pods_on_both_nodes(jobs: TuningJobs, forest: Document) -> None:
    jobs.apply(forest)
    jobs.wait_for("iris-forest", is_complete)

    assert_equal_to_scikit_learn(jobs, forest)
    pods = jobs.pods("iris-forest")
    assert {pod["spec"]["nodeName"] for pod in pods} == set(jobs.cluster.nodes)
    reporters = jobs.reporters("iris-forest")
    assert set(reporters) == {0, 1}, "each of the two pods did a part of the work"
    status = jobs.status("iris-forest")
    assert status["grid"] == {"candidates": 18, "splits": 5, "fits": 90}
    assert {name: status["plan"][name] for name in ("pods", "nJobs", "innerThreads")} == {
        "pods": 2,
        "nJobs": 1,
        "innerThreads": 1,
    }
    assert status["progress"] == {"done": 90, "failed": 0, "total": 90, "reused": 0, "pruned": 0, "text": "90/90"}
    assert status["observedGeneration"] == 1
    complete = jobs.condition("iris-forest", "Complete")
    assert (complete["status"], complete["observedGeneration"]) == ("True", 1)
    assert jobs.report_counts("iris-forest") == {1: 90}


def test_pods_that_prune_have_the_answer_of_all_and_say_what_was_not_needed(jobs: TuningJobs, forest: Document) -> None:
    forest["spec"]["prune"] = "certain"
    forest["spec"]["search"]["grid"]["parameters"] = {
        "n_estimators": [50, 100, 200],
        "max_depth": [{"none": True}, 2, 3, 4, 5],
        "max_leaf_nodes": [2, 8],
        "min_impurity_decrease": [0.0, 0.3],
    }
    jobs.apply(forest)
    jobs.wait_for("iris-forest", is_complete)

    _, want = sklearn_search_of(load(forest).spec)
    status, found = jobs.status("iris-forest"), results_of(jobs, "iris-forest")
    assert (status["best"]["index"], status["best"]["score"]) == (want.best_index_, want.best_score_)
    assert status["best"]["params"] == to_literals(want.best_params_, want.best_estimator_)
    pruned = status["progress"]["pruned"]
    assert 0 < pruned < status["progress"]["total"] == status["progress"]["done"]
    missing = 0
    for split in range(want.n_splits_):
        ours = found[f"split{split}_test_score"].to_numpy()
        ran = ~np.isnan(ours)
        np.testing.assert_array_equal(ours[ran], want.cv_results_[f"split{split}_test_score"][ran])
        missing += int((~ran).sum())
    assert missing == pruned
    assert f"{pruned} of them not needed (pruned)" in jobs.condition("iris-forest", "Complete")["message"]
    assert set(jobs.report_counts("iris-forest")) == {1}
    assert set(jobs.reporters("iris-forest")) == {0, 1}, "each of the two pods did a part of the work"


def test_the_pipeline_is_equal_to_the_bit_and_kubectl_get_shows_the_columns(
    jobs: TuningJobs, breast_cancer_svc: Document
) -> None:
    jobs.apply(breast_cancer_svc)
    jobs.wait_for("breast-cancer-svc", is_complete)
    assert_equal_to_scikit_learn(jobs, breast_cancer_svc)
    for pod in jobs.pods("breast-cancer-svc"):
        (container,) = pod["spec"]["containers"]
        assert {"name": "TUNINGJOB_N_JOBS", "value": "2"} in container["env"], "n_jobs is the CPU limit"
    header, row = jobs.cluster.kubectl("get", "tj", namespace=jobs.namespace).splitlines()
    assert header.split() == ["NAME", "PHASE", "DONE", "ETA", "BEST", "FAILED", "PODS", "AGE"]
    # no end is expected any more: that column is empty
    assert row.split()[:4] == [
        "breast-cancer-svc",
        "Complete",
        "50/50",
        repr(jobs.status("breast-cancer-svc")["best"]["score"]),
    ]


def test_a_random_search_is_equal_to_the_bit_though_each_pod_draws_for_itself(
    jobs: TuningJobs, slow_forest: Document
) -> None:
    """A grid of 10^30 is refused, and says how to go on: so many of it are drawn."""
    search = {f"p{i}": {"range": [10]} for i in range(30)}
    slow_forest["spec"]["search"] = {"grid": {"parameters": search}}
    jobs.apply(slow_forest)
    failed = jobs.wait_for_failure("forest")
    assert "about 10^30" in failed["message"]
    assert "spec.search.random with distributions and iterations: 2000 in place of the grid" in failed["message"]
    jobs.cluster.kubectl("delete", "tj", "forest", "--timeout=120s", namespace=jobs.namespace)

    slow_forest["spec"] |= {
        "search": {
            "random": {
                "parameters": {
                    "n_estimators": {"randint": [4, 12]},
                    "max_features": {"uniform": [0.1, 0.9]},
                    "min_samples_split": [2, 4, 8],
                },
                "iterations": 14,
                "randomState": 3,
            }
        },
        "parallelism": 3,
    }
    jobs.apply(slow_forest)
    jobs.wait_for("forest", lambda status: status.get("progress", {}).get("done", 0) >= 10)
    first = jobs.pods("forest")[0]["metadata"]["name"]
    jobs.cluster.kubectl("delete", "pod", first, "--wait=false", namespace=jobs.namespace)
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.status("forest")["grid"] == {"candidates": 14, "splits": 5, "fits": 70}
    assert jobs.report_counts("forest") == {1: 70}


CLAIM: Final[Document] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "tables"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """Searches that no test interferes with, begun at once, and the pod that writes one's data."""
    write = "import pandas, sys; pandas.read_csv(sys.stdin).to_parquet('/data/sub/t.parquet', index=False)"
    resources = {"cpu": "1500m", "cpuRequest": "250m", "memory": "700Mi"}
    with all_at_once(
        cluster,
        release,
        "undisturbed",
        named("bounded", "breast-cancer-svc", resources=resources),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "table"},
            "data": {"t.csv": table().to_csv(index=False)},
        },
        named("of-a-configmap", "iris-forest", **on_file("t.csv", configMap="table")),
    ) as jobs:
        jobs.apply(CLAIM, jobs.pod("writer", f'mkdir -p /data/sub && python -c "{write}"', claim="tables", stdin=True))
        yield jobs


def test_every_worker_pod_is_bounded_and_restricted(undisturbed: TuningJobs) -> None:
    jobs = undisturbed
    jobs.wait_for("bounded", is_complete)
    enforced = (jobs.cluster.get("namespace", jobs.namespace) or {})["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = jobs.pods("bounded")
    assert pods
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        bounds = {"cpu": "1500m", "memory": "700Mi"}
        assert container["resources"]["limits"] == {**bounds, "ephemeral-storage": "4352Mi"}
        assert container["resources"]["requests"] == {**bounds, "cpu": "250m", "ephemeral-storage": "0"}
        environment = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert Decimal(environment["TUNINGJOB_N_JOBS"]) == 1
        assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.fixture
def long_forest(slow_forest: Document) -> Document:
    """90 fits for one pod on each node."""
    slow_forest["metadata"]["name"] = "long-forest"
    slow_forest["spec"].update(resources={"cpu": "1", "memory": "512Mi"}, parallelism=2)
    return slow_forest


def half_done(status: Document) -> bool:
    return 10 <= status.get("progress", {}).get("done", 0) < 80


def delete_a_worker_pod(jobs: TuningJobs) -> None:
    running = [pod for pod in jobs.pods("long-forest") if pod["status"]["phase"] == "Running"]
    jobs.cluster.kubectl("delete", "pod", running[-1]["metadata"]["name"], "--wait=false", namespace=jobs.namespace)


def delete_the_operator_pod(jobs: TuningJobs) -> None:
    jobs.cluster.kubectl("delete", "pod", "-l", jobs.operator_pods, "--wait=false", namespace=jobs.release.namespace)


@pytest.mark.parametrize("interfere", [delete_a_worker_pod, delete_the_operator_pod])
def test_a_pod_deleted_in_the_middle_costs_no_finished_cell(
    jobs: TuningJobs, long_forest: Document, interfere: Callable[[TuningJobs], None]
) -> None:
    jobs.apply(long_forest)
    jobs.wait_for("long-forest", half_done)

    interfere(jobs)

    jobs.finish("long-forest")
    assert jobs.report_counts("long-forest") == {1: 90}
    assert_equal_to_scikit_learn(jobs, long_forest)


def test_data_may_come_from_a_configmap(undisturbed: TuningJobs) -> None:
    undisturbed.wait_for("of-a-configmap", is_complete)
    assert_best_is(undisturbed, "of-a-configmap")


def test_data_may_come_from_a_claim(undisturbed: TuningJobs) -> None:
    jobs = undisturbed
    jobs.wait_for_pod("writer", "Running")
    jobs.cluster.kubectl("attach", "-i", "pod/writer", namespace=jobs.namespace, stdin=table().to_csv(index=False))
    jobs.wait_for_pod("writer", "Succeeded")
    jobs.apply(named("of-a-claim", "iris-forest", **on_file("sub/t.parquet", persistentVolumeClaim="tables")))
    jobs.wait_for("of-a-claim", is_complete)
    assert_best_is(jobs, "of-a-claim")


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"width": rng.normal(size=80), "noise": rng.normal(size=80)})
    return frame.assign(label=(frame["width"] > 0).astype(int))


def on_file(path: str, **where: str) -> Document:
    return {
        "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"max_depth": [1, 2]}}},
        "data": {"path": path, "target": "label", "features": ["width"], **where},
        "parallelism": 1,
        "baseline": False,
    }


def assert_best_is(jobs: TuningJobs, name: str) -> None:
    frame = table()
    want = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}).fit(
        frame[["width"]], frame["label"]
    )
    assert jobs.status(name)["best"] == {
        "index": want.best_index_,
        "score": want.best_score_,
        "params": want.best_params_,
    }
