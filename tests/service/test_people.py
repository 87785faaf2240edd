"""The audit over HTTP: what people and serving processes read and decide."""

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.service.conftest import calling
from tests.service.server import Service
from tests.service.test_api import detail, sha256
from tuningjob_operator.service.border import MAX_PERSONS_BYTES

pytestmark = pytest.mark.slow

MODEL = "/v1/namespaces/team/models/forest"


def finish(service: Service, search: str = "search-a", **answer: Any) -> None:
    """A search of ``forest`` from its beginning to its end: one version more."""
    service.journal.open_search(a_search(search))
    journal = service.journal.view(search)
    journal.set_preflight(a_preflight())
    Pod(journal).work()
    journal.complete(an_answer(**answer))


@pytest.fixture
def editor(service: Service) -> Iterator[httpx.Client]:
    """Alice, who may get and update TuningJobs of the namespace team."""
    yield from calling(service, service.register.enter("alice", "get", "update"))


@pytest.fixture
def viewer(service: Service) -> Iterator[httpx.Client]:
    """Bob, who may only get them."""
    yield from calling(service, service.register.enter("bob", "get"))


@pytest.fixture(scope="module")
def finished(standing: Service) -> Service:
    """The module's service, with one version of ``forest``; for those who are refused."""
    finish(standing)
    return standing


@pytest.fixture
def vain_editor(finished: Service) -> Iterator[httpx.Client]:
    """Alice, of whom nothing is taken."""
    yield from calling(finished, finished.register.enter("alice", "get", "update"))


@pytest.fixture
def vain_viewer(finished: Service) -> Iterator[httpx.Client]:
    """Bob, who is told nothing."""
    yield from calling(finished, finished.register.enter("bob", "get"))


# --- history ---------------------------------------------------------------------------------------------------------


def test_the_versions_of_a_model_are_told_the_first_one_first(service: Service, viewer: httpx.Client) -> None:
    finish(service)
    finish(service, "search-b", best_score=math.nan)
    assert viewer.get("/v1/namespaces/team/models").json() == {"models": ["forest"]}
    rows = viewer.get(f"{MODEL}/versions").json()
    assert [(row["version"], row["search_id"], row["score"]) for row in rows] == [
        (1, "search-a", 0.9),
        (2, "search-b", "NaN"),
    ]
    assert viewer.get(f"{MODEL}/versions/2").json() == rows[1]


def test_lists_are_told_in_pages(service: Service, editor: httpx.Client) -> None:
    finish(service)
    finish(service, "search-b")
    for version in (1, 2, 1):
        assert editor.post(f"{MODEL}/bless", json={"version": version}).status_code == 200
    page = {"after": 1, "limit": 1}
    assert [each["number"] for each in editor.get(f"{MODEL}/blessings", params=page).json()] == [2]
    assert [each["number"] for each in editor.get(f"{MODEL}/blessings").json()] == [1, 2, 3]
    assert editor.get(f"{MODEL}/blessings", params={"after": 3}).json() == []
    assert [each["version"] for each in editor.get(f"{MODEL}/versions", params=page).json()] == [2]
    assert editor.get("/v1/namespaces/team/models", params={"after": "forest"}).json() == {"models": []}


@pytest.mark.parametrize(
    "path",
    ["versions", "versions/1", "params", "blessings", "versions/1/artifacts", "versions/1/artifacts/model.joblib"],
)
def test_a_model_that_is_not_there_is_not_found(vain_viewer: httpx.Client, path: str) -> None:
    response = vain_viewer.get(f"/v1/namespaces/team/models/tree/{path}")
    assert response.status_code == 404
    assert "'tree'" in detail(response)


def test_a_version_that_is_not_there_is_not_found(vain_viewer: httpx.Client) -> None:
    response = vain_viewer.get(f"{MODEL}/versions/2")
    assert response.status_code == 404
    assert detail(response) == "version of forest: must be from 1 to 1, but got 2."


def test_a_namespace_without_models_has_none(viewer: httpx.Client) -> None:
    assert viewer.get("/v1/namespaces/team/models").json() == {"models": []}


@pytest.mark.parametrize(
    "path",
    [
        "forest/versions/0",
        "forest/versions/first",
        f"forest/versions/{2**31}",
        "-forest/versions",
        f"{'x' * 254}/params",
    ],
)
def test_a_path_with_what_cannot_be_is_refused(vain_viewer: httpx.Client, path: str) -> None:
    response = vain_viewer.get(f"/v1/namespaces/team/models/{path}")
    assert response.status_code == 422
    assert detail(response).startswith("path.")


# --- the version in use ----------------------------------------------------------------------------------------------


