"""Deleting a TuningJob deletes what it made; deleting the namespace or uninstalling the chart never hangs, and keeps what people made."""

import copy
from typing import Any

import pytest

from tests.cluster import patient
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.test_search import is_complete
from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
CRD = "tuningjobs.tuningjob.dev"


@pytest.fixture
def endless(slow_forest: Document) -> Document:
    """A search that does not end by itself while a test lasts: half an hour for its one pod."""
    slow_forest["metadata"]["name"] = "endless"
    slow_forest["spec"].update(patient.forest(most_leaves=1_000))
    return slow_forest


def beside(document: Document, name: str, **spec: Any) -> Document:
    other = copy.deepcopy(document)
    other["metadata"]["name"] = name
    other["spec"].update(spec)
    return other


def at_work(status: Document) -> bool:
    return status.get("phase") == "Running"


def test_deleting_a_tuningjob_deletes_what_it_made_and_deleting_the_namespace_in_the_middle_of_a_search_does_not_hang(
    jobs: TuningJobs, endless: Document
) -> None:
    jobs.apply(endless, beside(endless, "other"))
    for name in ("endless", "other"):
        jobs.wait_for(name, at_work)
    jobs.cluster.kubectl("delete", "tj", "endless", "--timeout=120s", namespace=jobs.namespace)
    kinds = ("jobs", "pods", "secrets", "configmaps")

    def left() -> list[str]:
        found = (
            item["metadata"]["name"] for kind in kinds for item in jobs.cluster.items(kind, namespace=jobs.namespace)
        )
        given = {"kube-root-ca.crt", patient.code()["metadata"]["name"]}
        return [name for name in found if name not in given and not name.startswith("other")]

    jobs.cluster.wait_for("nothing of the TuningJob is left", lambda: not left(), namespace=jobs.namespace)

    assert at_work(jobs.status("other"))
    jobs.cluster.kubectl("delete", "namespace", jobs.namespace, "--timeout=300s")
    assert jobs.cluster.get("namespace", jobs.namespace) is None


def test_uninstalling_the_chart_in_the_middle_of_a_search_does_not_hang_and_keeps_what_people_made_unless_told_otherwise(
    cluster: Cluster, jobs: TuningJobs, endless: Document
) -> None:
    jobs.apply(endless, beside(endless, "short", **patient.forest(most_leaves=5, pause_seconds=0)))
    jobs.wait_for("endless", at_work)
    jobs.wait_for("short", is_complete)
    try:
        chart.uninstall(cluster)
        assert cluster.items("deployments", namespace=jobs.release.namespace) == []
        # the CRD stays by default, and with it what users made; they can still delete it
        assert jobs.status("short")["phase"] == "Complete"
        cluster.kubectl("delete", "tj", "endless", "--timeout=120s", namespace=jobs.namespace)
        # the release that is installed again takes up what has stayed
        chart.install(cluster, "crds.keep=false")
        assert jobs.status("short")["phase"] == "Complete"
        chart.uninstall(cluster)
        cluster.wait_for("the CRD is gone", lambda: cluster.get("crd", CRD) is None)
    finally:
        chart.install(cluster)
    assert cluster.items("tj", namespace=jobs.namespace) == []
