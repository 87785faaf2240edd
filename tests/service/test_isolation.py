"""A token opens what it was made for, and nothing beside it: every route that there is, tried with every kind of token."""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.service.conftest import calling
from tests.service.server import Service, routes_of
from tuningjob.protocol.records import SearchState
from tuningjob_operator import tokens

pytestmark = pytest.mark.slow

MODEL = b"the model of b"
DIGEST = hashlib.sha256(MODEL).hexdigest()
# A body that each route takes; so that what keeps a stranger out is the token, and not a mistake in the body.
CELL: dict[str, Any] = {"candidate": 0, "split": 0}
RESULT = {**CELL, "test_scores": {"accuracy": 0.5}, "fit_seconds": 1, "score_seconds": 1, "test_samples": 30}
BODIES: dict[str, Any] = {
    "/v1/preflight": {"data_digest": "e", "samples": 1, "features": 1, "versions": {}},
    "/v1/claims": {"index": 0, "slots": 1, "claimant": "a"},
    "/v1/leave": {"index": 0},
    "/v1/stages": {"index": 0, "known": 10, "rows": 12},
    "/v1/reuse": {"index": 0, "cells": [{**CELL, "identity": "0" * 32}]},
    "/v1/cells": {"index": 0, "results": [RESULT]},
    "/v1/complete": {
        "best_index": 0,
        "best_score": 1.0,
        "best_std": 0.0,
        "best_params": {},
        "metric": "accuracy",
        "failed_fits": 0,
        "refit_seconds": 1,
        "fit_seconds_total": 1,
    },
    "/v1/fail": {"reason": "sabotage"},
    "/v1/refuse": {"problems": [{"field": "spec"}]},
    "/v1/artifacts/{name}": MODEL,
    "/v1/namespaces/{namespace}/data/{sha256}": MODEL,
    "/v1/namespaces/{namespace}/models/{key}/bless": {"version": 1},
    "/v1/namespaces/{namespace}/models/{key}/rollback": {},
    "/v1/namespaces/{namespace}/ui/models/{key}/bless": b"version=1&why=mine",
    "/v1/namespaces/{namespace}/ui/models/{key}/rollback": b"why=mine",
}
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
EVERYWHERE = "/v1/namespaces/-/"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """search-a and search-b, of two namespaces, each with cells, a file and a finished sibling; and a service that stands."""
    service = Service(tmp_path_factory.mktemp("two"))
    for letter, namespace in (("a", "team"), ("b", "other")):
        done = f"done-{letter}"
        service.journal.open_search(a_search(done, namespace=namespace, model_key=f"model-{letter}"))
        view = service.journal.view(done)
        view.set_preflight(a_preflight())
        Pod(view).work()
        view.complete(an_answer())
        service.journal.audit.bless(namespace=namespace, model_key=f"model-{letter}", version=1, who="root")
        service.journal.open_search(a_search(f"search-{letter}", namespace=namespace, model_key=f"model-{letter}"))
        worker = Pod(service.journal.view(f"search-{letter}"))
        worker.report(worker.must_claim().cells[0])
    service.artifacts.put("search-b", "model.joblib", [MODEL], sha256=DIGEST)
    service.artifacts.put("data_other", DIGEST, [MODEL], sha256=DIGEST)
    service.start()
    yield service
    service.close()


def all_of(service: Service, letter: str) -> tuple[object, ...]:
    """Everything that the service keeps of a namespace and its searches."""
    ids = (f"search-{letter}", f"done-{letter}")
    audit, where = (
        service.journal.audit,
        {"namespace": {"a": "team", "b": "other"}[letter], "model_key": f"model-{letter}"},
    )
    return (
        *(repr(service.journal.progress(each)) for each in ids),
        *(repr(list(service.journal.view(each).results())) for each in ids),
        *(service.journal.reporters(each) for each in ids),
        *(service.artifacts.list(each) for each in ids),
        service.artifacts.entries(f"data_{where['namespace']}"),
        repr(audit.history(**where)),
        audit.blessings(**where),
    )


def every_route(service: Service) -> list[tuple[str, str]]:
    assert service.app is not None
    routes = sorted(routes_of(service.app))
    assert len(routes) > 20
    assert {path for method, path in routes if method != "GET"} <= BODIES.keys()
    return routes


def ask(http: httpx.Client, method: str, template: str, *, namespace: str, key: str) -> httpx.Response:
    path = template.format(
        namespace=namespace, key=key, version=1, name="model.joblib", sha256=DIGEST, search="search-b"
    )
    body = copy.deepcopy(BODIES.get(template))
    if isinstance(body, bytes):
        query = {"offset": 0, "size": len(body)} if "sha256" in template else None
        return http.request(method, path, content=body, headers={"X-Content-Sha256": DIGEST}, params=query)
    return http.request(method, path, json=None if method == "GET" else body)


