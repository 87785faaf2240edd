from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journal.makers import a_search
from tests.service.server import Service
from tuningjob.client import HttpSearchJournal


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.journal.open_search(a_search())
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of a module that are only refused: nothing changes in it."""
    service = Service(tmp_path_factory.mktemp("standing"))
    service.journal.open_search(a_search())
    service.start()
    yield service
    service.close()


@pytest.fixture
def stranger(standing: Service) -> Iterator[httpx.Client]:
    """A client of the standing service, without a token."""
    with httpx.Client(base_url=standing.url, trust_env=False) as http:
        yield http


@pytest.fixture
def blunderer(standing: Service) -> Iterator[httpx.Client]:
    """A client of the standing service, with the token of search-a."""
    headers = {"Authorization": f"Bearer {standing.token()}"}
    with httpx.Client(base_url=standing.url, headers=headers, trust_env=False) as http:
        yield http


@pytest.fixture
def client(service: Service) -> Iterator[HttpSearchJournal]:
    with service.client() as client:
        yield client


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """Without a token."""
    with httpx.Client(base_url=service.url, trust_env=False) as http:
        yield http


@pytest.fixture
def mine(service: Service) -> Iterator[httpx.Client]:
    """With the token of search-a."""
    headers = {"Authorization": f"Bearer {service.token()}"}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False) as http:
        yield http
