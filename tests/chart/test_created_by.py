"""The admission policies of the chart on a real API server: who created a TuningJob is what the API server knows, and stays so."""

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.chart.conftest import CHART, Helm, Manifest
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Refused
from tuningjob_operator.names import ANNOTATION_CREATED_BY

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

GROUP = "admissionregistration.k8s.io"
JOBS = "/apis/tuningjob.dev/v1alpha1/namespaces/team/tuningjobs"
PLURALS = {
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
_numbers = itertools.count()


def policies(helm: Helm, *, mutating: bool) -> list[Manifest]:
    has = [f"--api-versions={GROUP}/v1beta1/MutatingAdmissionPolicy"] if mutating else []
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", *has)
    assert result.returncode == 0, result.stderr
    return [found for found in yaml.safe_load_all(result.stdout) if found and found["kind"] in PLURALS]


@contextmanager
def installed(server: ApiServer, objects: list[Manifest]) -> Iterator[None]:
    """From when they are in force, which is a moment after they are there, to when they are not any more."""
    for found in objects:
        server.create_object(f"/apis/{found['apiVersion']}/{PLURALS[found['kind']]}", found)
    is_noted = any(found["kind"] == "MutatingAdmissionPolicy" for found in objects)
    try:
        _until(
            lambda: not is_allowed(server, told="nobody") if not is_noted else created(server, told="nobody") == "alice"
        )
        yield
    finally:
        for found in reversed(objects):
            server.call("DELETE", f"/apis/{found['apiVersion']}/{PLURALS[found['kind']]}/{found['metadata']['name']}")
        _until(lambda: is_allowed(server, told="nobody") and created(server, told="nobody") == "nobody")


def created(server: ApiServer, *, told: str) -> str | None:
    """Whose a TuningJob would be if alice made one now."""
    return creator(server.create_object(f"{JOBS}?dryRun=All", a_job(told), user="alice"))


def is_allowed(server: ApiServer, *, told: str) -> bool:
    try:
        created(server, told=told)
    except Refused:
        return False
    return True


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """With the CRD, and two people who may do anything with TuningJobs of the namespace team."""
    with apiserver.running("alice", "bob") as server:
        crd = yaml.safe_load((CHART / "files" / "crds" / "tuningjobs.yaml").read_text(encoding="utf-8"))
        server.create_object("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        server.create_object("/api/v1/namespaces", {"metadata": {"name": "team"}})
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team"
        rule = {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs", "tuningjobs/status"], "verbs": ["*"]}
        server.create_object(f"{rbac}/roles", {"metadata": {"name": "edit"}, "rules": [rule]})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "edit"}
        people = [{"kind": "User", "name": name} for name in ("alice", "bob")]
        binding = {"metadata": {"name": "edit"}, "roleRef": reference, "subjects": people}
        server.create_object(f"{rbac}/rolebindings", binding)
        _until(lambda: bool(server.call("GET", JOBS, user="bob")))
        server.create_object(JOBS, a_job(name="older"), user="alice")
        yield server


def _until(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
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


@pytest.fixture(scope="module", params=[True, False], ids=["with mutating policies", "without"])
def noted(request: pytest.FixtureRequest, server: ApiServer, helm: Helm) -> Iterator[bool]:
    """The policies, installed; whether the API server itself notes the name."""
    is_noted: bool = request.param
    with installed(server, policies(helm, mutating=is_noted)):
        yield is_noted


def a_job(told: str | None = None, *, name: str = "") -> Manifest:
    annotations = {} if told is None else {"annotations": {ANNOTATION_CREATED_BY: told}}
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name or f"job-{next(_numbers)}", **annotations},
        "spec": {
            "estimator": {"class": "sklearn.svm.SVC"},
            "search": {"grid": {"parameters": {"C": [1, 2]}}},
            "data": {"loader": "sklearn.datasets.load_iris"},
        },
    }


def creator(body: Manifest) -> str | None:
    told: dict[str, str] = body["metadata"].get("annotations", {})
    return told.get(ANNOTATION_CREATED_BY)


def path_of(body: Manifest) -> str:
    return f"{JOBS}/{body['metadata']['name']}"


def test_the_creator_is_noted_where_the_cluster_can(server: ApiServer, *, noted: bool) -> None:
    made = server.create_object(JOBS, a_job(), user="alice")
    assert creator(made) == ("alice" if noted else None)


@pytest.mark.usefixtures("noted")
def test_ones_own_name_may_be_written(server: ApiServer) -> None:
    assert creator(server.create_object(JOBS, a_job("alice"), user="alice")) == "alice"


def test_another_name_is_never_kept(server: ApiServer, *, noted: bool) -> None:
    if noted:  # what the manifest says is written over
        assert creator(server.create_object(JOBS, a_job("alice"), user="bob")) == "bob"
        return
    with pytest.raises(
        Refused, match=r"must be the name of who creates the TuningJob \(bob\) or absent, but got alice"
    ) as no:
        server.create_object(JOBS, a_job("alice"), user="bob")
    assert no.value.status == 403


@pytest.mark.usefixtures("noted")
def test_whoever_changes_it_later_is_not_its_creator(server: ApiServer) -> None:
    made = server.create_object(JOBS, a_job("alice"), user="alice")
    changed = copy.deepcopy(made)
    changed["metadata"]["labels"] = {"team": "blue"}
    changed = server.call("PUT", path_of(made), changed, user="bob")
    assert creator(changed) == "alice"


def test_the_name_may_not_be_changed_by_anybody(server: ApiServer, *, noted: bool) -> None:
    made = server.create_object(JOBS, a_job("alice"), user="alice")
    for user in ("alice", "bob", apiserver.ADMIN):
        changed = copy.deepcopy(server.call("GET", path_of(made)))
        changed["metadata"]["annotations"][ANNOTATION_CREATED_BY] = user
        if noted or user == "alice":
            assert creator(server.call("PUT", path_of(made), changed, user=user)) == "alice"
        else:
            with pytest.raises(Refused, match=r"must stay what it was when the TuningJob was created \(alice\)"):
                server.call("PUT", path_of(made), changed, user=user)
    assert creator(server.call("GET", path_of(made))) == "alice"


def test_a_manifest_that_is_replaced_without_it_keeps_it_where_the_cluster_can(
    server: ApiServer, *, noted: bool
) -> None:
    made = server.create_object(JOBS, a_job("alice"), user="alice")
    bare = copy.deepcopy(made)
    del bare["metadata"]["annotations"]
    if noted:
        assert creator(server.call("PUT", path_of(made), bare, user="bob")) == "alice"
        return
    with pytest.raises(Refused, match="must stay what it was"):
        server.call("PUT", path_of(made), bare, user="bob")


@pytest.mark.usefixtures("noted")
def test_one_that_came_before_the_policies_is_nobodys(server: ApiServer) -> None:
    older = server.call("GET", f"{JOBS}/older")
    older["metadata"]["labels"] = {"changed-by": f"bob-{next(_numbers)}"}
    older = server.call("PUT", path_of(older), older, user="bob")
    assert creator(older) is None
    older["metadata"]["annotations"] = {ANNOTATION_CREATED_BY: "bob"}
    with pytest.raises(Refused, match=r"must stay what it was when the TuningJob was created \(\), but got bob"):
        server.call("PUT", path_of(older), older, user="bob")


@pytest.mark.usefixtures("noted")
def test_the_status_is_written_as_ever(server: ApiServer) -> None:
    made = server.create_object(JOBS, a_job("alice"), user="alice")
    made["status"] = {"phase": "Running"}
    written = server.call("PUT", f"{path_of(made)}/status", made)
    assert (written["status"]["phase"], creator(written)) == ("Running", "alice")


@pytest.mark.usefixtures("noted")
def test_deleting_asks_nobody(server: ApiServer) -> None:
    made = server.create_object(JOBS, a_job("alice"), user="alice")
    server.call("DELETE", path_of(made), user="bob")
    with pytest.raises(Refused, match="not found"):
        server.call("GET", path_of(made))
