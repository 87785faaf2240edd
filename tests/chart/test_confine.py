"""The operator's own account on a real API server: what it does it may do, and a thief of its token may do no more."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chart.admission import OPERATOR, a_job, installed, path_of, rendered
from tests.chart.conftest import Helm, Manifest
from tests.operator.world import KEYS, make_settings
from tests.servers.apiserver import ADMIN, ApiServer, Refused
from tuningjob_operator import tokens
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.job import build_job
from tuningjob_operator.decide.owned_objects import ResultFiles, build_results, build_secret

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
WHERE = {
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
}
EVERYTHING: dict[str, Any] = {
    "pod": {
        "env": [{"name": "B", "secret": {"name": "database", "key": "password"}}],
        "volumes": [
            {"name": "a", "mountPath": "/a", "secret": "s"},
            {"name": "b", "mountPath": "/b", "configMap": "c"},
            {"name": "c", "mountPath": "/c", "persistentVolumeClaim": "p"},
            {"name": "d", "mountPath": "/d", "emptyDir": "1Gi"},
        ],
        "serviceAccountName": "reader",
        "imagePullSecrets": ["registry"],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
    "data": {"path": "t.csv", "target": "label", "persistentVolumeClaim": "tables"},
    "code": {"persistentVolumeClaim": "modules"},
}


def send(server: ApiServer, body: Manifest, *, namespace: str = "team", user: str = OPERATOR) -> str:
    """Why it would not be created; empty: it would."""
    body = copy.deepcopy(body)
    body["metadata"]["namespace"] = namespace
    try:
        server.create_object(f"{WHERE[body['kind']].format(namespace)}?dryRun=All", body, user=user)
    except Refused as error:
        return str(json.loads(str(error))["message"])
    return ""


@pytest.fixture(scope="module")
def owner(kubernetes: ApiServer) -> Manifest:
    made: Manifest = kubernetes.create_object(path_of(), a_job(name="forest", **EVERYTHING))
    return made


@pytest.fixture(scope="module")
def job(owner: Manifest) -> Manifest:
    settings = make_settings()
    return build_job(owner, admit(owner, settings), settings)


@pytest.fixture(scope="module", autouse=True)
def policy(kubernetes: ApiServer, helm: Helm) -> Iterator[None]:
    """Installed for the module, with an account that may do in all namespaces what the operator's rules say, and so too much."""
    rule = {"apiGroups": ["", "batch"], "resources": ["jobs", "secrets", "configmaps"], "verbs": ["create", "patch"]}
    kubernetes.create_object(f"{_RBAC}/clusterroles", {"metadata": {"name": "thief"}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "thief"}
    subject = {"kind": "User", "name": OPERATOR}
    kubernetes.create_object(
        f"{_RBAC}/clusterrolebindings", {"metadata": {"name": "thief"}, "roleRef": reference, "subjects": [subject]}
    )
    anything = {"kind": "ConfigMap", "metadata": {"name": "anything"}}

    def effect() -> str:
        told = send(kubernetes, anything)
        return "refused" if "TuningJob controls" in told else told

    with installed(kubernetes, rendered(helm, "confine", "--namespace", "tuningjob-system"), effect, "refused"):
        yield


def test_what_the_operator_makes_is_taken(kubernetes: ApiServer, owner: Manifest, job: Manifest) -> None:
    token = tokens.issue(KEYS, owner["metadata"]["uid"])
    made = (
        job,
        build_secret(owner, token, secret_id=KEYS.ids[0], ca=b"ca"),
        build_results(owner, ResultFiles({"best_params.json": b"{}"})).configmap,
    )
    assert [send(kubernetes, body) for body in made] == ["", "", ""]


def with_pod(**fields: Any) -> Callable[[Manifest], None]:
    return lambda body: body["spec"]["template"]["spec"].update(fields)


def with_container(**fields: Any) -> Callable[[Manifest], None]:
    return lambda body: body["spec"]["template"]["spec"]["containers"][0].update(fields)


def with_volume(**source: Any) -> Callable[[Manifest], None]:
    return lambda body: body["spec"]["template"]["spec"]["volumes"].append({"name": "extra", **source})


def without_owner(body: Manifest) -> None:
    del body["metadata"]["ownerReferences"]


def owned_by_a_pod(body: Manifest) -> None:
    body["metadata"]["ownerReferences"][0] |= {"kind": "Pod", "apiVersion": "v1"}


THEFTS: dict[str, Callable[[Manifest], None]] = {
    "a service account's token": with_pod(automountServiceAccountToken=True),
    "a projected token": with_volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    "the host's files": with_volume(hostPath={"path": "/"}),
    "the host's network": with_pod(hostNetwork=True),
    "the host's processes": with_pod(hostPID=True),
    "the host's memory": with_pod(hostIPC=True),
    "a privilege": with_container(securityContext={"allowPrivilegeEscalation": True}),
    "a capability": with_container(
        securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}
    ),
    "a container of another name": with_pod(
        containers=[
            {"name": "worker", "image": "i", "securityContext": {"allowPrivilegeEscalation": False}},
            {"name": "shell", "image": "i", "securityContext": {"allowPrivilegeEscalation": False}},
        ]
    ),
    "a container before it": with_pod(initContainers=[{"name": "shell", "image": "i"}]),
    "a Job of nobody": without_owner,
    "a Job of something else": owned_by_a_pod,
}


@pytest.mark.parametrize("theft", THEFTS.values(), ids=THEFTS.keys())
def test_a_stolen_token_makes_no_job_with(
    kubernetes: ApiServer, job: Manifest, theft: Callable[[Manifest], None]
) -> None:
    body = copy.deepcopy(job)
    theft(body)
    assert "the operator of TuningJobs makes" in send(kubernetes, body)


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "tuningjob-system"])
def test_a_stolen_token_makes_nothing_in(kubernetes: ApiServer, job: Manifest, namespace: str) -> None:
    told = send(kubernetes, job, namespace=namespace)
    assert f"metadata.namespace: the operator of TuningJobs makes nothing in {namespace}" in told


def test_a_stolen_token_makes_no_secret_but_a_searchs(kubernetes: ApiServer, owner: Manifest) -> None:
    secret = build_secret(owner, "t", secret_id=KEYS.ids[0])
    bootstrap = copy.deepcopy(secret) | {"type": "bootstrap.kubernetes.io/token"}
    renamed = copy.deepcopy(secret)
    renamed["metadata"]["name"] = "database"
    for body in (bootstrap, renamed):
        assert "makes no Secrets but those of searches" in send(kubernetes, body)


def test_nobody_else_places_a_secret_where_the_operator_would_take_it_for_its_own(
    kubernetes: ApiServer, owner: Manifest, job: Manifest
) -> None:
    secret = build_secret(owner, "t", secret_id=KEYS.ids[0])
    told = send(kubernetes, secret, user=ADMIN)
    assert f"is the name of the Secret of a search, which {OPERATOR} alone may create" in told
    secret["metadata"]["name"] = "database"
    assert send(kubernetes, secret, user=ADMIN) == ""
    assert send(kubernetes, job, user=ADMIN, namespace="kube-system") == ""
