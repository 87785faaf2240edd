"""A candidate that takes more memory than its pod has: it fails, alone, and says why; the rest is scikit-learn's to the bit."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.test_search import is_complete, results_of
from tests.cluster.tuningjobs import TuningJobs, all_at_once
from tests.truth import sklearn_search_of
from tuningjob.manifest import load
from tuningjob_operator.decide.job import RETRIES_PER_POD

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
SPLITS = 3


def powers(*degrees: int, name: str = "powers", **resources: str) -> Document:
    """Degree 5 of 30 features is 324,632 columns: 1 GB of them in each fit, and a pod has half of that."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {
            "estimator": {
                "pipeline": [
                    {"name": "powers", "class": "sklearn.preprocessing.PolynomialFeatures"},
                    {"name": "bayes", "class": "sklearn.naive_bayes.GaussianNB"},
                ]
            },
            "search": {"grid": {"parameters": {"powers__degree": list(degrees), "bayes__var_smoothing": [1e-9, 1e-3]}}},
            "crossValidation": {"folds": SPLITS},
            "data": {"loader": "sklearn.datasets.load_breast_cancer"},
            "resources": {"cpu": "1", "memory": "512Mi", **resources},
            "parallelism": 1,
            "baseline": False,
        },
    }


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """With both searches begun at once: for most of their time they wait, until a pod that died is begun again."""
    both = powers(1, 5, 2), powers(1, 5, 2, name="larger", memoryLimit="3Gi")
    with all_at_once(cluster, release, "memory", *both) as found:
        yield found


def test_what_takes_all_memory_fails_alone_and_the_search_goes_on(jobs: TuningJobs) -> None:
    jobs.wait_for("powers", is_complete)

    lethal = 2 * SPLITS
    progress = jobs.status("powers")["progress"]
    assert (progress["done"], progress["failed"]) == (6 * SPLITS, lethal)
    assert f"{lethal} failed (scored NaN)" in jobs.condition("powers", "Complete")["message"]
    assert jobs.report_counts("powers") == {1: 6 * SPLITS}
    # deaths that the journal counts are no reason for the Job to give up
    job = jobs.cluster.get("job", "powers", namespace=jobs.namespace)
    assert job is not None
    assert (job.get("status") or {}).get("failed", 0) < job["spec"]["backoffLimit"]
    assert job["spec"]["backoffLimit"] >= RETRIES_PER_POD
    # what fits into the pod is as scikit-learn has it without the rest
    _, want = sklearn_search_of(load(powers(1, 2)).spec)
    found = results_of(jobs, "powers")
    scores = [f"split{split}_test_score" for split in range(SPLITS)]
    of_params = dict(zip(found["params"], found[scores].itertuples(index=False, name=None), strict=True))
    for candidate, params in enumerate(want.cv_results_["params"]):
        assert of_params[json.dumps(params)] == tuple(want.cv_results_[score][candidate] for score in scores)
    lost = found[scores].isna().all(axis=1)
    assert lost.sum() == 2
    assert all(json.loads(text)["powers__degree"] == 5 for text in found["params"][lost])
    assert jobs.status("powers")["best"]["score"] == want.best_score_


def test_what_runs_out_of_memory_alone_is_tried_in_a_larger_pod(jobs: TuningJobs) -> None:
    jobs.wait_for("larger", is_complete)

    assert jobs.status("larger")["progress"]["failed"] == 0
    assert jobs.report_counts("larger") == {1: 18}
    assert results_of(jobs, "larger")["mean_test_score"].notna().all()
    job = jobs.cluster.get("job", "larger", namespace=jobs.namespace)
    assert job is not None
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] in {"1Gi", "2Gi", "3Gi"}
