"""Postgres goes away under load and comes back: every acknowledged result is there, and the rest is done after."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

import pytest

from tests.journal.makers import Pod, a_search
from tests.servers.postgres import PASSWORD, Postgres, running
from tuningjob.errors import JournalError
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell

SPLITS = 5

T = TypeVar("T")


class Load:
    """Pods that claim and report until nothing is left, as workers do. A failed call is tried again."""

    def __init__(self, journal: SqlJournal, pods: int) -> None:
        self._journal = journal
        self._pods = pods
        self._stop = threading.Event()
        self.acknowledged: list[Cell] = []
        self.errors: list[str] = []

    def keep_trying(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except JournalError as error:
                self.errors.append(str(error))
                assert not self._stop.wait(0.02), "given up"

    def work(self, index: int) -> None:
        pod = Pod(self._journal.view("search-a"), index=index, slots=4)
        while (unit := self.keep_trying(pod.claim)) is not None:
            for start in range(0, len(unit.cells), 7):
                some = unit.cells[start : start + 7]
                self.keep_trying(partial(pod.report, *some))
                self.acknowledged += some
            pod.holding.discard(unit.id)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(self._pods) as threads:
            pods = [threads.submit(self.work, index) for index in range(self._pods)]
            try:
                yield
                for pod in pods:
                    pod.result(timeout=240)
            finally:
                self._stop.set()

    def wait_for(self, more: int) -> None:
        """Until so many more cells are acknowledged."""
        goal = len(self.acknowledged) + more
        deadline = time.monotonic() + 240
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {goal}: {self.errors[-3:]}"
            time.sleep(0.005)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that waits for the disk, because it is killed."""
    with running() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill], ids=["restarted", "killed"])
def test_what_was_acknowledged_survives_postgres_and_the_rest_is_done_after(
    server: Postgres, end: Callable[[Postgres], None]
) -> None:
    candidates = 700
    with closing(SqlJournal(server.url(server.create_database()))) as journal:
        journal.open_search(a_search(candidates=candidates, pods=6))
        load = Load(journal, pods=6)
        with load.running():
            for _ in range(3):
                load.wait_for(300)
                end(server)
                seen = set(load.acknowledged)
                failed = len(load.errors)
                while len(load.errors) < failed + 3:  # while it is away, every writer is told
                    time.sleep(0.005)
                server.start()
                assert seen <= {result.cell for result in journal.view("search-a").results()}
        everything = {Cell(candidate, split) for candidate in range(candidates) for split in range(SPLITS)}
        assert {result.cell for result in journal.view("search-a").results()} == everything
        assert sum(journal.report_counts("search-a").values()) == len(everything)
        assert journal.progress("search-a").done == len(everything)
    assert all(re.match("the journal's database must answer, but got: ", error) for error in load.errors)
    assert not any(PASSWORD in error or "\n" in error for error in load.errors)
