"""The journal is away for a while: the worker goes on with what it holds, and nothing that it finished is lost."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.search.searches import journal_in, opened, small, worker
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob.errors import JournalError, ServiceUnavailable
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import CellResult, Claim
from tuningjob.protocol.requests import ClaimRequest, Report, ReportReply
from tuningjob.search.outbox import Outbox
from tuningjob.search.results import gather
from tuningjob.search.stop import Stop, Terminated

DEPTHS = {"max_depth": list(range(1, 101))}  # 500 cells


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with journal_in(tmp_path) as journal:
        yield journal


class Flaky:
    """The real journal, behind a client that tries again and again: while it is away no call comes back."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._here = threading.Event()
        self._here.set()
        self.error: Exception | None = None

    def go_away(self) -> None:
        self._here.clear()

    def come_back(self) -> None:
        self._here.set()

    def stay_away(self, error: Exception) -> None:
        """The client's patience is at its end."""
        self.error = error
        self._here.set()

    def _reached(self) -> Any:
        self._here.wait()
        if self.error is not None:
            raise self.error
        return self.inner

    def claim(self, request: ClaimRequest) -> Claim:
        return self._reached().claim(request)

    def report(self, report: Report) -> ReportReply:
        return self._reached().report(report)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reached(), name)


class After:
    """Calls each act once so many cells are finished; ``cells`` in all."""

    def __init__(self, acts: dict[int, Callable[[], None]]) -> None:
        self.acts = acts
        self.cells = 0

    def __call__(self, results: list[CellResult]) -> None:
        self.cells += len(results)
        for count in [count for count in self.acts if self.cells >= count]:
            self.acts.pop(count)()


@pytest.mark.slow
def test_an_outage_in_the_middle_costs_nothing_and_the_engine_goes_on_meanwhile(journal: SqlJournal) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.journal = flaky = Flaky(ours.journal)
    ours.outbox = Outbox(memory_cells=16)
    known: list[int] = []

    def back() -> None:
        known.append(journal.progress("s").done)
        flaky.come_back()

    ours.on_cells = After({50: flaky.go_away, 350: back})
    assert ours.evaluate_all()
    # three hundred cells were finished that the journal did not know of, most of them not in memory
    assert known[0] <= 100
    assert ours.outbox.spilled >= 50
    assert journal.report_counts("s") == {1: 500}
    assert_equal_to_the_bit(
        gather(problem, journal.view("s").results()).cv_results, sklearn_search(problem).cv_results_
    )


class Watched(Outbox):
    """Tells when it is full, and how much it ever held."""

    def __init__(self, *, memory_cells: int, file_bytes: int) -> None:
        super().__init__(memory_cells=memory_cells, file_bytes=file_bytes)
        self.most = 0
        self.full = threading.Event()

    def put(self, results: Sequence[CellResult]) -> None:
        super().put(results)
        self.most = max(self.most, len(self))
        if self.is_full:
            self.full.set()


@pytest.mark.slow
def test_a_worker_that_can_keep_no_more_waits_and_drops_nothing(journal: SqlJournal) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.journal = flaky = Flaky(ours.journal)
    ours.outbox = outbox = Watched(memory_cells=16, file_bytes=10_000)

    def back_when_full() -> None:
        assert outbox.full.wait(60)
        time.sleep(0.3)  # enough for all the rest, if anybody took it
        flaky.come_back()

    helper = threading.Thread(target=back_when_full)
    ours.on_start = helper.start
    ours.on_cells = After({50: flaky.go_away})
    assert ours.evaluate_all()
    helper.join()
    assert 40 <= outbox.most <= 400
    assert journal.report_counts("s") == {1: 500}


@pytest.mark.slow
def test_an_outage_before_the_first_claim_is_waited_for(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2]})
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.journal = flaky = Flaky(ours.journal)
    flaky.go_away()
    helper = threading.Timer(0.1, flaky.come_back)
    ours.on_start = helper.start
    assert ours.evaluate_all()
    helper.join()
    assert journal.report_counts("s") == {1: 10}


@pytest.mark.slow
def test_a_service_that_stays_away_ends_the_worker_and_the_next_one_finishes(journal: SqlJournal) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.journal = flaky = Flaky(ours.journal)
    away = ServiceUnavailable("must answer within 600 seconds")
    ours.on_cells = After({100: flaky.go_away, 200: lambda: flaky.stay_away(away)})
    with pytest.raises(ServiceUnavailable, match="600 seconds"):
        ours.evaluate_all()
    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 500}


@pytest.mark.slow
def test_a_refusal_ends_the_worker_at_once(journal: SqlJournal) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.journal = flaky = Flaky(ours.journal)
    ours.on_cells = After({100: lambda: flaky.stay_away(JournalError("The token must be used before 2027"))})
    with pytest.raises(JournalError, match="before 2027"):
        ours.evaluate_all()


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.slow
def test_who_is_asked_to_stop_in_an_outage_offers_what_is_finished_until_the_service_is_back(
    journal: SqlJournal,
) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    stop = Stop()
    ours = worker(journal, problem, claimant="first", stop=stop)
    ours.journal = flaky = Flaky(ours.journal)
    helper = threading.Timer(0.2, flaky.come_back)

    def asked() -> None:
        stop.request()
        helper.start()

    ours.on_cells = finished = After({50: flaky.go_away, 200: asked})
    with pytest.raises(Terminated):
        ours.evaluate_all()
    helper.join()
    assert journal.progress("s").done == finished.cells >= 200
    unit = journal.view("s").claim(ClaimRequest(index=0, slots=2, holding=set(), claimant="second")).unit
    assert unit is not None
    assert not unit.alone


@pytest.mark.slow
def test_and_goes_when_its_grace_is_over_even_if_a_call_hangs(journal: SqlJournal) -> None:
    problem = small(DEPTHS)
    opened(journal, problem)
    now = Time()
    stop = Stop(clock=now)
    ours = worker(journal, problem, stop=stop)
    ours.journal = flaky = Flaky(ours.journal)

    def asked() -> None:
        stop.request()
        now.now = 30

    ours.on_cells = After({50: flaky.go_away, 100: asked})
    with pytest.raises(Terminated):
        ours.evaluate_all()
    assert journal.progress("s").done < 200
    flaky.stay_away(ServiceUnavailable("for the thread that was left behind"))
    for thread in threading.enumerate():
        if thread.name == "courier":
            thread.join()