def test_a_version_is_blessed_and_rolled_back_by_the_person_of_the_token(
    service: Service, editor: httpx.Client
) -> None:
    finish(service)
    finish(service, "search-b")
    assert editor.get(f"{MODEL}/blessings").json() == []
    first = editor.post(f"{MODEL}/bless", json={"version": 1, "why": "good"}).json()
    second = editor.post(f"{MODEL}/bless", json={"version": 2}).json()
    back = editor.post(f"{MODEL}/rollback", json={"why": "worse"}).json()
    told = [
        (each["act"], each["from_version"], each["to_version"], each["who"], each["why"])
        for each in (first, second, back)
    ]
    assert told == [
        ("bless", None, 1, "alice", "good"),
        ("bless", 1, 2, "alice", ""),
        ("rollback", 2, 1, "alice", "worse"),
    ]
    assert editor.get(f"{MODEL}/blessings").json() == [first, second, back]


def test_people_who_may_only_read_change_nothing(finished: Service, vain_viewer: httpx.Client) -> None:
    for act, body in (("bless", {"version": 1}), ("rollback", {})):
        response = vain_viewer.post(f"{MODEL}/{act}", json=body)
        assert response.status_code == 403
        assert detail(response) == "bob must be allowed to update tuningjobs in team, but is not."
    assert finished.journal.audit.blessings(namespace="team", model_key="forest") == []


def test_without_a_version_before_it_there_is_no_way_back(service: Service, editor: httpx.Client) -> None:
    finish(service)
    editor.post(f"{MODEL}/bless", json={"version": 1})
    response = editor.post(f"{MODEL}/rollback", json={})
    assert response.status_code == 404
    assert detail(response) == "forest: must have been blessed twice to be rolled back, but got only version 1."


@pytest.mark.parametrize(
    ("act", "body", "where"),
    [
        ("bless", {}, "body.version: "),
        ("bless", {"version": 0}, "body.version: must be greater"),
        ("bless", {"version": 2**31}, "body.version: must be less"),
        ("bless", {"version": "latest"}, "body.version: must be a valid integer"),
        ("bless", {"version": 1, "who": "root"}, "body.who: "),
        ("bless", {"version": 1, "why": "x" * 1025}, "body.why: "),
        ("bless", {"version": 1, "why": "\0"}, "body.why: must be without NUL"),
        ("rollback", {"version": 1}, "body.version: "),
        ("rollback", [], "body: "),
    ],
)
def test_a_decision_that_is_none_is_refused_with_its_place(
    vain_editor: httpx.Client, act: str, body: Any, where: str
) -> None:
    response = vain_editor.post(f"{MODEL}/{act}", json=body)
    assert response.status_code == 422
    assert detail(response).startswith(where), detail(response)


def test_a_decision_that_is_too_long_is_refused(vain_editor: httpx.Client) -> None:
    response = vain_editor.post(f"{MODEL}/bless", content=b" " * (MAX_PERSONS_BYTES + 1))
    assert response.status_code == 413
    assert detail(response) == "The body must be of at most 65,536 bytes, but got more."


# --- made to be polled -----------------------------------------------------------------------------------------------


def test_the_parameters_of_the_blessed_version_come_with_a_strong_etag(service: Service, editor: httpx.Client) -> None:
    finish(service)
    response = editor.get(f"{MODEL}/params")
    assert response.status_code == 404
    assert "none was ever blessed" in detail(response)
    editor.post(f"{MODEL}/bless", json={"version": 1})
    response = editor.get(f"{MODEL}/params")
    assert response.json() == {"model_key": "forest", "version": 1, "params": {"C": 1, "kernel": "rbf"}}
    assert response.headers["etag"].startswith('"')
    assert response.headers["cache-control"] == "private, no-cache"


def test_a_poller_is_told_only_of_a_change(service: Service, editor: httpx.Client) -> None:
    finish(service)
    finish(service, "search-b", best_params={"C": 2, "kernel": "rbf"})
    editor.post(f"{MODEL}/bless", json={"version": 1})
    tag = editor.get(f"{MODEL}/params").headers["etag"]
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        response = editor.get(f"{MODEL}/params", headers={"If-None-Match": given})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag), given
    for given in ('"other"', tag.strip('"'), ""):
        assert editor.get(f"{MODEL}/params", headers={"If-None-Match": given}).status_code == 200, given
    editor.post(f"{MODEL}/bless", json={"version": 2})
    changed = editor.get(f"{MODEL}/params", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["params"]["C"]) == (200, 2)
    editor.post(f"{MODEL}/rollback", json={})
    assert editor.get(f"{MODEL}/params", headers={"If-None-Match": tag}).status_code == 304


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_files_of_a_version_are_read_with_their_digests(service: Service, viewer: httpx.Client) -> None:
    data = bytes(range(256))
    digest = sha256(data)["X-Content-Sha256"]
    service.journal.open_search(a_search())
    service.artifacts.put("search-a", "model.joblib", [data], sha256=digest)
    finish(service)
    listed = viewer.get(f"{MODEL}/versions/1/artifacts").json()
    assert listed == [{"name": "model.joblib", "size_bytes": 256, "sha256": digest}]
    response = viewer.get(f"{MODEL}/versions/1/artifacts/model.joblib")
    assert response.content == data
    assert response.headers["x-content-sha256"] == digest


