"""A namespace with forty requests at once, and what its neighbour's one request waits for: on the real service and databases."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.journal.makers import a_result, a_search
from tests.servers.postgres import Postgres
from tests.service.server import Service
from tests.waiting import wait_for
from tuningjob.journal.search import SqlSearch, TakenIn
from tuningjob.protocol.records import Cell
from tuningjob.protocol.requests import ClaimRequest, Report
from tuningjob_operator.service.room import PER_NAMESPACE, Desk

_SEARCHES, _PODS = 5, 8
Hold = Callable[[], AbstractContextManager[None]]


@contextmanager
def writing_to_sqlite(path: Path) -> Iterator[None]:
    """Nobody else writes meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def holding_postgres(url: str) -> Iterator[None]:
    """Nobody else reads or writes a search meanwhile."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE searches IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Hold]]:
    if request.param == "sqlite":
        yield "", lambda: writing_to_sqlite(tmp_path / "tuning.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create_database()
    yield server.url(name), lambda: holding_postgres(server.url(name))
    server.empty_database(name)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr("tuningjob_operator.service.app.Desk", lambda: made)
    return made


@pytest.mark.slow
def test_a_claim_is_answered_before_the_forty_requests_of_a_neighbour(
    tmp_path: Path, database: tuple[str, Hold], desk: Desk
) -> None:
    url, hold = database
    service = Service(tmp_path, database_url=url)
    loud = [f"loud-{number}" for number in range(_SEARCHES)]
    for search in loud:
        service.journal.open_search(a_search(search, namespace="loud", name=search))
    service.journal.open_search(a_search("quiet", namespace="quiet"))
    service.start()
    order: list[str] = []

    def ask(search: str, path: str, body: object) -> int:
        headers = {"Authorization": f"Bearer {service.token(search)}"}
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as http:
            status = http.post(path, json=body).status_code
        order.append(search)
        return status

    claim = {"index": 0, "slots": 2}
    try:
        for search in (*loud, "quiet"):
            ask(search, "/v1/leave", {"index": 0})  # the service knows their namespaces from here on
        order.clear()
        with ThreadPoolExecutor(_SEARCHES * _PODS + 1) as threads:
            with hold():
                asked = [threads.submit(ask, search, "/v1/claims", claim) for search in loud * _PODS]
                wait_for(lambda: len(desk) == _SEARCHES * _PODS - PER_NAMESPACE, seconds=60, pause=0.005)
                asked.append(threads.submit(ask, "quiet", "/v1/claims", claim))
                wait_for(lambda: desk.at_work("quiet") == 1, seconds=60, pause=0.005)
            statuses = {each.result() for each in asked}
        # it passes by all that wait; how soon of those that are at work the client's threads decide, too
        assert order.index("quiet") < len(order) / 2, order
        assert statuses == {200}
        assert len(desk) == desk.at_work("loud") == desk.at_work("quiet") == 0
    finally:
        service.close()


@pytest.mark.slow
def test_a_long_report_lets_others_write_between_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path)
    service.journal.open_search(a_search(candidates=60))
    pieces: list[int] = []
    take_in = SqlSearch.take_in

    def counted(search: SqlSearch, report: Report) -> TakenIn:
        pieces.append(len(report.results))
        return take_in(search, report)

    monkeypatch.setattr(SqlSearch, "take_in", counted)
    service.start()
    try:
        with service.client() as client:
            cells: list[Cell] = []
            held: set[int] = set()
            while (unit := client.claim(ClaimRequest(index=0, slots=1, holding=held)).unit) is not None:
                held.add(unit.id)
                cells += unit.cells
            assert client.report(Report(index=0, results=[a_result(cell) for cell in cells])).new == 300
    finally:
        service.close()
    assert (sum(pieces), max(pieces)) == (300, 100)
