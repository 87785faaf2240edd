"""People's tokens and rights on a real API server: what kubectl would be let do, this service lets do."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import NOON, Pod, a_preflight, a_search, an_answer
from tests.operator.process import prepare
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer
from tests.service.server import Service
from tests.service.test_api import detail
from tuningjob.live.story import ObjectStory
from tuningjob.manifest.status import Condition
from tuningjob_operator.decide.owned_objects import build_event
from tuningjob_operator.service import identity
from tuningjob_operator.service.api_server import ApiServer as Address
from tuningjob_operator.service.identity import KubernetesPeople
from tuningjob_operator.service.stories import PAUSE_SECONDS, ObjectName

pytestmark = pytest.mark.slow

MODELS = "/v1/namespaces/team/models"
JOBS = "/apis/tuningjob.dev/v1alpha1/namespaces/team/tuningjobs"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[ApiServer]:
    """Alice may edit TuningJobs of team, Bob and the service account ``serving`` read them, Carol nothing."""
    with apiserver.running("alice", "bob", "carol") as server:
        prepare(server, "team", "other")
        server.create_object("/api/v1/namespaces/team/serviceaccounts", {"metadata": {"name": "serving"}})
        user, account = {"kind": "User"}, {"kind": "ServiceAccount", "namespace": "team"}
        grant(server, "edit", ["get", "update"], {**user, "name": "alice"})
        grant(server, "view", ["get"], {**user, "name": "bob"}, {**account, "name": "serving"})
        yield server


def grant(server: ApiServer, name: str, verbs: list[str], *subjects: dict[str, str]) -> None:
    where = f"{RBAC}/namespaces/team"
    rule = {"apiGroups": ["tuningjob.dev"], "resources": ["tuningjobs"], "verbs": verbs}
    server.create_object(f"{where}/roles", {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": list(subjects)}
    server.create_object(f"{where}/rolebindings", binding)


@pytest.fixture(scope="module")
def service(kubernetes: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    address = Address(kubernetes.url, kubernetes.ca_file)
    service = Service(tmp_path_factory.mktemp("service"), persons=lambda: KubernetesPeople(address))
    service.journal.open_search(a_search())
    view = service.journal.view("search-a")
    view.set_preflight(a_preflight())
    Pod(view).work()
    view.complete(an_answer())
    service.start()
    yield service
    service.close()


def ask(service: Service, token: str, method: str, path: str, body: Any = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, service.url + path, json=body, headers=headers, trust_env=False, timeout=60)


def token_of_account(kubernetes: ApiServer, name: str, **spec: Any) -> str:
    """A service account's token, as a pod is given one."""
    path = f"/api/v1/namespaces/team/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    told: str = kubernetes.create_object(path, request)["status"]["token"]
    return told


def test_people_who_may_update_tuningjobs_bless_under_their_own_name(kubernetes: ApiServer, service: Service) -> None:
    made = ask(service, kubernetes.token_of("alice"), "POST", f"{MODELS}/forest/bless", {"version": 1})
    assert (made.status_code, made.json()["who"]) == (200, "alice")


def test_people_who_may_only_get_them_read(kubernetes: ApiServer, service: Service) -> None:
    token = kubernetes.token_of("bob")
    assert ask(service, token, "GET", MODELS).json() == {"models": ["forest"]}
    refused = ask(service, token, "POST", f"{MODELS}/forest/bless", {"version": 1})
    assert refused.status_code == 403
    assert detail(refused) == "bob must be allowed to update tuningjobs.tuningjob.dev in namespace team, but is not."


def test_people_who_may_do_nothing_are_told_so(kubernetes: ApiServer, service: Service) -> None:
    refused = ask(service, kubernetes.token_of("carol"), "GET", MODELS)
    assert refused.status_code == 403
    assert detail(refused).startswith("carol must be allowed to get tuningjobs.tuningjob.dev in namespace team")


def test_rights_in_one_namespace_are_none_in_another(kubernetes: ApiServer, service: Service) -> None:
    for namespace in ("other", "kube-system", "not-there"):
        assert (
            ask(service, kubernetes.token_of("alice"), "GET", f"/v1/namespaces/{namespace}/models").status_code == 403
        )


def test_the_administrator_may_everywhere(kubernetes: ApiServer, service: Service) -> None:
    assert ask(service, kubernetes.token_of(apiserver.ADMIN), "GET", "/v1/namespaces/other/models").status_code == 200


