"""Deleting a TuningJob deletes what it made; deleting the namespace or uninstalling the chart never hangs."""

from typing import Any

import pytest

from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster


@pytest.fixture
def endless(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search that does not end by itself while a test lasts."""
    iris_forest["metadata"]["name"] = "endless"
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        "n_estimators": [5000],
        "max_leaf_nodes": {"range": [2, 502]},
    }
    return iris_forest


def at_work(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Running"


def test_deleting_a_tuningjob_deletes_what_it_made(jobs: TuningJobs, endless: dict[str, Any]) -> None:
    jobs.apply(endless)
    jobs.wait_for("endless", at_work)
    jobs.cluster.kubectl("delete", "tj", "endless", "--timeout=120s", namespace=jobs.namespace)
    kinds = ("jobs", "pods", "secrets", "configmaps")

    def left() -> list[str]:
        found = (item for kind in kinds for item in jobs.cluster.items(kind, namespace=jobs.namespace))
        return [item["metadata"]["name"] for item in found if item["metadata"]["name"] != "kube-root-ca.crt"]

    jobs.cluster.wait_for("nothing of the TuningJob is left", lambda: not left(), namespace=jobs.namespace)


def test_deleting_the_namespace_in_the_middle_of_a_search_does_not_hang(
    jobs: TuningJobs, endless: dict[str, Any]
) -> None:
    jobs.apply(endless)
    jobs.wait_for("endless", at_work)
    jobs.cluster.kubectl("delete", "namespace", jobs.namespace, "--timeout=300s")
    assert jobs.cluster.get("namespace", jobs.namespace) is None


def test_uninstalling_the_chart_in_the_middle_of_a_search_does_not_hang(
    cluster: Cluster, jobs: TuningJobs, endless: dict[str, Any]
) -> None:
    jobs.apply(endless)
    jobs.wait_for("endless", at_work)
    try:
        chart.uninstall(cluster)
        assert cluster.items("deployments", namespace=jobs.release.namespace) == []
        # the CRD stays by default, and with it what users made; they can still delete it
        cluster.kubectl("delete", "tj", "endless", "--timeout=120s", namespace=jobs.namespace)
    finally:
        chart.install(cluster)
