"""The chart's policy on a real API server: who may create TuningJobs, but no pods, reaches no Secret, claim or account through one."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.admission import a_job, installed, path_of, refusal, rendered
from tests.chart.conftest import Helm, Manifest
from tests.servers.apiserver import ApiServer, Refused

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LOADER = "sklearn.datasets.load_iris"
KEY = {"name": "database", "key": "password"}
# the field that a refusal names: what of the spec names something
REFERENCES: dict[str, dict[str, Any]] = {
    "spec.pod.env[].secret": {"pod": {"env": [{"name": "A", "value": "1"}, {"name": "B", "secret": KEY}]}},
    "spec.pod.volumes[].secret": {"pod": {"volumes": [{"name": "a", "mountPath": "/a", "secret": "database"}]}},
    "spec.pod.volumes[].persistentVolumeClaim": {
        "pod": {
            "volumes": [
                {"name": "a", "mountPath": "/a", "emptyDir": "1Gi"},
                {"name": "b", "mountPath": "/b", "persistentVolumeClaim": "models"},
            ]
        }
    },
    "spec.pod.imagePullSecrets": {"pod": {"imagePullSecrets": ["registry"]}},
    "spec.pod.serviceAccountName": {"pod": {"serviceAccountName": "deployer"}},
    "spec.data.persistentVolumeClaim": {
        "data": {"path": "t.csv", "target": "label", "persistentVolumeClaim": "tables"},
    },
    "spec.code.persistentVolumeClaim": {"code": {"persistentVolumeClaim": "modules"}},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an empty pod": {"pod": {}},
    "empty lists": {"pod": {"env": [], "volumes": [], "imagePullSecrets": []}},
    "values and ConfigMaps": {
        "pod": {
            "env": [{"name": "A", "value": "secret"}, {"name": "B", "configMap": KEY}],
            "volumes": [{"name": "a", "mountPath": "/a", "configMap": "settings"}],
            "priorityClassName": "low",
            "nodeSelector": {"disk": "ssd"},
        }
    },
    "code in a ConfigMap": {"code": {"configMap": "modules"}},
    "code in an archive": {"code": {"url": "https://host/mine.whl", "sha256": "0" * 64}},
    "data in a ConfigMap": {"data": {"path": "t.csv", "target": "label", "configMap": "table"}},
}


def a_secret() -> Manifest:
    return a_job(**REFERENCES["spec.pod.env[].secret"])


@pytest.fixture(scope="module", autouse=True)
def policy(kubernetes: ApiServer, helm: Helm) -> Iterator[None]:
    """Installed for the module."""

    def effect() -> str:
        return "refused" if refusal(kubernetes, a_secret(), user="alice") else ""

    with installed(kubernetes, rendered(helm, "references"), effect, "refused"):
        yield


@pytest.mark.parametrize("field", REFERENCES)
def test_people_who_may_create_no_pods_are_refused_with_the_field(kubernetes: ApiServer, field: str) -> None:
    told = refusal(kubernetes, a_job(**REFERENCES[field]), user="alice")
    assert f"denied request: {field}: must be absent, for alice may not create pods in namespace team" in told
    assert "Leave out what names them, or have somebody who may create pods there create the TuningJob" in told


@pytest.mark.parametrize("field", REFERENCES)
def test_people_who_may_create_pods_are_let_in(kubernetes: ApiServer, field: str) -> None:
    assert refusal(kubernetes, a_job(**REFERENCES[field]), user="carol") == ""


@pytest.mark.parametrize("what", HARMLESS)
def test_what_names_none_of_them_is_everybodys(kubernetes: ApiServer, what: str) -> None:
    assert refusal(kubernetes, a_job(**HARMLESS[what]), user="alice") == ""


def test_all_fields_are_named_at_once(kubernetes: ApiServer) -> None:
    pod = {key: value for change in REFERENCES.values() for key, value in change.get("pod", {}).items()}
    pod["volumes"] = [
        {"name": "a", "mountPath": "/a", "secret": "database"},
        {"name": "b", "mountPath": "/b", "persistentVolumeClaim": "models"},
    ]
    beside = REFERENCES["spec.data.persistentVolumeClaim"] | REFERENCES["spec.code.persistentVolumeClaim"]
    told = refusal(kubernetes, a_job(pod=pod, **beside), user="alice")
    assert f"denied request: {', '.join(REFERENCES)}: must be absent" in told


def test_as_many_as_there_can_be_are_still_refused_and_let_in(kubernetes: ApiServer) -> None:
    """The price of an expression is limited, too."""
    env = [{"name": f"V{number}", "value": "x" * 4096} for number in range(63)] + [{"name": "LAST", "secret": KEY}]
    volumes = [{"name": f"v{number}", "mountPath": f"/v{number}", "secret": "s"} for number in range(16)]
    body = a_job(pod={"env": env, "volumes": volumes})
    assert "spec.pod.env[].secret, spec.pod.volumes[].secret: must be absent" in refusal(kubernetes, body, user="alice")
    assert refusal(kubernetes, body, user="carol") == ""


def test_pods_in_another_namespace_are_no_help(kubernetes: ApiServer) -> None:
    """Carol may create pods in team alone; for TuningJobs elsewhere she is asked about elsewhere."""
    where = "/apis/rbac.authorization.k8s.io/v1/namespaces/other"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "search"}
    rule = {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs"], "verbs": ["create"]}
    kubernetes.create_object(f"{where}/roles", {"metadata": {"name": "search"}, "rules": [rule]})
    subjects = [{"kind": "User", "name": "carol"}]
    binding = {"metadata": {"name": "search"}, "roleRef": reference, "subjects": subjects}
    kubernetes.create_object(f"{where}/rolebindings", binding)
    told = refusal(kubernetes, a_secret(), user="carol", namespace="other")
    assert "for carol may not create pods in namespace other" in told


def test_no_edit_brings_one_in(kubernetes: ApiServer) -> None:
    made = kubernetes.create_object(path_of(), a_job(), user="alice")
    changed = copy.deepcopy(made)
    changed["spec"]["pod"] = REFERENCES["spec.pod.env[].secret"]["pod"]
    # the first of the two: the CRD's own immutability, or this policy
    with pytest.raises(Refused, match=r"must stay as it was created|must be absent, for alice"):
        kubernetes.call("PUT", place_of(made), changed, user="alice")


def test_what_somebody_else_may_reach_is_not_edited_into_something_else(kubernetes: ApiServer) -> None:
    """Carol's may; alice, who may not, changes nothing of what it runs, but its labels, and how far it is scaled."""
    made = kubernetes.create_object(path_of(), a_secret(), user="carol")
    changed = copy.deepcopy(made)
    changed["spec"]["parallelism"] = 3
    with pytest.raises(Refused, match="must be absent, for alice"):
        kubernetes.call("PUT", place_of(made), changed, user="alice")
    labelled = copy.deepcopy(made)
    labelled["metadata"]["labels"] = {"team": "blue"}
    kubernetes.call("PUT", place_of(made), labelled, user="alice")
    scale = kubernetes.call("GET", f"{place_of(made)}/scale", user="alice")
    scale["spec"]["replicas"] = 2
    kubernetes.call("PUT", f"{place_of(made)}/scale", scale, user="alice")
    now = kubernetes.call("GET", place_of(made))
    assert now["spec"]["parallelism"] == 2
    now["spec"]["parallelism"] = 3
    assert kubernetes.call("PUT", place_of(made), now, user="carol")["spec"]["parallelism"] == 3


def test_the_operator_says_how_it_goes_and_deletes_it(kubernetes: ApiServer) -> None:
    """With rights on the status alone: bob stands for it."""
    made = kubernetes.create_object(path_of(), a_secret(), user="carol")
    made["status"] = {"phase": "Running"}
    assert kubernetes.call("PUT", f"{place_of(made)}/status", made, user="bob")["status"] == {"phase": "Running"}
    kubernetes.call("DELETE", place_of(made), user="bob")


def place_of(body: Manifest) -> str:
    return path_of(name=body["metadata"]["name"])
