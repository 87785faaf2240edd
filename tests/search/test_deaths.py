"""A unit that its claimant died with comes again alone, and then without the cell that it can only have been."""

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import children_of
from tests.search.searches import journal_in, opened, small, worker
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob.errors import WorkerDied
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, CellResult, Unit
from tuningjob.protocol.requests import ClaimRequest, Report, ReportReply
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import gather
from tuningjob.search.run import Worker
from tuningjob.search.stop import Stop, Terminated


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with journal_in(tmp_path) as journal:
        yield journal


@pytest.fixture
def problem(journal: SqlJournal) -> SearchProblem:
    """Twenty cells that one pod claims at once."""
    problem = small({"max_depth": [1, 2, 3, 4]}, returnTrainScore=True)
    opened(journal, problem)
    return problem


def claimed(journal: SqlJournal, claimant: str) -> Unit:
    unit = journal.view("s").claim(ClaimRequest(index=0, slots=2, holding=set(), claimant=claimant)).unit
    assert unit is not None
    return unit


class Noted:
    """The real journal; notes what was finished when a report came, and when it was acknowledged."""

    def __init__(self, ours: Worker) -> None:
        self.inner: Any = ours.journal
        self.finished: list[Cell] = []
        self.reports: list[list[Cell]] = []
        ours.on_cells = lambda results: self.finished.extend(result.cell for result in results)

    def report(self, report: Report) -> ReportReply:
        self.reports.append([result.cell for result in report.results])
        acknowledged = self.inner.report(report)
        assert self.finished == [cell for report in self.reports for cell in report], "another one had begun meanwhile"
        return acknowledged

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.slow
def test_a_unit_whose_claimant_died_is_done_one_cell_at_a_time_each_acknowledged_before_the_next(
    journal: SqlJournal, problem: SearchProblem
) -> None:
    cells = claimed(journal, "the first").cells
    ours = worker(journal, problem, claimant="the second")
    ours.journal = noted = Noted(ours)
    assert ours.evaluate_all()
    assert noted.reports == [[cell] for cell in cells]
    assert_equal_to_the_bit(
        gather(problem, journal.view("s").results()).cv_results, sklearn_search(problem).cv_results_
    )


@pytest.mark.slow
def test_what_is_at_work_is_ended_before_a_lonely_unit_begins_and_others_come_after_it(journal: SqlJournal) -> None:
    """A unit given back by an index that died with it twice comes in the middle of others."""
    problem = small({"max_depth": list(range(1, 21))})
    opened(journal, problem, pods=3)
    theirs = journal.view("s").claim(ClaimRequest(index=1, slots=2, holding=set(), claimant="1a")).unit
    again = journal.view("s").claim(ClaimRequest(index=1, slots=2, holding=set(), claimant="1b")).unit
    assert theirs is not None
    assert again is not None
    assert again.alone
    journal.give_back("s", first=1)
    ours = worker(journal, problem, claimant="0a")
    events: list[list[Cell]] = []
    ours.on_cells = lambda results: events.append([result.cell for result in results])
    ours.clock = iter(float(i) for i in range(1_000_000)).__next__  # everything is due at once
    assert ours.evaluate_all()
    flat = [cell for event in events for cell in event]
    lonely = [cell for cell in flat if cell in again.cells]
    assert lonely == list(again.cells)
    first = flat.index(lonely[0])
    assert flat[first : first + len(lonely)] == lonely
    assert journal.report_counts("s") == {1: 100}


@pytest.mark.slow
def test_the_cell_that_two_died_of_is_told_as_a_failed_fit_and_the_rest_is_evaluated(
    journal: SqlJournal, problem: SearchProblem
) -> None:
    opened(journal, problem, search_id="elsewhere")
    worker(journal, problem, search_id="elsewhere").evaluate_all()
    whole = {result.cell: result for result in journal.view("elsewhere").results()}
    claimed(journal, "the first")
    got_so_far = claimed(journal, "the second").cells[:3]
    journal.view("s").report(Report(index=0, results=[whole[cell] for cell in got_so_far]))
    culprit = claimed(journal, "the second").cells[0]

    assert worker(journal, problem, claimant="the third").evaluate_all()

    (lost,) = [result for result in journal.view("s").results() if result.error is not None]
    assert lost.cell == culprit
    assert "spec.resources.memory" in str(lost.error)
    assert (lost.fit_seconds, lost.test_samples) == (0, 30)
    assert lost.train_scores is not None
    assert all(math.isnan(scores["score"]) for scores in (lost.test_scores, lost.train_scores))
    assert journal.progress("s").failed == 1
    assert journal.report_counts("s") == {1: 20}
    assert_equal_but_for(culprit, gather(problem, journal.view("s").results()).cv_results, sklearn_search(problem))


def assert_equal_but_for(cell: Cell, found: dict[str, Any], search: Any) -> None:
    """Every score is scikit-learn's to the bit, and NaN for one cell."""
    for side in ("test", "train"):
        for split in range(5):
            name = f"split{split}_{side}_score"
            want = search.cv_results_[name].copy()
            if split == cell.split:
                want[cell.candidate] = np.nan
            assert found[name].tobytes() == want.tobytes(), name


def stopped_after(cells: int, stop: Stop, ours: Worker) -> None:
    """Ask it to stop once so many cells are finished."""
    finished: list[CellResult] = []

    def asked(results: list[CellResult]) -> None:
        finished.extend(results)
        if len(finished) >= cells:
            stop.request()

    ours.on_cells = asked
    with pytest.raises(Terminated):
        ours.evaluate_all()


@pytest.mark.slow
def test_who_is_asked_to_stop_again_and_again_has_died_of_nothing(journal: SqlJournal) -> None:
    problem = small({"max_depth": list(range(1, 61))})
    opened(journal, problem)
    for name in ("one", "two", "three"):
        stop = Stop()
        stopped_after(20, stop, worker(journal, problem, claimant=name, stop=stop))
    assert not claimed(journal, "four").alone
    journal.view("s").leave(index=0)
    assert worker(journal, problem, claimant="five").evaluate_all()
    assert [result.error for result in journal.view("s").results()] == [None] * 300
    assert journal.report_counts("s") == {1: 300}


@pytest.mark.slow
def test_who_is_asked_to_stop_amid_a_lonely_unit_has_not_died_of_it(
    journal: SqlJournal, problem: SearchProblem
) -> None:
    claimed(journal, "the first")
    stop = Stop()
    stopped_after(3, stop, worker(journal, problem, claimant="the second", stop=stop))
    unit = claimed(journal, "the third")
    assert unit.alone
    assert unit.lost is None


@pytest.mark.slow
def test_a_process_that_is_killed_counts_as_a_death(journal: SqlJournal) -> None:
    problem = small({"max_depth": list(range(1, 201))})
    opened(journal, problem)
    dying = worker(journal, problem, claimant="the first")

    def kill_one(_results: list[CellResult]) -> None:
        zygote = children_of(os.getpid())[-1]  # the youngest
        os.kill(children_of(zygote)[0], signal.SIGKILL)

    dying.on_cells = kill_one
    with pytest.raises(WorkerDied):
        dying.evaluate_all()
    assert claimed(journal, "the second").alone


@pytest.mark.slow
def test_runs_that_nobody_names_may_be_killed_as_often_as_their_user_likes(
    journal: SqlJournal, problem: SearchProblem
) -> None:
    for _ in range(3):
        assert not claimed(journal, "").alone
    assert worker(journal, problem).evaluate_all()
    assert journal.progress("s").failed == 0