def test_a_file_that_was_changed_after_its_version_was_completed_is_not_given_out(
    service: Service, viewer: httpx.Client
) -> None:
    honest, evil = (sha256(data)["X-Content-Sha256"] for data in (b"honest", b"EVIL"))
    service.journal.open_search(a_search())
    with service.journal.placing(
        "search-a", service.artifacts.put("search-a", "model.joblib", [b"honest"], sha256=honest)
    ):
        pass
    finish(service)
    assert viewer.get(f"{MODEL}/versions/1/artifacts/model.joblib").content == b"honest"
    service.artifacts.put("search-a", "model.joblib", [b"EVIL"], sha256=evil)
    response = viewer.get(f"{MODEL}/versions/1/artifacts/model.joblib")
    assert response.status_code == 409
    assert "must be the file that version 1 of forest was completed with" in detail(response)
    told = viewer.get(f"{MODEL}/versions/1").json()
    assert told["files"] == [{"name": "model.joblib", "size_bytes": 6, "sha256": honest}]


def test_a_file_that_is_not_there_is_not_found_and_one_that_cannot_be_is_refused(
    service: Service, viewer: httpx.Client
) -> None:
    finish(service)
    response = viewer.get(f"{MODEL}/versions/1/artifacts/model.joblib")
    assert response.status_code == 404
    assert "must have the file model.joblib" in detail(response)
    for name in ("model.pkl", "%2e%2e", "%2e%2e%2fsigning.key"):
        assert viewer.get(f"{MODEL}/versions/1/artifacts/{name}").status_code in {404, 422}


# --- who may ask -----------------------------------------------------------------------------------------------------

ROUTES = [
    ("GET", ""),
    ("GET", "/forest/versions"),
    ("GET", "/forest/versions/1"),
    ("GET", "/forest/params"),
    ("GET", "/forest/blessings"),
    ("POST", "/forest/bless"),
    ("POST", "/forest/rollback"),
    ("GET", "/forest/versions/1/artifacts"),
    ("GET", "/forest/versions/1/artifacts/model.joblib"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_namespace_is_closed(vain_editor: httpx.Client, method: str, path: str) -> None:
    for namespace in ("other", "team2"):
        response = vain_editor.request(method, f"/v1/namespaces/{namespace}/models{path}", json={"version": 1})
        assert response.status_code == 403, response.text
        assert "forest" not in response.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_is_told_nothing(finished: Service, stranger: httpx.Client, method: str, path: str) -> None:
    for token in ("", "Bearer unknown", "Basic YTpi", f"Bearer {finished.token()}"):
        headers = {"Authorization": token} if token else {}
        response = stranger.request(method, f"/v1/namespaces/team/models{path}", json={"version": 1}, headers=headers)
        assert response.status_code == 401, response.text
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_token_of_a_search_is_told_that_it_is_one(blunderer: httpx.Client) -> None:
    response = blunderer.get("/v1/namespaces/team/models")
    assert detail(response) == "The token must be a person's Kubernetes token, but got the token of a search."


@pytest.mark.parametrize("namespace", ["Team", "team_a", "..", "a" * 64, "%20", "team%2Fmodels"])
def test_a_namespace_that_cannot_be_is_not_asked_about(
    standing: Service, stranger: httpx.Client, namespace: str
) -> None:
    token = standing.register.enter("root", "get", namespace=namespace)
    response = stranger.get(f"/v1/namespaces/{namespace}/models", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code in {401, 403, 404}


def test_while_nobody_can_tell_who_people_are_they_are_asked_to_come_again(
    service: Service, viewer: httpx.Client, mine: httpx.Client
) -> None:
    service.register.is_away = True
    response = viewer.get("/v1/namespaces/team/models")
    assert response.status_code == 503
    assert detail(response).startswith("The Kubernetes API server must say who this is")
    assert mine.get("/v1/search").status_code == 200  # workers need no API server


def test_a_persons_token_opens_no_route_of_workers(vain_editor: httpx.Client) -> None:
    response = vain_editor.get("/v1/search")
    assert response.status_code == 401
    assert "must be of the form tj1" in detail(response)


def test_bodies_of_floats_that_json_has_no_number_for_are_json(service: Service, viewer: httpx.Client) -> None:
    finish(service, best_score=math.inf, best_std=math.nan)
    assert json.loads(viewer.get(f"{MODEL}/versions/1").text)["score"] == "Infinity"
