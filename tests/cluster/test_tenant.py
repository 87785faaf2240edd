"""The product as one tenant of a cluster: nobody reaches through it what they may not, and it takes no more than it is given."""

import copy
import json
from typing import Any

import pytest

from tests.cluster import patient
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.release import Release
from tests.cluster.harness.shell import HarnessError
from tests.cluster.people import Person, person
from tests.cluster.test_search import half_done, is_complete
from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
# the field that a refusal names: what of the spec names something of the namespace
REFERENCES: dict[str, Document] = {
    "spec.pod.env[].secret": {"pod": {"env": [{"name": "A", "secret": {"name": "database", "key": "password"}}]}},
    "spec.pod.volumes[].secret": {"pod": {"volumes": [{"name": "a", "mountPath": "/a", "secret": "database"}]}},
    "spec.pod.volumes[].persistentVolumeClaim": {
        "pod": {"volumes": [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": "models"}]}
    },
    "spec.pod.imagePullSecrets": {"pod": {"imagePullSecrets": ["registry"]}},
    "spec.pod.serviceAccountName": {"pod": {"serviceAccountName": "deployer"}},
    "spec.code.persistentVolumeClaim": {"code": {"persistentVolumeClaim": "modules"}},
    "spec.data.persistentVolumeClaim": {
        "data": {"path": "t.csv", "target": "label", "persistentVolumeClaim": "tables"}
    },
}


@pytest.fixture
def small(iris_forest: Document) -> Document:
    """A search of seconds."""
    iris_forest["spec"]["parallelism"] = 1
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [5], "max_depth": [1, 2]}
    return iris_forest


@pytest.fixture
def searcher(cluster: Cluster, release: Release, namespace: str) -> Person:
    """Who may do anything with TuningJobs, and create no pods: the roles that the chart adds to view and edit, without those."""
    one = person(cluster, namespace, "searcher", role=f"{release.name}-edit", server="")
    subject = {"kind": "ServiceAccount", "name": one.name, "namespace": namespace}
    reading = {"apiGroup": GROUP, "kind": "ClusterRole", "name": f"{release.name}-view"}
    metadata = {"name": "searcher-reads"}
    binding = {"apiVersion": f"{GROUP}/v1", "kind": "RoleBinding", "metadata": metadata}
    cluster.apply({**binding, "roleRef": reading, "subjects": [subject]}, namespace=namespace)
    return one


@pytest.fixture
def secret(cluster: Cluster, namespace: str) -> Document:
    """What the searcher must not learn."""
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "database"},
        "stringData": {"password": "hidden-from-the-searcher"},
    }
    cluster.apply(made, namespace=namespace)
    return made


def may(cluster: Cluster, who: str, *words: str, namespace: str) -> bool:
    answer = cluster.kubectl("auth", "can-i", *words, "--as", who, namespace=namespace, check=False)
    return answer.strip() == "yes"


@pytest.mark.usefixtures("secret")
def test_who_may_create_no_pods_reaches_no_secret_claim_or_account_through_a_search(
    jobs: TuningJobs, searcher: Person, small: Document
) -> None:
    assert not may(jobs.cluster, searcher.username, "create", "pods", namespace=jobs.namespace)
    for number, (field, change) in enumerate(REFERENCES.items()):
        document = copy.deepcopy(small)
        document["metadata"]["name"] = f"reaching-{number}"
        document["spec"].update(change)
        with pytest.raises(HarnessError) as refused:
            searcher.applies(document)
        assert f"{field}: must be absent, for {searcher.username} may not create pods" in str(refused.value)
    # without a reference it is theirs, and an edit brings none in
    searcher.applies(small)
    jobs.wait_for("iris-forest", is_complete)
    later = copy.deepcopy(small)
    later["spec"].update(REFERENCES["spec.pod.env[].secret"])
    with pytest.raises(HarnessError):
        searcher.applies(later)
    assert [found["metadata"]["name"] for found in jobs.cluster.items("tj", namespace=jobs.namespace)] == [
        "iris-forest"
    ]


@pytest.mark.usefixtures("secret")
def test_who_may_create_pods_names_what_they_could_use_in_one(jobs: TuningJobs, small: Document) -> None:
    alice = person(jobs.cluster, jobs.namespace, "alice", role="edit", server="")
    small["spec"].update(REFERENCES["spec.pod.env[].secret"])
    alice.applies(small)
    jobs.wait_for("iris-forest", is_complete)
    for change in REFERENCES.values():
        document = copy.deepcopy(small)
        document["metadata"]["name"] = "tried"
        document["spec"] = {**small["spec"], **change}
        dry = ("apply", "--dry-run=server", "--as", alice.username, "-f", "-")
        jobs.cluster.kubectl(*dry, namespace=jobs.namespace, stdin=json.dumps(document))


def test_helm_test_finds_the_release_well(cluster: Cluster, release: Release) -> None:
    said = cluster.helm("test", release.name, f"--namespace={release.namespace}", "--logs", "--timeout=300s")
    assert "who asks for models is known by the API server's word" in said
    kinds = ("pod", "serviceaccount")
    assert [cluster.get(kind, f"{release.name}-test", namespace=release.namespace) for kind in kinds] == [None, None]


def test_the_release_may_be_taken_back_to_one_namespace_in_the_middle_of_a_search(
    cluster: Cluster, jobs: TuningJobs, release: Release, small: Document
) -> None:
    """And has nothing cluster-wide then; authors are held to their rights by the operator itself."""
    operator = f"system:serviceaccount:{release.namespace}:{release.name}"
    big = copy.deepcopy(small)
    big["metadata"]["name"] = "big"
    big["spec"].update(patient.forest(), parallelism=2)
    reaching = copy.deepcopy(small)
    reaching["metadata"]["name"] = "reaching"
    reaching["spec"].update(REFERENCES["spec.pod.env[].secret"])
    optional = ("createdBy.enabled", "references.check", "userRoles.enabled", "confineOperator.enabled")
    with temporary_namespace(cluster, f"{jobs.namespace}-elsewhere") as elsewhere:
        jobs.apply(patient.code(), big)
        jobs.wait_for("big", half_done)
        try:
            settings = (
                f"watchNamespaces={{{jobs.namespace}}}",
                "people.audience=",
                *(f"{name}=false" for name in optional),
            )
            chart.install(cluster, *settings)
            cluster.apply(small, namespace=elsewhere)
            jobs.apply(reaching)
            jobs.finish("big")
            assert jobs.report_counts("big") == {1: 90}
            failed = jobs.wait_for_failure("reaching")
            assert "spec.pod.env" in failed["message"]

            ours = ("-l", f"app.kubernetes.io/instance={release.name}")
            kinds = ("clusterroles", "clusterrolebindings", "validatingadmissionpolicies")
            assert {kind: cluster.items(kind, *ours) for kind in kinds} == {kind: [] for kind in kinds}
            assert may(cluster, operator, "list", "tuningjobs", namespace=jobs.namespace)
            assert not may(cluster, operator, "list", "tuningjobs", namespace=elsewhere)
            assert cluster.get("networkpolicy", f"{release.name}-workers", namespace=jobs.namespace) is not None
            untouched = cluster.get("tj", "iris-forest", namespace=elsewhere)
            assert untouched is not None
            assert "status" not in untouched
        finally:
            chart.install(cluster)
        # and back: what nobody looked at is run
        TuningJobs(cluster, release, elsewhere).wait_for("iris-forest", is_complete)
        assert cluster.items("roles", *ours, namespace=jobs.namespace) == []
