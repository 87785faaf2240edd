from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journal.makers import a_search
from tests.service.server import Service
from tuningjob.remote.worker import HttpSearchJournal


def calling(service: Service, token: str | None = None) -> Iterator[httpx.Client]:
    """A plain HTTP client of the service, with a token or without."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as http:
        yield http


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
    yield from calling(standing)


@pytest.fixture
def blunderer(standing: Service) -> Iterator[httpx.Client]:
    """A client of the standing service, with the token of search-a."""
    yield from calling(standing, standing.token())


@pytest.fixture
def client(service: Service) -> Iterator[HttpSearchJournal]:
    with service.client() as client:
        yield client


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """Without a token."""
    yield from calling(service)


@pytest.fixture
def mine(service: Service) -> Iterator[httpx.Client]:
    """With the token of search-a."""
    yield from calling(service, service.token())
