"""Whatever happens around a search on a real cluster: it waits, says why, goes on, and its results are scikit-learn's to the bit."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster import patient
from tests.cluster.harness import controlplane, nodes
from tests.cluster.harness.layout import NODES
from tests.cluster.test_live import has_done, running
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs
from tuningjob_operator.control.lease import LEASE_SECONDS

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
# An outage has a length: this one is longer than the operator's Lease lasts, and than it and the pods wait between two attempts.
OUTAGE_SECONDS: Final = LEASE_SECONDS + 7


def quota(name: str, **hard: str) -> Document:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}


def use_of(jobs: TuningJobs, name: str) -> Document:
    found = jobs.cluster.get("resourcequota", name, namespace=jobs.namespace) or {}
    used: Document = found.get("status", {}).get("used", {})
    return used


def operator_pods(jobs: TuningJobs) -> list[Document]:
    return jobs.cluster.items("pods", "-l", jobs.operator_pods, namespace=jobs.release.namespace)


def condition_is(jobs: TuningJobs, name: str, kind: str, status: str) -> Document:
    def look() -> Document | None:
        found = jobs.condition(name, kind)
        return found if found.get("status") == status else None

    what = f"{name}: {kind}={status}"
    return jobs.cluster.wait_for(what, look, namespace=jobs.namespace)


def wait_for_two_at_work(jobs: TuningJobs, name: str) -> None:
    """By the journal: a status tells of the first fits when they are many, or after a minute."""
    jobs.cluster.wait_for("two pods to report", lambda: len(jobs.reporters(name)) == 2, namespace=jobs.namespace)


def test_a_quota_is_waited_for_and_kept_to(jobs: TuningJobs, slow_forest: Document) -> None:
    jobs.apply(quota("team", **{"requests.cpu": "300m"}))
    jobs.cluster.wait_for("the quota to count", lambda: use_of(jobs, "team"), namespace=jobs.namespace)
    slow_forest["spec"]["parallelism"] = 4
    jobs.apply(slow_forest)

    waits = condition_is(jobs, "forest", "Capacity", "False")
    assert waits["reason"] == "QuotaExceeded"
    assert "ResourceQuota team: requests.cpu 0 of 300m used, a pod needs 400m" in waits["message"]
    assert jobs.pods("forest") == []
    jobs.apply(quota("team", **{"requests.cpu": "800m"}))
    jobs.wait_for("forest", has_done(3))
    cut = jobs.cluster.wait_for(
        "the cut to be told",
        lambda: "2 of 4 pods" in jobs.condition("forest", "Capacity").get("message", ""),
        namespace=jobs.namespace,
    )
    assert cut
    assert len(running(jobs, "forest")) <= 2
    jobs.finish("forest")
    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 90}


def test_a_pod_that_no_limit_range_and_no_node_takes_is_refused_at_once(
    jobs: TuningJobs, slow_forest: Document
) -> None:
    limits = [{"type": "Container", "max": {"cpu": "1", "memory": "64Gi"}, "min": {"cpu": "10m"}}]
    jobs.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits}})
    # limits default where a range has a maximum, and what has no limit would get that: ours always name both
    slow_forest["spec"]["resources"] = {"cpu": "1500m", "memory": "400Mi"}
    jobs.apply(slow_forest)
    found = jobs.wait_for_failure("forest")
    assert found["reason"] == "ManifestRefused"
    assert "spec.resources.cpu: must be at most 1 (LimitRange small of namespace" in found["message"]

    jobs.cluster.kubectl("delete", "tj", "forest", namespace=jobs.namespace)
    slow_forest["spec"]["resources"] = {"cpu": "400m", "memory": "50Gi"}
    jobs.apply(slow_forest)
    found = jobs.wait_for_failure("forest")
    assert found["reason"] == "ManifestRefused"
    assert "spec.resources.memory: must be no more than a node of this cluster has for pods" in found["message"]
    assert "the largest that may take them, tj-node" in found["message"], "the largest node, by its name and size"

    jobs.cluster.kubectl("delete", "tj", "forest", namespace=jobs.namespace)
    slow_forest["spec"]["resources"] = {"cpu": "400m", "memory": "400Mi"}
    slow_forest["spec"]["pod"] = {"nodeSelector": {"disk": "no-such"}}
    jobs.apply(slow_forest)
    found = jobs.wait_for_failure("forest")
    assert "spec.pod.nodeSelector" in found["message"]


def test_a_drained_node_costs_nothing(jobs: TuningJobs, slow_forest: Document) -> None:
    slow_forest["spec"]["parallelism"] = 2
    slow_forest["spec"]["resources"] = {"cpu": "1", "memory": "400Mi"}
    jobs.apply(slow_forest)
    jobs.wait_for("forest", has_done(10))
    at = next(pod["spec"]["nodeName"] for pod in jobs.pods("forest") if pod["status"]["phase"] == "Running")
    selector = f"tuningjob.dev/uid={jobs.get('forest')['metadata']['uid']}"
    try:
        words = ("drain", at, "--force", "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={selector}")
        jobs.cluster.kubectl(*words)
    finally:
        jobs.cluster.kubectl("uncordon", at)
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 90}
    job = jobs.cluster.get("job", "forest", namespace=jobs.namespace)
    assert job is not None
    assert job["status"].get("failed", 0) == 0, "an eviction is not counted"


@pytest.fixture
def other_node(jobs: TuningJobs) -> Iterator[str]:
    """The node that the operator is not on; back at the end, whatever the test did to it."""
    taken = {pod["spec"]["nodeName"] for pod in operator_pods(jobs)}
    (name,) = [node for node in jobs.cluster.nodes if node not in taken]
    yield name
    node = next(node for node in NODES if node.name == name)
    nodes.stop(node)
    nodes.start(node)
    jobs.cluster.kubectl("wait", "--for=condition=Ready", "--timeout=300s", f"node/{name}")


@pytest.mark.usefixtures("own_nodes")
def test_a_node_that_is_lost_for_good_costs_only_what_was_in_flight(
    jobs: TuningJobs, slow_forest: Document, other_node: str
) -> None:
    slow_forest["spec"].update(patient.forest(most_leaves=44, pause_seconds=1))
    slow_forest["spec"]["parallelism"] = 2
    slow_forest["spec"]["resources"] = {"cpu": "1", "memory": "400Mi"}
    jobs.apply(slow_forest)
    wait_for_two_at_work(jobs, "forest")
    assert other_node in {pod["spec"]["nodeName"] for pod in jobs.pods("forest")}
    nodes.stop(next(node for node in NODES if node.name == other_node))

    told = condition_is(jobs, "forest", "PodsReady", "False")
    assert told["reason"] in {"NodeLost", "Unschedulable"}, told
    jobs.finish("forest")
    assert jobs.report_counts("forest") == {1: 200}
    assert_equal_to_scikit_learn(jobs, slow_forest)


@pytest.mark.usefixtures("own_nodes")
def test_a_search_goes_on_while_the_api_server_is_away_and_then_the_operator(
    jobs: TuningJobs, slow_forest: Document
) -> None:
    slow_forest["spec"].update(patient.forest(most_leaves=44, pause_seconds=2))
    slow_forest["spec"]["parallelism"] = 2
    jobs.apply(slow_forest)
    wait_for_two_at_work(jobs, "forest")
    with controlplane.api_server_down():
        time.sleep(OUTAGE_SECONDS)
    jobs.wait_for("forest", has_done(jobs.status("forest")["progress"]["done"] + 10))
    assert not is_complete(jobs.status("forest"))

    deployment = ("deployment", "-l", jobs.operator_pods)
    jobs.cluster.kubectl("scale", *deployment, "--replicas=0", namespace=jobs.release.namespace)
    jobs.cluster.wait_for("the operator to go", lambda: operator_pods(jobs) == [], namespace=jobs.release.namespace)
    jobs.cluster.kubectl("scale", "tj/forest", "--replicas=3", namespace=jobs.namespace)
    time.sleep(OUTAGE_SECONDS)
    jobs.cluster.kubectl("scale", *deployment, "--replicas=1", namespace=jobs.release.namespace)
    jobs.finish("forest")

    assert jobs.report_counts("forest") == {1: 200}
    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.status("forest")["plan"]["pods"] == 3, "what was asked for while nobody was there was done afterwards"


# Whoever holds this lock keeps the results service from taking anything in; it answers, and says so. Held until the input ends.
LOCK = """
import sqlite3, sys
connection = sqlite3.connect("/data/tuning.db", timeout=60)
connection.execute("BEGIN IMMEDIATE")
sys.stdin.read()
"""


def test_a_results_service_that_takes_nothing_in_is_told_of(jobs: TuningJobs, slow_forest: Document) -> None:
    jobs.apply(slow_forest)
    jobs.wait_for_fits("forest", 3)
    (pod,) = operator_pods(jobs)
    words = ("exec", "-i", pod["metadata"]["name"], "-c", "operator", "--", "python", "-c", LOCK)
    command = jobs.cluster.command(*words, namespace=jobs.release.namespace)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as locking:
        told = condition_is(jobs, "forest", "ResultsService", "False")
        assert told["reason"] == "Unavailable"
        assert "Pods keep what they finish, and hand it in when the service is back." in told["message"]
        locking.communicate()
        assert locking.returncode == 0
    condition_is(jobs, "forest", "ResultsService", "True")
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 90}