def test_a_token_for_one_search_can_do_nothing_to_another_whatever_it_asks(two: Service) -> None:
    before = all_of(two, "b")
    for http in calling(two, two.token("search-a")):
        for method, template in every_route(two):
            response = ask(http, method, template, namespace="other", key="model-b")
            if template.startswith("/v1/namespaces/"):
                assert response.status_code == 401, (method, template)
            for secret in ("search-b", "done-b", "model-b", "the model of b"):
                assert secret not in response.text, (method, template)
            assert all_of(two, "b") == before, (method, template)
    assert two.journal.view("search-b").search().state is SearchState.RUNNING


@pytest.mark.parametrize("carrier", ["query", "header", "cookie", "body"])
def test_a_search_that_is_named_beside_the_token_is_not_heard(two: Service, carrier: str) -> None:
    before = all_of(two, "b")
    named = {"search": "search-b", "search_id": "search-b", "id": "search-b"}
    headers = {"Authorization": f"Bearer {two.token('search-a')}"}
    if carrier == "header":
        headers |= {f"X-{name.replace('_', '-')}": value for name, value in named.items()}
    if carrier == "cookie":
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in named.items())
    for method, template in every_route(two):
        body = BODIES.get(template)
        if method == "GET" or not isinstance(body, dict) or not template.startswith("/v1/") or "{" in template:
            continue
        content = json.dumps({**body, **named} if carrier == "body" else body)
        response = httpx.request(
            method,
            two.url + template,
            params=named if carrier == "query" else None,
            content=content,
            headers={**headers, "Content-Type": "application/json"},
            trust_env=False,
            timeout=60,
        )
        assert carrier != "body" or response.status_code == 422
        assert all_of(two, "b") == before, (method, template)


def test_a_persons_token_opens_no_workers_route_and_no_other_namespace(two: Service) -> None:
    person = two.register.enter("alice", "get", "update", namespace="team")
    before = all_of(two, "b")
    for http in calling(two, person):
        for method, template in every_route(two):
            if template in OPEN or template.startswith(EVERYWHERE):  # what that shows: test_pages
                continue
            response = ask(http, method, template, namespace="other", key="model-b")
            expected = 403 if template.startswith("/v1/namespaces/") else 401
            assert response.status_code == expected, (method, template)
            assert "model-b" not in response.text
    assert all_of(two, "b") == before


def bad_tokens(service: Service) -> dict[str, str]:
    good = service.token("search-b")
    prefix, payload, signature = good.split(".")
    return {
        "none": "",
        "of another installation": tokens.issue(tokens.Keys(bytes(32)), "search-b"),
        "with another payload": f"{prefix}.{service.token('search-a').split('.')[1]}.{signature}",
        "cut short": good[:-1],
        "lengthened": f"{good}A",
        "in another spelling": f"{prefix}.{payload}=.{signature}",
        "of another version": f"tj0.{payload}.{signature}",
        "as long as a header may be": "tj1." + "A" * 30_000,
        "a JWT": "eyJhbGciOiJub25lIn0.eyJzZWFyY2giOiJzZWFyY2gtYiJ9.",
    }


def test_no_bad_token_opens_anything(two: Service) -> None:
    before = all_of(two, "b")
    for kind, token in bad_tokens(two).items():
        for http in calling(two, token):
            for method, template in every_route(two):
                response = ask(http, method, template, namespace="other", key="model-b")
                if template in OPEN:
                    assert response.status_code == 200
                    continue
                assert response.status_code == 401, (kind, method, template)
                sentence = response.json()["detail"]
                assert sentence.count("\n") == 0
                assert sentence.endswith("."), sentence
    assert all_of(two, "b") == before


def test_a_replayed_request_changes_nothing_more(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.journal.open_search(a_search())
    worker = Pod(service.journal.view("search-a"))
    cell = worker.must_claim().cells[0]
    service.start()
    try:
        for http in calling(service, service.token()):
            body = {"index": 0, "results": [RESULT | {"candidate": cell.candidate, "split": cell.split}]}
            assert http.post("/v1/cells", json=body).json() == {"new": 1, "state": "Running"}
            forged = copy.deepcopy(body)
            forged["results"][0]["test_scores"] = {"accuracy": 1.0}  # type: ignore[index]
            for replay in (body, body, forged):
                assert http.post("/v1/cells", json=replay).json() == {"new": 0, "state": "Running"}
            assert [each["test_scores"] for each in http.get("/v1/cells").json()] == [{"accuracy": 0.5}]
            Pod(service.journal.view("search-a"), index=0).work()
            answer = BODIES["/v1/complete"]
            versions = [http.post("/v1/complete", json=answer).json() for _ in range(3)]
            assert versions == [{"version": 1}] * 3
            assert http.post("/v1/fail", json={"reason": "too late"}).status_code in {204, 409}
            assert service.journal.view("search-a").search().state is SearchState.COMPLETE
    finally:
        service.close()