def test_a_serving_process_polls_with_its_service_accounts_token(kubernetes: ApiServer, service: Service) -> None:
    service.journal.audit.bless(namespace="team", model_key="forest", version=1, who="root")
    token = token_of_account(kubernetes, "serving")
    first = ask(service, token, "GET", f"{MODELS}/forest/params")
    assert first.status_code == 200
    headers = {"Authorization": f"Bearer {token}", "If-None-Match": first.headers["etag"]}
    again = httpx.get(f"{service.url}{MODELS}/forest/params", headers=headers, trust_env=False, timeout=60)
    assert again.status_code == 304


def test_a_token_for_another_audience_is_nobodys_here(kubernetes: ApiServer, service: Service) -> None:
    token = token_of_account(kubernetes, "serving", audiences=["https://elsewhere"])
    assert ask(service, token, "GET", MODELS).status_code == 401


def test_a_token_that_the_api_server_does_not_know_is_refused(service: Service) -> None:
    refused = ask(service, "not-a-token", "GET", MODELS)
    assert refused.status_code == 401
    assert detail(refused) == "The token must be one that this cluster's API server takes, but it did not."


def test_a_deleted_accounts_token_is_worth_nothing(kubernetes: ApiServer, service: Service) -> None:
    kubernetes.create_object("/api/v1/namespaces/team/serviceaccounts", {"metadata": {"name": "leaver"}})
    token = token_of_account(kubernetes, "leaver")
    kubernetes.call("DELETE", "/api/v1/namespaces/team/serviceaccounts/leaver")
    assert ask(service, token, "GET", MODELS).status_code == 401


async def told(people: KubernetesPeople, token: str, name: ObjectName) -> ObjectStory:
    """The story, once it has come."""
    for _ in range(60):  # each waits for a second at the most
        story = await people.story(token, name)
        if story is not None:
            return story
    raise AssertionError("no story came")


async def test_a_tuningjobs_conditions_and_events_are_read_with_the_right_of_who_looks(kubernetes: ApiServer) -> None:
    name = await asyncio.to_thread(a_tuningjob_that_runs, kubernetes)
    admin, bob, carol = (kubernetes.token_of(user) for user in (apiserver.ADMIN, "bob", "carol"))
    now = 0.0
    people = KubernetesPeople(Address(kubernetes.url, kubernetes.ca_file), clock=lambda: now)
    try:
        story = await told(people, admin, name)
        assert (story.phase, story.why, story.is_over, story.missing) == ("Running", "as asked", False, ())
        assert story.plan == "2 pods; 1 of them now, 2 CPU and 1Gi of memory each: 2 processes of 1 thread in a pod."
        assert [(each.type, each.status, each.reason, each.message) for each in story.conditions] == [
            ("Admitted", "True", "WithinLimits", "45 fits")
        ]
        assert [(each.reason, each.message, each.is_warning) for each in story.events] == [
            ("WithinLimits", "45 fits", False)
        ]
        # Bob may get TuningJobs, and no Events; Carol neither
        bobs, carols = await told(people, bob, name), await told(people, carol, name)
        assert (len(bobs.conditions), bobs.events) == (1, ())
        assert bobs.missing == ("Events are not shown, because you may not list events in namespace team.",)
        assert (carols.phase, carols.conditions, len(carols.missing)) == ("", (), 1)
        # a later one of the same name is another
        other = await told(people, bob, replace(name, uid="another"))
        assert (other.is_over, other.missing) == (True, ("The TuningJob is no longer on the cluster.",))
        await asyncio.to_thread(kubernetes.call, "DELETE", f"{JOBS}/{name.name}")
        assert (await told(people, bob, name)) == bobs, "what was read a moment ago"
        now = PAUSE_SECONDS
        assert (await told(people, bob, name)).missing == other.missing
    finally:
        await people.close()


