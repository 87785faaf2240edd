"""A search whose pods the real Kueue admits: it waits, is cut, gives way and goes on, and its results are scikit-learn's."""

import contextlib
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import pytest

from tests.cluster import patient
from tests.cluster.harness import kueue as harness
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.layout import KUBECONFIG
from tests.cluster.harness.shell import HarnessError
from tests.cluster.test_live import has_done, patch, running, wait_until_gone
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster

Document = dict[str, Any]

API: Final = "kueue.x-k8s.io/v1beta2"
ENDED: Final = {"Succeeded", "Failed"}
# what each pod of slow_forest asks for
POD_CPU: Final = Decimal("0.4")
POD_MIB: Final = 400


@pytest.fixture(scope="module")
def kueue(cluster: Cluster) -> Iterator[Cluster]:
    """Kueue's controller, on our own cluster and for these tests only."""
    if cluster.kubeconfig != KUBECONFIG:
        pytest.skip("Kueue is started on a cluster of our own only: what a cluster that was named has is its owner's")
    with harness.running(cluster):
        yield cluster


@dataclass(frozen=True)
class Queue:
    """A LocalQueue of the test's namespace, and the ClusterQueue behind it, which is the test's own, too."""

    jobs: TuningJobs
    name: str

    @property
    def cluster_queue(self) -> str:
        return self.jobs.namespace

    def create(self, *, pods: int, with_disk: bool = False) -> None:
        """With a quota for so many pods. ``with_disk``: of what a TuningJob has that names no queue, too."""
        cpu, memory = {"nominalQuota": str(POD_CPU * pods)}, {"nominalQuota": f"{POD_MIB * pods}Mi"}
        resources = [{"name": "cpu", **cpu}, {"name": "memory", **memory}]
        if with_disk:
            resources.append({"name": "ephemeral-storage", "nominalQuota": "1Gi"})
        covered = [resource["name"] for resource in resources]
        group = {"coveredResources": covered, "flavors": [{"name": "any-node", "resources": resources}]}
        self.jobs.cluster.apply(
            {"apiVersion": API, "kind": "ResourceFlavor", "metadata": {"name": "any-node"}},
            {
                "apiVersion": API,
                "kind": "ClusterQueue",
                "metadata": {"name": self.cluster_queue},
                "spec": {
                    "namespaceSelector": {},
                    "resourceGroups": [group],
                    "preemption": {"withinClusterQueue": "LowerPriority"},
                },
            },
        )
        queue = {"apiVersion": API, "kind": "LocalQueue", "metadata": {"name": self.name}}
        self.jobs.apply({**queue, "spec": {"clusterQueue": self.cluster_queue}})

    def delete(self) -> None:
        self.jobs.cluster.kubectl("delete", "clusterqueue", self.cluster_queue, "--wait=false", check=False)

    def stop(self, policy: str) -> None:
        """``Hold``: admit nobody; ``HoldAndDrain``: and send home who was admitted; ``None``: go on."""
        change = json.dumps({"spec": {"stopPolicy": policy}})
        self.jobs.cluster.kubectl("patch", "clusterqueue", self.cluster_queue, "--type=merge", "-p", change)

    def workloads(self) -> list[Document]:
        """What Kueue knows of the namespace's Jobs."""
        return self.jobs.cluster.items("workloads.kueue.x-k8s.io", namespace=self.jobs.namespace)

    def admitted(self) -> list[int]:
        """For each of them that is admitted, with how many pods."""
        return [
            int(workload["status"]["admission"]["podSetAssignments"][0]["count"])
            for workload in self.workloads()
            if has_condition(workload, "Admitted")
        ]

    def wait_until_empty(self) -> None:
        self.jobs.cluster.wait_for("no workload", lambda: self.workloads() == [], namespace=self.jobs.namespace)


@pytest.fixture
def queue(kueue: Cluster, jobs: TuningJobs) -> Iterator[Queue]:
    """A queue with room for two pods."""
    assert jobs.cluster is kueue
    with created(Queue(jobs, "team-a")) as queue:
        yield queue


@pytest.fixture
def default_queue(kueue: Cluster, jobs: TuningJobs) -> Iterator[Queue]:
    """The same, by the name that Kueue takes for a namespace's default."""
    assert jobs.cluster is kueue
    with created(Queue(jobs, "default"), with_disk=True) as queue:
        yield queue


@contextlib.contextmanager
def created(queue: Queue, *, with_disk: bool = False) -> Iterator[Queue]:
    try:
        queue.create(pods=2, with_disk=with_disk)
        yield queue
    finally:
        queue.delete()


@pytest.fixture
def queued_forest(slow_forest: Document) -> Document:
    """90 fits on two pods that a queue admits."""
    slow_forest["spec"]["queueName"] = "team-a"
    slow_forest["spec"]["parallelism"] = 2
    return slow_forest


def has_condition(body: Document, kind: str) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def is_queued(status: Document) -> bool:
    return status.get("phase") == "Queued"


