"""The service's memory has a ceiling (the chart's limit is 512 MiB): seen on the process as its container starts it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from pydantic import TypeAdapter

from tests.journal.makers import a_preflight, a_result, a_search
from tests.service.process import Process
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, CellResult
from tuningjob.protocol.requests import ClaimRequest
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens

pytestmark = pytest.mark.slow

RESULTS = TypeAdapter(list[CellResult])
PODS, CELLS = 12, 1_000
CEILING = 448 * 2**20
HOSTILE = [
    b'{"index":0,"results":[' + b'{"":0},' * (2**23 // 7) + b"0]}",
    b'{"index":0,"results":[' + b"0," * (2**22 - 20) + b"0]}",
    b'{"index":0,"results":[{"' + b"x" * (2**23 - 100) + b'":0}]}',
    b'{"index":0,"results":[' + b'{"":0},' * 29_000 + b"0]}",  # as much as may be parsed
]


@pytest.fixture
def claimed(tmp_path: Path) -> list[Cell]:
    """The cells of a search, all of them claimed."""
    with closing(SqlJournal(f"sqlite:///{tmp_path / 'tuning.db'}")) as journal:
        journal.open_search(a_search(candidates=PODS * CELLS, splits=1, pods=1))
        journal.view("search-a").set_preflight(a_preflight())
        cells: list[Cell] = []
        holding: set[int] = set()
        while (
            unit := journal.view("search-a").claim(ClaimRequest(index=0, slots=CELLS, holding=holding)).unit
        ) is not None:
            holding.add(unit.id)
            cells += unit.cells
        return cells


def test_long_reports_and_hostile_ones_at_once_stay_far_below_the_limit(tmp_path: Path, claimed: list[Cell]) -> None:
    token = tokens.issue(tokens.read_keys(None, tmp_path / "signing.key"), "search-a")
    waiting = threading.Event()
    told_to_wait: list[str] = []

    def send(body: bytes) -> int:
        """As an impatient pod of the release before: one long body, again and again until it is answered."""
        while True:
            response = httpx.post(
                f"{process.url}/v1/cells",
                content=body,
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
                timeout=120,
            )
            if response.status_code != 503:
                return response.status_code
            told_to_wait.append(response.headers["Retry-After"])
            waiting.wait(0.2)

    def report(number: int) -> int:
        batch = [a_result(cell, error="E" * 7_000) for cell in claimed[number * CELLS : (number + 1) * CELLS]]
        return send(b'{"index":0,"results":%b}' % RESULTS.dump_json(batch))

    with Process(tmp_path) as process:
        process.start()
        with HttpSearchJournal(process.url, token) as client:
            client.search()  # it is up
        idle = process.peak_bytes
        with ThreadPoolExecutor(2 * PODS) as pods:
            reports = [pods.submit(report, number) for number in range(PODS)]
            hostile = [pods.submit(send, HOSTILE[number % len(HOSTILE)]) for number in range(PODS)]
            assert {each.result() for each in reports} == {200}
            assert {each.result() for each in hostile} == {422}
        with HttpSearchJournal(process.url, token) as client:
            found: list[CellResult] = list(client.results())
        assert len(found) == PODS * CELLS
        print(f"idle {idle >> 20} MiB, peak {process.peak_bytes >> 20} MiB, {len(told_to_wait)} times told to wait")  # noqa: T201
        assert process.peak_bytes < CEILING
