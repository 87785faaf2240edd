"""The schema that the service tells of itself, and schemathesis holding it to that: no 5xx, nothing that is not documented."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.servers.postgres import Postgres
from tests.service.server import Service, routes_of
from tests.service.test_api import sha256
from tuningjob.protocol.records import SearchState

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


def lived_in_at(root: Path, database_url: str = "") -> Iterator[Service]:
    """A service with a search that runs and a model of two versions, one of them blessed."""
    service = Service(root, database_url=database_url)
    service.journal.open_search(a_search(candidates=600))
    service.journal.open_search(a_search("to-be-ended"))
    for number in (1, 2):
        search = f"done-{number}"
        service.journal.open_search(a_search(search))
        journal = service.journal.view(search)
        journal.set_preflight(a_preflight())
        Pod(journal).work()
        service.artifacts.put(search, "model.joblib", [b"model"], sha256=sha256(b"model")["X-Content-Sha256"])
        journal.complete(an_answer())
    service.journal.audit.bless(namespace="team", model_key="forest", version=1, who="alice")
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from lived_in_at(tmp_path_factory.mktemp("lived-in"))


@pytest.fixture(scope="module")
def lived_in_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Service]:
    name = postgres.create_database()
    yield from lived_in_at(tmp_path_factory.mktemp("lived-in-on-postgres"), postgres.url(name))
    postgres.empty_database(name)


@pytest.fixture(scope="module")
def told(lived_in: Service) -> dict[str, Any]:
    schema: dict[str, Any] = httpx.get(f"{lived_in.url}/openapi.json", trust_env=False, timeout=60).json()
    return schema


def operations(told: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


@pytest.mark.slow
def test_every_route_of_the_service_is_in_the_schema(lived_in: Service, told: dict[str, Any]) -> None:
    assert lived_in.app is not None
    described = {(method.upper(), path) for method, path, _ in operations(told)}
    # a page for people is no API
    served = {
        (method, path) for method, path in routes_of(lived_in.app) if "/ui/" not in path and not path.endswith("/ui")
    }
    assert described == served - {("GET", "/openapi.json")}
    assert len({operation["operationId"] for _, _, operation in operations(told)}) == len(described)


def test_every_route_says_which_token_it_takes_and_how_it_refuses(told: dict[str, Any]) -> None:
    for method, path, operation in operations(told):
        if path in {"/healthz", "/readyz", "/metrics"}:
            assert "security" not in operation
            continue
        scheme, person = ("kubernetes", {"403"}) if path.startswith("/v1/namespaces/") else ("search", set())
        assert operation["security"] == [{scheme: []}], path
        assert {"401", "404", "413", "422", "503"} | person <= set(operation["responses"]), (method, path)
        for status, response in operation["responses"].items():
            if status >= "400":
                assert response["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody"), (path, status)


ENDING = "/v1/(complete|fail|refuse)"


def hold_to_the_schema(
    service: Service, token: str, *which: str, phases: str = "examples,coverage,fuzzing", examples: int = 5
) -> None:
    """schemathesis as its command line runs it: boundary values of everything, then the random; the same every time."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", *which),
        *("-H", f"Authorization: Bearer {token}", f"--phases={phases}", "--mode=all"),
        f"--checks={','.join(CHECKS)}",
        *(f"--max-examples={examples}", "--seed=1", "--generation-deterministic"),
        *("--suppress-health-check=all", "--no-color"),
    ]
    # a proxy of the environment is not for this machine
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=250)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_a_worker(lived_in: Service) -> None:
    hold_to_the_schema(lived_in, lived_in.token(), "--include-tag=workers", f"--exclude-path-regex={ENDING}")
    assert lived_in.journal.view("search-a").search().state is SearchState.RUNNING


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_a_worker_that_ends_its_search(lived_in: Service) -> None:
    hold_to_the_schema(lived_in, lived_in.token("to-be-ended"), f"--include-path-regex={ENDING}")


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_a_person(lived_in: Service) -> None:
    hold_to_the_schema(lived_in, lived_in.register.enter("alice", "get", "update"), "--include-tag=people")


@pytest.mark.slow
def test_schemathesis_finds_nothing_as_a_probe(lived_in: Service) -> None:
    hold_to_the_schema(lived_in, "", "--include-tag=probes")


# Postgres takes less than SQLite: no NUL in a text, no integer past its column
@pytest.mark.slow
def test_schemathesis_finds_nothing_on_postgres(lived_in_on_postgres: Service) -> None:
    service = lived_in_on_postgres
    person = service.register.enter("alice", "get", "update")
    hold_to_the_schema(service, person, "--include-tag=people", phases="fuzzing")
    hold_to_the_schema(service, service.token(), "--include-tag=workers", phases="fuzzing")
