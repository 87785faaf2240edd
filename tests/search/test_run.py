"""The worker's loop: claim, fit, report."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.search.searches import journal_in, opened, small, worker
from tuningjob.errors import SearchFailed, WorkerDied
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import CellResult, SearchState
from tuningjob.protocol.requests import ClaimRequest
from tuningjob.search.outbox import Outbox
from tuningjob.search.stop import Stop, Terminated


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with journal_in(tmp_path) as journal:
        yield journal


@pytest.mark.slow
def test_every_cell_is_fitted_and_reported_once(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2, 3], "min_samples_leaf": [1, 2]})
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 30}


@pytest.mark.slow
def test_a_worker_whose_failed_fits_end_the_search_goes_home_at_once(journal: SqlJournal) -> None:
    problem = small({"max_depth": [*[-1] * 10, *range(1, 191)]}, limits={"maxFailedFits": 3})
    opened(journal, problem)
    ours = worker(journal, problem)
    ours.clock = iter(float(i) for i in range(1_000_000)).__next__  # everything is due at once
    with pytest.raises(SearchFailed, match="the search has ended: Failed"):
        ours.evaluate_all()
    progress = journal.progress("s")
    assert progress.state is SearchState.FAILED
    assert progress.failed > 3
    assert progress.done < 1_000


@pytest.mark.slow
def test_a_worker_leaves_no_thread_behind_that_would_keep_the_next_one_from_forking(journal: SqlJournal) -> None:
    before = set(Path("/proc/self/task").iterdir())
    problem = small({"max_depth": [1]})
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    assert set(Path("/proc/self/task").iterdir()) <= before


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_reports_what_it_finished_and_another_goes_on(journal: SqlJournal) -> None:
    problem = small({"max_depth": list(range(1, 21))})
    opened(journal, problem)
    stop = Stop()
    stopped = worker(journal, problem, stop=stop)
    fitted: list[CellResult] = []

    def after_ten(results: list[CellResult]) -> None:
        fitted.extend(results)
        if len(fitted) >= 10:
            stop.request()

    stopped.on_cells = after_ten
    with pytest.raises(Terminated):
        stopped.evaluate_all()
    assert journal.progress("s").done == len(fitted) < 100

    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 100}


@pytest.mark.slow
def test_a_worker_with_nothing_to_claim_goes_home_and_leaves_finishing_to_who_is_at_work(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2]})
    opened(journal, problem)
    journal.view("s").claim(ClaimRequest(index=1, slots=10, holding=set()))
    assert not worker(journal, problem, index=0).evaluate_all()
    assert worker(journal, problem, index=1).evaluate_all()


@pytest.mark.slow
def test_a_search_whose_every_fit_fails_ends_failed_with_the_first_traceback(
    journal: SqlJournal, tmp_path: Path
) -> None:
    problem = small(
        {"bootstrap": [False], "oob_score": [True], "n_estimators": [2, 3]},
        estimator="sklearn.ensemble.RandomForestClassifier",
    )
    opened(journal, problem)
    failing = worker(journal, problem)
    assert failing.evaluate_all()
    with pytest.raises(
        SearchFailed, match=r"(?s)all 10 fits failed; the first one ended with:.*Out of bag estimation only available"
    ):
        failing.finish(tmp_path / "out")
    assert journal.progress("s").state is SearchState.FAILED
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_fails_outside_of_a_fit_ends_the_search_with_its_traceback(journal: SqlJournal) -> None:
    problem = small({"kernel": ["precomputed"]}, estimator="sklearn.svm.SVC")
    opened(journal, problem)
    with pytest.raises(SearchFailed, match="X should be a square kernel matrix"):
        worker(journal, problem).evaluate_all()
    progress = journal.progress("s")
    assert progress.state is SearchState.FAILED
    assert "X should be a square kernel matrix" in str(progress.failure)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_only_what_it_had_in_flight(journal: SqlJournal, tmp_path: Path) -> None:
    problem = small(
        {"max_depth": list(range(1, 11)), "struck": [str(tmp_path / "struck")]},
        estimator="tests.search.estimators.Struck",
    )
    opened(journal, problem)
    with pytest.raises(WorkerDied, match="killed from outside"):
        worker(journal, problem).evaluate_all()
    assert 0 < journal.progress("s").done < 50
    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 50}


@pytest.mark.slow
def test_an_estimator_that_asks_for_every_core_gets_one(journal: SqlJournal) -> None:
    problem = small({"n_estimators": [3], "n_jobs": [-1, 4]}, estimator="sklearn.ensemble.RandomForestClassifier")
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    assert [cell.error for cell in journal.view("s").results()] == [None] * 10


@pytest.mark.slow
def test_a_fit_that_hangs_is_ended_after_fit_timeout_seconds_and_the_others_go_on(journal: SqlJournal) -> None:
    problem = small(
        {"hangs": [False, True], "max_depth": [1, 2]},
        estimator="tests.search.estimators.Hanging",
        crossValidation={"folds": 2},
        limits={"fitTimeoutSeconds": 1},
    )
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    results = list(journal.view("s").results())
    assert [result.error is None for result in results] == [True] * 4 + [False] * 4
    for result in results[4:]:
        assert str(result.error).startswith("TimeoutError: the fit took longer than 1 s")
        assert np.isnan(result.test_scores["score"])
        assert result.fit_seconds == 1.0


class Counting(Outbox):
    """An outbox that remembers how much it was given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[int] = []

    def put(self, results: Sequence[CellResult]) -> None:
        self.puts.append(len(results))
        super().put(results)


@pytest.mark.slow
def test_finished_cells_are_sent_within_a_second_by_the_workers_clock(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2, 3, 4]})
    opened(journal, problem)
    ticks = iter(range(10_000))
    eager = worker(journal, problem)
    eager.n_jobs, eager.clock, eager.outbox = 1, lambda: float(next(ticks)), Counting()
    assert eager.evaluate_all()
    assert sum(eager.outbox.puts) == 20
    # each look at the clock is a second later, so no finished chunk waits for the next
    assert len(eager.outbox.puts) >= 5