def a_tuningjob_that_runs(kubernetes: ApiServer) -> ObjectName:
    """With a plan, a condition and the Event of it, as the operator writes them."""
    spec = {
        "estimator": {"class": "sklearn.svm.SVC"},
        "search": {"grid": {"parameters": {"C": [1, 2]}}},
        "data": {"loader": "sklearn.datasets.load_iris"},
    }
    kind = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob"}
    made = kubernetes.create_object(JOBS, {**kind, "metadata": {"name": "forest"}, "spec": spec})
    condition = Condition(
        type="Admitted",
        status="True",
        reason="WithinLimits",
        message="45 fits",
        last_transition_time="2026-03-01T12:00:00Z",
    )
    plan = {"pods": 2, "nJobs": 2, "innerThreads": 1, "cpu": "2", "memory": "1Gi", "reason": "as asked"}
    conditions = [condition.model_dump(by_alias=True)]
    status = {"phase": "Running", "conditions": conditions, "plan": plan, "activePods": 1}
    kubernetes.call("PUT", f"{JOBS}/forest/status", {**made, "status": status})
    kubernetes.create_object("/api/v1/namespaces/team/events", build_event(made, condition, NOON))
    return ObjectName("team", "forest", made["metadata"]["uid"])


async def test_all_namespaces_are_listed_to_who_may_see_them_all_and_else_those_that_one_may_see(
    kubernetes: ApiServer,
) -> None:
    people = KubernetesPeople(Address(kubernetes.url, kubernetes.ca_file))
    among = ["other", "team", "kube-system"]
    try:
        assert await people.namespaces(kubernetes.token_of(apiserver.ADMIN), among) is None
        assert await people.namespaces(kubernetes.token_of("bob"), among) == frozenset({"team"})
        assert await people.namespaces(kubernetes.token_of("carol"), among) == frozenset()
        with pytest.raises(identity.PersonRefused):
            await people.namespaces("not-a-token", among)
    finally:
        await people.close()


async def test_a_right_that_is_taken_away_ends_once_the_yes_is_forgotten(kubernetes: ApiServer) -> None:
    now = 0.0
    people = KubernetesPeople(Address(kubernetes.url, kubernetes.ca_file), clock=lambda: now)
    token = kubernetes.token_of("carol")
    await asyncio.to_thread(grant, kubernetes, "brief", ["get"], {"kind": "User", "name": "carol"})
    try:
        await _until_allowed(people, token)
        where = f"{RBAC}/namespaces/team/rolebindings/brief"
        await asyncio.to_thread(kubernetes.call, "DELETE", where)
        assert await people.name(token, verb="get", namespace="team") == "carol"
        for _ in range(100):  # the API server's own authorizer follows its watch
            now += identity.YES_SECONDS
            if not await _is_allowed(people, token):
                return
            await asyncio.sleep(0.05)
        pytest.fail("the right was never taken away")
    finally:
        await people.close()


async def _until_allowed(people: KubernetesPeople, token: str) -> None:
    for _ in range(100):
        people._verdicts.clear()
        if await _is_allowed(people, token):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the right was never given")


async def _is_allowed(people: KubernetesPeople, token: str) -> bool:
    try:
        await people.name(token, verb="get", namespace="team")
    except identity.PersonRefused:
        return False
    return True


async def test_an_api_server_that_another_authority_has_signed_is_not_shown_a_token(kubernetes: ApiServer) -> None:
    people = KubernetesPeople(Address(kubernetes.url, None))  # what this system trusts: not the test's own authority
    with pytest.raises(identity.IdentityUnavailable, match="certificate"):
        await people.name(kubernetes.token_of("alice"), verb="get", namespace="team")
    await people.close()


def test_while_the_api_server_is_away_people_are_asked_to_come_again_and_then_are_known_again(
    kubernetes: ApiServer, tmp_path: Path
) -> None:
    address = Address(kubernetes.url, kubernetes.ca_file)
    service = Service(tmp_path, persons=lambda: KubernetesPeople(address))
    service.journal.open_search(a_search())
    service.start()
    try:
        admin = kubernetes.token_of(apiserver.ADMIN)
        assert ask(service, admin, "GET", MODELS).status_code == 200
        kubernetes.stop()
        try:
            assert ask(service, admin, "GET", MODELS).status_code == 200  # remembered
            away = ask(service, kubernetes.token_of("carol"), "GET", MODELS)
            assert away.status_code == 503
            assert detail(away).startswith("The Kubernetes API server must say who this is, but got: ")
            with service.client() as worker:
                assert worker.search().id == "search-a"
        finally:
            kubernetes.start()
        assert ask(service, kubernetes.token_of("carol"), "GET", MODELS).status_code == 403
    finally:
        service.close()