def alive(jobs: TuningJobs, name: str) -> int:
    """Its pods that have not ended, those that only just begin or are about to go included."""
    return sum(pod["status"]["phase"] not in ENDED for pod in jobs.pods(name))


def resize(jobs: TuningJobs, name: str, pods: int) -> None:
    change = json.dumps({"spec": {"parallelism": pods, "completions": pods}})
    jobs.cluster.kubectl("patch", "job", name, "--type=merge", "-p", change, namespace=jobs.namespace)


def wait_without_pods(jobs: TuningJobs, name: str) -> None:
    jobs.cluster.wait_for(f"{name} to have no pod", lambda: alive(jobs, name) == 0, namespace=jobs.namespace)


def test_a_search_waits_for_its_queue_and_is_run_when_that_lets_it(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    """Two of them, of one pod and of two."""
    queued_forest["spec"].update(patient.forest(most_leaves=12, pause_seconds=1))
    documents: dict[int, Document] = {}
    for pods, name in ((1, "one"), (2, "two")):
        documents[pods] = copy.deepcopy(queued_forest)
        documents[pods]["metadata"]["name"] = name
        documents[pods]["spec"]["parallelism"] = pods
    queue.create(pods=3)
    queue.stop("Hold")
    jobs.apply(*documents.values())

    for name in ("one", "two"):
        jobs.wait_for(name, is_queued)
        waits = jobs.condition(name, "PodsReady")
        assert (waits["status"], waits["reason"]) == ("False", "Queued")
        assert "team-a" in waits["message"]
        assert jobs.pods(name) == []
    jobs.cluster.wait_for("a workload each", lambda: len(queue.workloads()) == 2, namespace=jobs.namespace)
    asked = {each["metadata"]["ownerReferences"][0]["name"]: each["spec"]["podSets"][0] for each in queue.workloads()}
    assert {name: pods["count"] for name, pods in asked.items()} == {"one": 1, "two": 2}
    assert queue.admitted() == []
    _, *wide = jobs.cluster.kubectl("get", "tj", "-o", "wide", namespace=jobs.namespace).splitlines()
    assert [line.split()[1] for line in wide] == ["Queued", "Queued"]
    assert all("team-a" in line.split() for line in wide)

    queue.stop("None")
    for name in ("one", "two"):
        jobs.wait_for(name, has_done(1))
        assert jobs.condition(name, "PodsReady").get("reason") != "Queued"
    assert sorted(queue.admitted()) == [1, 2]
    for pods, name in ((1, "one"), (2, "two")):
        jobs.finish(name)
        assert_equal_to_scikit_learn(jobs, documents[pods])
        assert jobs.report_counts(name) == {1: 40}


def test_a_search_that_is_suspended_or_cancelled_while_it_waits_leaves_the_queue(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    queue.stop("Hold")
    jobs.apply(queued_forest)
    jobs.wait_for("forest", is_queued)
    jobs.cluster.wait_for("a workload", queue.workloads, namespace=jobs.namespace)
    patch(jobs, "forest", suspend=True)
    jobs.wait_for("forest", lambda status: status.get("phase") == "Suspended")
    queue.wait_until_empty()

    patch(jobs, "forest", suspend=False)
    jobs.wait_for("forest", is_queued)
    jobs.cluster.wait_for("a workload", queue.workloads, namespace=jobs.namespace)
    patch(jobs, "forest", cancel=True)
    assert jobs.wait_for_failure("forest")["reason"] == "Cancelled"
    queue.wait_until_empty()
    assert jobs.pods("forest") == []


def test_in_a_namespace_with_a_default_queue_a_search_without_one_waits_for_that(
    jobs: TuningJobs, default_queue: Queue, queued_forest: Document
) -> None:
    del queued_forest["spec"]["queueName"]
    default_queue.stop("Hold")
    jobs.apply(queued_forest)
    waits = jobs.wait_for("forest", is_queued)
    assert "queue default " in waits["message"]
    (workload,) = jobs.cluster.wait_for("a workload", default_queue.workloads, namespace=jobs.namespace)
    assert workload["spec"]["podSets"][0]["count"] == 1, "the preflight"

    default_queue.stop("None")
    jobs.wait_for("forest", has_done(30))
    patch(jobs, "forest", suspend=True)
    jobs.wait_for("forest", lambda status: status.get("phase") == "Suspended")
    default_queue.wait_until_empty()
    patch(jobs, "forest", suspend=False)
    jobs.finish("forest")
    assert_equal_to_scikit_learn(jobs, queued_forest)
    assert jobs.report_counts("forest") == {1: 90}


def test_a_queue_without_room_for_all_admits_fewer_pods_and_no_more_than_those_ever_run(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    queued_forest["spec"]["parallelism"] = 3
    most = 0

    def counted(probe: Any) -> Any:
        def look(status: Document) -> bool:
            nonlocal most
            most = max(most, alive(jobs, "forest"))
            return bool(probe(status))

        return look

    jobs.apply(queued_forest)
    jobs.wait_for("forest", counted(has_done(5)))
    assert queue.admitted() == [2]
    with pytest.raises(HarnessError, match="cannot change when partial admission is enabled"):
        resize(jobs, "forest", 3)
    # what Kueue admitted is not scaled, in neither direction
    for size in (1, 3):
        jobs.cluster.kubectl("scale", "tj/forest", f"--replicas={size}", namespace=jobs.namespace)
        jobs.wait_for("forest", counted(has_done(5 + 10 * size)))
        assert len(running(jobs, "forest")) == 2
    jobs.wait_for("forest", counted(is_complete))

    assert most == 2
    assert_equal_to_scikit_learn(jobs, queued_forest)
    assert jobs.report_counts("forest") == {1: 90}
    assert set(jobs.reporters("forest")) == {0, 1}
    assert jobs.condition("forest", "Admitted")["status"] == "True", "nothing of it was refused"


def test_a_queue_that_is_drained_sends_the_pods_home_and_what_is_finished_is_kept(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    jobs.apply(queued_forest)
    jobs.wait_for("forest", has_done(12))
    queue.stop("HoldAndDrain")

    jobs.wait_for("forest", is_queued)
    wait_without_pods(jobs, "forest")
    waits = jobs.condition("forest", "PodsReady")
    assert (waits["status"], waits["reason"]) == ("False", "Queued")
    kept = sum(jobs.report_counts("forest").values())
    assert 12 <= kept < 90
    # the quota is smaller when it opens again: the Job goes on with fewer pods than it had
    queue.create(pods=1)
    queue.stop("None")
    jobs.wait_for_fits("forest", kept + 1)
    assert queue.admitted() == [1]
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, queued_forest)
    assert jobs.report_counts("forest") == {1: 90}


def test_a_search_gives_way_to_what_is_more_urgent_and_goes_on_after_it(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    jobs.apply(queued_forest)
    jobs.wait_for("forest", has_done(5))
    assert queue.admitted() == [2]
    urgent = urgent_job(jobs, "urgent", queue.name)
    jobs.cluster.apply(
        {"apiVersion": API, "kind": "WorkloadPriorityClass", "metadata": {"name": "urgent"}, "value": 1000},
    )
    jobs.apply(urgent)

    jobs.wait_for("forest", is_queued)

    def urgent_one_runs() -> bool:
        job = jobs.cluster.get("job", "urgent", namespace=jobs.namespace) or {}
        return int(job.get("status", {}).get("ready") or 0) == 1

    jobs.cluster.wait_for("the urgent Job to run", urgent_one_runs, namespace=jobs.namespace)
    wait_without_pods(jobs, "forest")  # those that end have their room counted as free already
    assert not is_complete(jobs.status("forest"))
    jobs.cluster.kubectl("delete", "job", "urgent", "--wait=false", namespace=jobs.namespace)
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, queued_forest)
    assert jobs.report_counts("forest") == {1: 90}


def test_a_suspended_search_leaves_its_queue_and_comes_back_to_it_and_one_that_ends_leaves_nothing_there(
    jobs: TuningJobs, queue: Queue, queued_forest: Document
) -> None:
    # more fits than are done by the time that it is cancelled
    queued_forest["spec"]["search"]["grid"]["parameters"]["max_leaf_nodes"] = {"range": [4, 54]}
    jobs.apply(queued_forest)
    jobs.wait_for_fits("forest", 10)
    patch(jobs, "forest", suspend=True)
    jobs.wait_for("forest", lambda status: status.get("phase") == "Suspended")
    wait_until_gone(jobs, "job", "forest")
    queue.wait_until_empty()
    wait_without_pods(jobs, "forest")
    kept = sum(jobs.report_counts("forest").values())
    assert kept >= 10

    patch(jobs, "forest", suspend=False)
    jobs.wait_for_fits("forest", kept + 5)
    assert queue.admitted() == [2]
    assert set(jobs.report_counts("forest")) == {1}
    patch(jobs, "forest", cancel=True)
    assert jobs.wait_for_failure("forest")["reason"] == "Cancelled"
    queue.wait_until_empty()
    wait_without_pods(jobs, "forest")

    queued_forest["metadata"]["name"] = "other"
    jobs.apply(queued_forest)
    jobs.wait_for_fits("other", 3)
    jobs.cluster.kubectl("delete", "tj", "other", namespace=jobs.namespace)
    wait_until_gone(jobs, "job", "other")
    queue.wait_until_empty()
    wait_without_pods(jobs, "other")


def urgent_job(jobs: TuningJobs, name: str, queue: str) -> Document:
    """A Job of anybody's that takes the whole queue, and stays until it is deleted."""
    script = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"
    container = {
        "name": "wait",
        "image": jobs.cluster.worker_image,
        "command": ["python", "-c", script],
        "resources": {"requests": {"cpu": str(2 * POD_CPU), "memory": f"{2 * POD_MIB}Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {"kueue.x-k8s.io/queue-name": queue, "kueue.x-k8s.io/priority-class": "urgent"},
        },
        "spec": {"template": {"spec": pod}},
    }
