"""Tokens of an audience of our own, on a real API server: good for this service, and for nothing else."""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer
from tests.service.server import Service
from tests.service.test_api import detail
from tests.service.test_kubernetes import MODELS, RBAC, ask, grant, token_of_account
from tuningjob_operator.service.api_server import ApiServer as Address
from tuningjob_operator.service.identity import Audience, KubernetesPeople, find_audience

OURS = "tuningjob"
ACCOUNTS = "/api/v1/namespaces/team/serviceaccounts"
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[ApiServer]:
    """The service account ``serving`` may get TuningJobs of team, ``editing`` update them; ``reviewer`` is the chart's."""
    with apiserver.running() as server:
        server.create_object("/api/v1/namespaces", {"metadata": {"name": "team"}})
        for name in ("serving", "editing", "reviewer", "powerless"):
            server.create_object(ACCOUNTS, {"metadata": {"name": name}})
        account = {"kind": "ServiceAccount", "namespace": "team"}
        grant(server, "view", ["get"], {**account, "name": "serving"})
        grant(server, "edit", ["get", "update"], {**account, "name": "editing"})
        rules = [
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ]
        server.create_object(f"{RBAC}/clusterroles", {"metadata": {"name": "reviewer"}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reviewer"}
        subjects = [{**account, "name": "reviewer"}]
        binding = {"metadata": {"name": "reviewer"}, "roleRef": role, "subjects": subjects}
        server.create_object(f"{RBAC}/clusterrolebindings", binding)
        yield server


@pytest.fixture
def started(kubernetes: ApiServer, tmp_path: Path) -> Iterator[Start]:
    """A service that has one model, and reviews with the token in ``reviewer`` below ``tmp_path``."""
    services: list[Service] = []
    file = tmp_path / "reviewer"
    file.write_text(token_of_account(kubernetes, "reviewer"))

    def start(*, is_required: bool = False) -> Service:
        address, audience = Address(kubernetes.url, kubernetes.ca_file), Audience(OURS, file, is_required=is_required)
        service = Service(tmp_path / "service", persons=lambda: KubernetesPeople(address, audience=audience))
        services.append(service)
        service.journal.open_search(a_search())
        view = service.journal.view("search-a")
        view.set_preflight(a_preflight())
        Pod(view).work()
        view.complete(an_answer())
        service.start()
        return service

    yield start
    for service in services:
        service.close()


@pytest.mark.slow
def test_it_opens_what_its_owner_may_and_the_api_server_does_not_take_it(kubernetes: ApiServer, started: Start) -> None:
    service = started()
    serving, editing = (token_of_account(kubernetes, name, audiences=[OURS]) for name in ("serving", "editing"))
    assert ask(service, serving, "GET", MODELS).json() == {"models": ["forest"]}
    refused = ask(service, serving, "POST", f"{MODELS}/forest/bless", {"version": 1})
    assert refused.status_code == 403
    assert detail(refused).startswith("system:serviceaccount:team:serving must be allowed to update tuningjobs")
    made = ask(service, editing, "POST", f"{MODELS}/forest/bless", {"version": 1})
    assert (made.status_code, made.json()["who"]) == (200, "system:serviceaccount:team:editing")
    assert ask(service, editing, "GET", "/v1/namespaces/other/models").status_code == 403

    # a thief who caught it on its way could do nothing else with it
    context = ssl.create_default_context(cafile=str(kubernetes.ca_file))
    headers = {"Authorization": f"Bearer {editing}"}
    told = httpx.get(f"{kubernetes.url}{ACCOUNTS}", headers=headers, verify=context, trust_env=False, timeout=60)
    assert told.status_code == 401


@pytest.mark.slow
def test_tokens_that_the_api_server_takes_are_taken_as_well_unless_they_are_not_to_be(
    kubernetes: ApiServer, started: Start
) -> None:
    clusters, ours = (
        token_of_account(kubernetes, "serving", **spec) for spec in ({}, {"audiences": ["elsewhere", OURS]})
    )
    service = started()
    assert [ask(service, token, "GET", MODELS).status_code for token in (clusters, ours)] == [200, 200]
    service.close()

    strict = started(is_required=True)
    refused = ask(strict, clusters, "GET", MODELS)
    assert refused.status_code == 401
    assert detail(refused) == (
        "The token must be of the audience tuningjob, but got another. Try `kubectl create token SERVICEACCOUNT --audience tuningjob`."
    )
    assert ask(strict, kubernetes.token_of(apiserver.ADMIN), "GET", MODELS).status_code == 401
    assert ask(strict, ours, "GET", MODELS).status_code == 200


@pytest.mark.slow
def test_one_that_only_says_to_be_of_it_is_nobodys(kubernetes: ApiServer, started: Start) -> None:
    service = started()
    ours, other = (token_of_account(kubernetes, "editing", audiences=[name]) for name in (OURS, "elsewhere"))
    head, payload, signature = ours.split(".")
    stranger = json.dumps({"aud": [OURS], "sub": "system:serviceaccount:team:editing"}).encode()
    forged = base64.urlsafe_b64encode(stranger).rstrip(b"=").decode()
    for token in (
        f"{head}.{forged}.{signature}",
        f"{head}.{payload}.{other.split('.')[2]}",
        f"{other.split('.')[0]}.{payload}.",
    ):
        refused = ask(service, token, "GET", MODELS)
        assert refused.status_code == 401
        assert "must be one of the audience tuningjob that is good" in detail(refused)
    assert ask(service, other, "GET", MODELS).status_code == 401
    # of an account that is gone
    kubernetes.create_object(ACCOUNTS, {"metadata": {"name": "leaver"}})
    token = token_of_account(kubernetes, "leaver", audiences=[OURS])
    kubernetes.call("DELETE", f"{ACCOUNTS}/leaver")
    assert ask(service, token, "GET", MODELS).status_code == 401


@pytest.mark.slow
def test_without_the_right_to_review_nobody_can_tell_until_it_is_there(
    kubernetes: ApiServer, started: Start, tmp_path: Path
) -> None:
    service, file = started(), tmp_path / "reviewer"
    token, good = token_of_account(kubernetes, "serving", audiences=[OURS]), file.read_text()
    for bad, said in ((None, "no token to review others with"), ("powerless", "no right to create TokenReviews")):
        file.unlink(missing_ok=True)
        if bad is not None:
            file.write_text(token_of_account(kubernetes, bad))
        away = ask(service, token, "GET", MODELS)
        assert away.status_code == 503
        assert said in detail(away)
    # who brings a token of the API server's needs none of that
    assert ask(service, kubernetes.token_of(apiserver.ADMIN), "GET", MODELS).status_code == 200
    file.write_text(good)
    assert ask(service, token, "GET", MODELS).status_code == 200


# --- the audience that a token says to be of -------------------------------------------------------------------------

AUDIENCE = Audience(OURS, Path("nowhere"))


def a_token(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{payload}.c2lnbmF0dXJl"


@pytest.mark.slow
@given(others=st.lists(st.text()), place=st.integers(0, 3), is_there=st.booleans())
def test_it_is_read_from_wherever_a_token_has_it(others: list[str], place: int, is_there: bool) -> None:
    told = [each for each in others if each != OURS]
    if is_there:
        told.insert(place, OURS)
    assert AUDIENCE.is_of(a_token({"aud": told})) is is_there
    if len(told) == 1:
        assert AUDIENCE.is_of(a_token({"aud": told[0]})) is is_there


@given(
    st.one_of(
        st.text(alphabet="abcXYZ019._~+/-=", max_size=200),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just([{"aud": OURS}])).map(a_token),
        st.one_of(st.none(), st.integers(), st.just({OURS: OURS}), st.just([[OURS]])).map(
            lambda aud: a_token({"aud": aud})
        ),
        st.integers(1, 3_000).map(lambda depth: f"x.{base64.b64encode(b'[' * depth).decode()}.x"),
    )
)
def test_whatever_else_a_token_is_it_is_of_no_audience(token: str) -> None:
    assert AUDIENCE.is_of(token) is False


def test_the_chart_tells_which_it_is() -> None:
    assert find_audience({}) is None
    told = {"TUNINGJOB_AUDIENCE": "ours", "TUNINGJOB_REVIEWER_TOKEN_FILE": "/a/token"}
    assert find_audience(told) == Audience("ours", Path("/a/token"))
    required = find_audience(told | {"TUNINGJOB_CLUSTER_TOKENS": "false"})
    assert required == Audience("ours", Path("/a/token"), is_required=True)
