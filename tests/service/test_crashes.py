"""kill -9 of the service, and of its database, under load, again and again: what it has acknowledged is there, once.

``TUNINGJOB_KILLS`` is how often; by default 6 times.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.journal.makers import a_preflight, a_result, a_search, an_answer, score_of
from tests.servers import postgres
from tests.service.process import Process
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, Next, SearchState
from tuningjob.protocol.requests import ClaimRequest, Report
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TUNINGJOB_KILLS", "6"))
POSTGRES_BLOWS = 2
REPORTERS = 4
# At most so much is reported between two blows, so that there is work left at the last one, however slow the machine is.
BATCHES_OF_A_LIFE, MAX_BATCH = 10, 8
SPLITS = 5


def candidates_for(blows: int) -> int:
    return (blows + 1) * REPORTERS * BATCHES_OF_A_LIFE * MAX_BATCH // SPLITS + 1


@dataclass
class Reporter:
    """A completion index at work in a thread of its own; remembers what was acknowledged to it."""

    client: HttpSearchJournal
    index: int
    hurry: threading.Event
    random: random.Random
    batches_left: int = BATCHES_OF_A_LIFE
    acknowledged: set[Cell] = field(default_factory=set)
    sent_home_with: Next | None = None
    error: Exception | None = None

    def run(self) -> None:
        try:
            with self.client:
                self._work()
        except Exception as error:  # noqa: BLE001  told by the test's own thread
            self.error = error

    def _work(self) -> None:
        while True:
            claim = self.client.claim(
                ClaimRequest(index=self.index, slots=2, holding=set(), claimant=f"reporter-{self.index}")
            )
            if claim.unit is None:
                self.sent_home_with = claim.next
                return
            cells = list(claim.unit.cells)
            while cells:
                size = 500 if self.hurry.is_set() else self.random.randint(1, MAX_BATCH)
                batch, cells = cells[:size], cells[size:]
                self.client.report(Report(index=self.index, results=[a_result(cell) for cell in batch]))
                self.acknowledged.update(batch)
                self.batches_left -= 1
                # as fits would take their time
                while not self.hurry.wait(0.01) and self.batches_left <= 0:
                    pass


@dataclass
class Load:
    """A search under work by all reporters at once."""

    process: Process
    token: str
    hurry: threading.Event = field(default_factory=threading.Event)
    reporters: list[Reporter] = field(default_factory=list)

    def client(self) -> HttpSearchJournal:
        """As patient as a pod, but not as long from one attempt to the next."""
        return HttpSearchJournal(self.process.url, self.token, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))

    @contextmanager
    def working(self) -> Iterator[None]:
        """The reporters at work; what is left at the end is done without a pause."""
        self.reporters = [
            Reporter(self.client(), index, self.hurry, random.Random(index)) for index in range(REPORTERS)
        ]
        threads = [threading.Thread(target=reporter.run) for reporter in self.reporters]
        for thread in threads:
            thread.start()
        try:
            yield
            with self.client() as asking:
                assert asking.search().state is SearchState.RUNNING, "all was done before the last blow"
                assert not [each.sent_home_with for each in self.reporters if each.sent_home_with is not None]
        finally:
            self.hurry.set()
            for thread in threads:
                thread.join(120)
        assert self.errors() == []

    def errors(self) -> list[Exception]:
        return [reporter.error for reporter in self.reporters if reporter.error is not None]

    def wait_for_more(self) -> None:
        """Until every reporter has been acknowledged something since: the service is up, and under load."""
        for reporter in self.reporters:
            reporter.batches_left = BATCHES_OF_A_LIFE
        before = [len(reporter.acknowledged) for reporter in self.reporters]
        deadline = time.monotonic() + 240
        while any(len(each.acknowledged) == count for each, count in zip(self.reporters, before, strict=True)):
            assert self.errors() == []
            assert time.monotonic() < deadline, f"the service does not come back: {self.process.log[-3000:]}"
            time.sleep(0.005)

    def finish(self) -> None:
        """As the one reporter does that was told to: one that was told again, its reply being lost, is the same one."""
        told = sorted(str(reporter.sent_home_with) for reporter in self.reporters)
        assert told == ["Finish", *["Nothing"] * (REPORTERS - 1)]
        with self.client() as client:
            assert client.complete(an_answer()) == 1


def open_search(url: str, data: Path, *, blows: int) -> str:
    """Make the search in the database at ``url``; returns its token."""
    with closing(SqlJournal(url)) as journal:
        journal.open_search(a_search(candidates=candidates_for(blows), splits=SPLITS, pods=REPORTERS))
        journal.view("search-a").set_preflight(a_preflight())
    key = tokens.read_keys(None, data / "signing.key")
    return tokens.issue(key, "search-a")


def check_that_nothing_is_lost_or_doubled(url: str, reporters: list[Reporter], *, blows: int) -> None:
    with closing(SqlJournal(url)) as journal:
        found = list(journal.view("search-a").results())
        every = [Cell(candidate, split) for candidate in range(candidates_for(blows)) for split in range(SPLITS)]
        assert [result.cell for result in found] == every
        assert all(result.test_scores == {"accuracy": score_of(result.cell)} for result in found)
        # a second report of a cell is one whose reply was lost, and each blow can lose one batch of each reporter
        counts = journal.report_counts("search-a")
        assert sum(times * cells for times, cells in counts.items()) - len(every) <= blows * REPORTERS * MAX_BATCH
        # no cell was handed to two: the worker that was told of its acknowledgement is the one whose report was stored
        assert sum(len(reporter.acknowledged) for reporter in reporters) == len(every)
        assert journal.reporters("search-a") == {each.index: len(each.acknowledged) for each in reporters}
        assert journal.view("search-a").search().state is SearchState.COMPLETE
        assert len(journal.audit.history(namespace="team", model_key="forest")) == 1


def test_what_was_acknowledged_is_there_after_kills_of_the_service_each_cell_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tuning.db'}"
    with Process(tmp_path) as process:
        load, chance = Load(process, open_search(url, tmp_path, blows=KILLS)), random.Random(5)
        process.start()
        with load.working():
            for _ in range(KILLS):
                load.wait_for_more()
                time.sleep(chance.uniform(0, 0.05))
                process.kill()
                process.start()
        load.finish()
        process.kill()
    check_that_nothing_is_lost_or_doubled(url, load.reporters, blows=KILLS)


def test_what_was_acknowledged_is_there_after_restarts_and_kills_of_postgres_each_cell_once(tmp_path: Path) -> None:
    with postgres.running() as server:
        url = server.url(server.create_database())
        with Process(tmp_path, database_url=url) as process:
            load, chance = Load(process, open_search(url, tmp_path, blows=2 * POSTGRES_BLOWS)), random.Random(5)
            process.start()
            with load.working():
                for _ in range(POSTGRES_BLOWS):
                    load.wait_for_more()
                    time.sleep(chance.uniform(0, 0.05))
                    server.restart()
                    load.wait_for_more()
                    time.sleep(chance.uniform(0, 0.05))
                    server.kill()
                    server.start()
            load.finish()
        check_that_nothing_is_lost_or_doubled(url, load.reporters, blows=2 * POSTGRES_BLOWS)
        assert postgres.PASSWORD not in process.log
