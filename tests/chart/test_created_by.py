"""The admission policies of the chart on a real API server: who created a TuningJob is what the API server knows, and stays so."""

import copy
import itertools
from collections.abc import Iterator

import pytest

from tests.chart import admission
from tests.chart.admission import GROUP, installed, path_of, rendered, try_to_create
from tests.chart.conftest import Helm, Manifest
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Refused
from tuningjob_operator.names import ANNOTATION_CREATED_BY

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

_numbers = itertools.count()


def policies(helm: Helm, *, mutating: bool) -> list[Manifest]:
    has = [f"--api-versions={GROUP}/v1beta1/MutatingAdmissionPolicy"] if mutating else []
    return rendered(helm, "created-by", *has)


def effect(server: ApiServer) -> str:
    """Of saying that alice's TuningJob was made by somebody else: of both policies, each of which comes and goes on its own."""
    return " and ".join(filter(None, (effect_at_creation(server), effect_later(server))))


def effect_at_creation(server: ApiServer) -> str:
    try:
        kept = creator(try_to_create(server, a_job("nobody"), user="alice"))
    except Refused:
        return "refused"
    return "corrected" if kept == "alice" else ""


def effect_later(server: ApiServer) -> str:
    older = server.call("GET", path_of(name="older"))
    older["metadata"]["annotations"] = {ANNOTATION_CREATED_BY: "nobody"}
    try:
        server.call("PUT", f"{place_of(older)}?dryRun=All", older, user="bob")
    except Refused as error:
        # a conflict tells nothing of the policies
        return "held" if error.status == 403 else "unknown"
    return ""


@pytest.fixture(scope="module")
def server(kubernetes: ApiServer) -> ApiServer:
    """With a TuningJob that came before the policies."""
    kubernetes.create_object(path_of(), a_job(name="older"), user="alice")
    return kubernetes


@pytest.fixture(scope="module", params=[True, False], ids=["with mutating policies", "without"])
def noted(request: pytest.FixtureRequest, server: ApiServer, helm: Helm) -> Iterator[bool]:
    """The policies, installed; whether the API server itself notes the name."""
    is_noted: bool = request.param
    want = "corrected and held" if is_noted else "refused and held"
    with installed(server, policies(helm, mutating=is_noted), lambda: effect(server), want):
        yield is_noted


def a_job(told: str | None = None, *, name: str = "") -> Manifest:
    annotations = None if told is None else {ANNOTATION_CREATED_BY: told}
    return admission.a_job(annotations=annotations, name=name)


def creator(body: Manifest) -> str | None:
    told: dict[str, str] = body["metadata"].get("annotations", {})
    return told.get(ANNOTATION_CREATED_BY)


def place_of(body: Manifest) -> str:
    return path_of(name=body["metadata"]["name"])


def test_the_creator_is_noted_where_the_cluster_can(server: ApiServer, *, noted: bool) -> None:
    made = server.create_object(path_of(), a_job(), user="alice")
    assert creator(made) == ("alice" if noted else None)


@pytest.mark.usefixtures("noted")
def test_ones_own_name_may_be_written(server: ApiServer) -> None:
    assert creator(server.create_object(path_of(), a_job("alice"), user="alice")) == "alice"


def test_another_name_is_never_kept(server: ApiServer, *, noted: bool) -> None:
    if noted:  # what the manifest says is written over
        assert creator(server.create_object(path_of(), a_job("alice"), user="bob")) == "bob"
        return
    with pytest.raises(
        Refused, match=r"must be the name of who creates the TuningJob \(bob\) or absent, but got alice"
    ) as no:
        server.create_object(path_of(), a_job("alice"), user="bob")
    assert no.value.status == 403


@pytest.mark.usefixtures("noted")
def test_the_person_who_changes_it_later_is_not_its_creator(server: ApiServer) -> None:
    made = server.create_object(path_of(), a_job("alice"), user="alice")
    changed = copy.deepcopy(made)
    changed["metadata"]["labels"] = {"team": "blue"}
    changed = server.call("PUT", place_of(made), changed, user="bob")
    assert creator(changed) == "alice"


def test_the_name_may_not_be_changed_by_anybody(server: ApiServer, *, noted: bool) -> None:
    made = server.create_object(path_of(), a_job("alice"), user="alice")
    for user in ("alice", "bob", apiserver.ADMIN):
        changed = copy.deepcopy(server.call("GET", place_of(made)))
        changed["metadata"]["annotations"][ANNOTATION_CREATED_BY] = user
        if noted or user == "alice":
            assert creator(server.call("PUT", place_of(made), changed, user=user)) == "alice"
        else:
            with pytest.raises(Refused, match=r"must stay what it was when the TuningJob was created \(alice\)"):
                server.call("PUT", place_of(made), changed, user=user)
    assert creator(server.call("GET", place_of(made))) == "alice"


def test_a_manifest_that_is_replaced_without_it_keeps_it_where_the_cluster_can(
    server: ApiServer, *, noted: bool
) -> None:
    made = server.create_object(path_of(), a_job("alice"), user="alice")
    bare = copy.deepcopy(made)
    del bare["metadata"]["annotations"]
    if noted:
        assert creator(server.call("PUT", place_of(made), bare, user="bob")) == "alice"
        return
    with pytest.raises(Refused, match="must stay what it was"):
        server.call("PUT", place_of(made), bare, user="bob")


@pytest.mark.usefixtures("noted")
def test_one_that_came_before_the_policies_is_nobodys(server: ApiServer) -> None:
    older = server.call("GET", path_of(name="older"))
    older["metadata"]["labels"] = {"changed-by": f"bob-{next(_numbers)}"}
    older = server.call("PUT", place_of(older), older, user="bob")
    assert creator(older) is None
    older["metadata"]["annotations"] = {ANNOTATION_CREATED_BY: "bob"}
    with pytest.raises(Refused, match=r"must stay what it was when the TuningJob was created \(\), but got bob"):
        server.call("PUT", place_of(older), older, user="bob")


@pytest.mark.usefixtures("noted")
def test_the_status_is_written_as_ever(server: ApiServer) -> None:
    made = server.create_object(path_of(), a_job("alice"), user="alice")
    made["status"] = {"phase": "Running"}
    written = server.call("PUT", f"{place_of(made)}/status", made)
    assert (written["status"]["phase"], creator(written)) == ("Running", "alice")


@pytest.mark.usefixtures("noted")
def test_deleting_asks_nobody(server: ApiServer) -> None:
    made = server.create_object(path_of(), a_job("alice"), user="alice")
    server.call("DELETE", place_of(made), user="bob")
    with pytest.raises(Refused, match="not found"):
        server.call("GET", place_of(made))
