"""The chart's admission policies on a real API server, and the people and TuningJobs that they are tried with."""

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tests.cluster.harness.layout import CHART
from tests.servers.apiserver import ApiServer, Manifest, Refused
from tests.yamls import document, documents

GROUP: Final = "admissionregistration.k8s.io"
NAMESPACES: Final = ("team", "other", "tuningjob-system")
PLURALS: Final = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
# the account of the release "tuningjob"
OPERATOR: Final = "system:serviceaccount:tuningjob-system:tuningjob"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_numbers = itertools.count()


def path_of(namespace: str = "team", name: str = "") -> str:
    """Of the TuningJobs of a namespace, or of one."""
    jobs = f"/apis/tuningjob.dev/v1alpha1/namespaces/{namespace}/tuningjobs"
    return f"{jobs}/{name}" if name else jobs


def a_job(*, annotations: Mapping[str, str] | None = None, name: str = "", **spec: Any) -> Manifest:
    """A small one, of a new name."""
    noted = {} if annotations is None else {"annotations": dict(annotations)}
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name or f"job-{next(_numbers)}", **noted},
        "spec": {
            "estimator": {"class": "sklearn.svm.SVC"},
            "search": {"grid": {"parameters": {"C": [1, 2]}}},
            "data": {"loader": "sklearn.datasets.load_iris"},
            **spec,
        },
    }


def prepare(server: ApiServer) -> None:
    """The CRD, namespaces, and in the first of them: alice and bob, who may do anything with TuningJobs, and carol, who may
    create pods besides, as people with the role edit may."""
    crd = document((CHART / "files" / "crds" / "tuningjobs.yaml").read_text(encoding="utf-8"))
    server.create_object("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    for namespace in NAMESPACES:
        server.create_object("/api/v1/namespaces", {"metadata": {"name": namespace}})
    jobs = {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs", "tuningjobs/status", "tuningjobs/scale"]}
    grant(server, "team", "search", {**jobs, "verbs": ["*"]}, "alice", "bob", "carol")
    grant(server, "team", "run", {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}, "carol")
    until(lambda: bool(server.call("GET", path_of(), user="bob")))


def grant(server: ApiServer, namespace: str, name: str, rule: Manifest, *users: str) -> None:
    """A Role of one rule, for these users."""
    where = f"{_RBAC}/namespaces/{namespace}"
    server.create_object(f"{where}/roles", {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    people = [{"kind": "User", "name": user} for user in users]
    server.create_object(
        f"{where}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": people}
    )


def rendered(helm: Callable[..., "subprocess.CompletedProcess[str]"], name: str, *words: str) -> list[Manifest]:
    """The policies of the chart whose name ends so, and their bindings."""
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", *words)
    assert result.returncode == 0, result.stderr
    return [
        found
        for found in documents(result.stdout)
        if found["kind"] in PLURALS and found["metadata"]["name"] == f"tuningjob-{name}"
    ]


@contextmanager
def installed(server: ApiServer, objects: list[Manifest], effect: Callable[[], str], want: str) -> Iterator[None]:
    """From when they have the effect, which is a moment after they are there, to when there is none ("") any more."""
    for found in objects:
        server.create_object(f"/apis/{found['apiVersion']}/{PLURALS[found['kind']]}", found)
    try:
        until(lambda: effect() == want)
        yield
    finally:
        for found in reversed(objects):
            server.call("DELETE", f"/apis/{found['apiVersion']}/{PLURALS[found['kind']]}/{found['metadata']['name']}")
        until(lambda: effect() == "")


def try_to_create(server: ApiServer, body: Manifest, *, user: str, namespace: str = "team") -> Manifest:
    """What would be stored, without storing it. Raises Refused."""
    return server.create_object(f"{path_of(namespace)}?dryRun=All", body, user=user)


def refusal(server: ApiServer, body: Manifest, *, user: str, namespace: str = "team") -> str:
    """Why it would not be stored; empty: it would."""
    try:
        try_to_create(server, body, user=user, namespace=namespace)
    except Refused as error:
        return str(json.loads(str(error))["message"])
    return ""


def until(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
    """What the API server learns by its own watches is there a moment later."""
    deadline = time.monotonic() + seconds
    while not _told(is_so):
        assert time.monotonic() < deadline, "not there in time"
        time.sleep(0.05)


def _told(is_so: Callable[[], bool]) -> bool:
    try:
        return is_so()
    except Refused:
        return False
