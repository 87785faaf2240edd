"""What cannot be searched is refused on the cluster as on a laptop: with the field, what it must be, what it is, what to do."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.harness.shell import HarnessError
from tests.cluster.tuningjobs import TuningJobs, all_at_once, named, small_pod

pytestmark = pytest.mark.cluster

# name: (change of the forest's spec, what the condition's message begins with or holds). The first three need no pod.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "empty-list": (
        {"search": {"grid": {"parameters": {"n_estimators": []}}}},
        "spec.search.grid.parameters.n_estimators: must be a list with at least one value, but got [].",
    ),
    "over-the-limit": (
        {"limits": {"maxFits": 50}},
        "spec.search.grid.parameters: must be a grid of at most 50 fits (spec.limits.maxFits), but got 18 candidates × 5 folds = 90 fits.",
    ),
    "ten-to-the-thirty": (
        {"search": {"grid": {"parameters": {f"p{i}": {"range": [10]} for i in range(30)}}}},
        "must be a grid of at most 10,000 fits (spec.limits.maxFits), but got about 10^30 candidates × 5 folds",
    ),
    "unknown-class": (
        {"estimator": {"class": "sklearn.ensemble.RandomForrestClassifier"}},
        (
            "spec.estimator.class: must be an estimator's class that sklearn.ensemble has, but got "
            "'sklearn.ensemble.RandomForrestClassifier'. Did you mean 'RandomForestClassifier'?"
        ),
    ),
    "unknown-parameter": (
        {"search": {"grid": {"parameters": {"max_dept": [3]}}}},
        "spec.search.grid.parameters.max_dept: must be a parameter of the estimator, but got 'max_dept'. Did you mean 'max_depth'?",
    ),
    "unfit-scorer": (
        {
            "estimator": {"class": "sklearn.svm.LinearSVC"},
            "search": {"grid": {"parameters": {"C": [1, 2]}}},
            "scoring": "neg_log_loss",
        },
        "spec.scoring: must be a scorer that the estimator can serve (neg_log_loss needs predict_proba), but got an estimator without predict_proba.",
    ),
    "missing-column": (
        {"data": {"path": "t.csv", "target": "lable", "configMap": "table"}},
        "spec.data.target: must be a column of t.csv, but got 'lable'. Did you mean 'label'?",
    ),
}

FAILING: Final[dict[str, dict[str, Any]]] = {
    "all-fail": {"bootstrap": [False], "n_estimators": [2, 3], "oob_score": [True]},
    "some-fail": {"n_estimators": [-1, 5]},
}


def forest(name: str, change: dict[str, Any]) -> dict[str, Any]:
    small = {"parallelism": 1, "resources": small_pod("200m"), "baseline": False}
    return named(name, "iris-forest", **{**small, **change})


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """With all that only an operator or a pod refuses, begun at once."""
    table = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "table"},
        "data": {"t.csv": "a,label\n1,0\n2,1\n"},
    }
    refused = (forest(name, change) for name, (change, _) in REFUSED.items())
    failing = (forest(name, {"search": {"grid": {"parameters": grid}}}) for name, grid in FAILING.items())
    with all_at_once(cluster, release, "refusals", table, *refused, *failing) as found:
        yield found


def test_each_refusal_names_the_field_what_it_must_be_what_it_is_and_what_to_do(jobs: TuningJobs) -> None:
    found = {name: jobs.wait_for_failure(name) for name in REFUSED}
    for name, (_, want) in REFUSED.items():
        assert want in found[name]["message"], (name, found[name])
        assert found[name]["reason"] == "ManifestRefused", (name, found[name])
    for name in ("empty-list", "over-the-limit", "ten-to-the-thirty"):
        assert jobs.pods(name) == []


def test_what_the_schema_sees_is_refused_by_the_api_server_itself(jobs: TuningJobs) -> None:
    document = forest("refused", {})
    document["spec"]["resources"]["memory"] = "lots"
    with pytest.raises(
        HarnessError,
        match=r"spec\.resources\.memory.*must be a positive Kubernetes quantity of memory such as 512Mi or 2Gi",
    ):
        jobs.apply(document)
    document["spec"]["resources"]["memory"] = "1Gi"
    del document["spec"]["estimator"]["params"]
    document["spec"]["estimator"]["pipeline"] = [{"name": "a", "class": "sklearn.svm.SVC"}]
    with pytest.raises(
        HarnessError,
        match=r"spec\.estimator: Invalid value.*must be one of a class, a pipeline, columns, a union, and a factory",
    ):
        jobs.apply(document)
    del document["spec"]["estimator"]["pipeline"]
    document["metadata"]["name"] = "a.b"
    with pytest.raises(HarnessError, match=r"metadata\.name must be a DNS label of at most 52 characters"):
        jobs.apply(document)


def test_a_search_whose_every_fit_would_fail_is_refused_with_its_reason_and_the_error(jobs: TuningJobs) -> None:
    failed = jobs.wait_for_failure("all-fail")
    assert failed["reason"] == "ManifestRefused"
    assert "ValueError: Out of bag estimation only available if bootstrap=True" in failed["message"]
    assert jobs.condition("all-fail", "Preflight")["reason"] == "EveryFitFails"

    # and one whose some fits fail completes with NaN scores, as scikit-learn does, and says how many
    jobs.wait_for("some-fail", lambda status: status.get("phase") == "Complete")
    assert jobs.status("some-fail")["best"]["params"] == {"n_estimators": 5}
    assert "5 failed (scored NaN)" in jobs.condition("some-fail", "Complete")["message"]
