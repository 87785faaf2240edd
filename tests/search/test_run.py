"""The worker's loop: claim, fit, report."""

import os
import signal
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import pytest

from tests.processes import children_of
from tuningjob.errors import SearchFailed, WorkerDied
from tuningjob.journal.records import CellResult, Claim, NewSearch, SearchState
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.run import Worker
from tuningjob.search.stop import Stop, Terminated
from tuningjob.spec import dump_spec, load


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    journal = open_sqlite(tmp_path / "tuning.db")
    yield journal
    journal.close()


def small(parameters: Any, *, estimator: str = "sklearn.tree.DecisionTreeClassifier") -> SearchProblem:
    document = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "small"},
        "spec": {
            "estimator": {"class": estimator, "params": {"random_state": 0}},
            "search": {"grid": {"parameters": parameters}},
            "data": {"loader": "sklearn.datasets.load_iris"},
        },
    }
    return prepare(load(document).spec, Path())


def opened(journal: SqlJournal, problem: SearchProblem, *, pods: int = 1, search_id: str = "s") -> None:
    journal.open_search(
        NewSearch(
            id=search_id,
            namespace="default",
            name="small",
            model_key="small",
            spec=dump_spec(problem.spec),
            candidates=len(problem.candidates),
            splits=len(problem.splits),
            pods=pods,
        )
    )
    journal.set_preflight(search_id, problem.preflight)


def worker(journal: SqlJournal, problem: SearchProblem, *, index: int = 0, stop: Stop | None = None) -> Worker:
    return Worker(journal=journal.view("s"), problem=problem, index=index, n_jobs=2, stop=stop or Stop())


def test_every_cell_is_fitted_and_reported_once(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2, 3], "min_samples_leaf": [1, 2]})
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 30}


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


def test_a_worker_with_nothing_to_claim_goes_home_and_leaves_finishing_to_who_is_at_work(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2]})
    opened(journal, problem)
    journal.claim("s", index=1, slots=10, holding=set())
    assert not worker(journal, problem, index=0).evaluate_all()
    assert worker(journal, problem, index=1).evaluate_all()


def test_a_search_whose_every_fit_fails_ends_failed_with_the_first_traceback(
    journal: SqlJournal, tmp_path: Path
) -> None:
    problem = small({"max_depth": [-1, -2]})
    opened(journal, problem)
    failing = worker(journal, problem)
    assert failing.evaluate_all()
    with pytest.raises(
        SearchFailed, match=r"(?s)all 10 fits failed; the first one ended with:.*InvalidParameterError.*max_depth"
    ):
        failing.finish(tmp_path / "out")
    assert journal.progress("s").state is SearchState.FAILED
    assert not (tmp_path / "out").exists()


def test_what_fails_outside_of_a_fit_ends_the_search_with_its_traceback(journal: SqlJournal) -> None:
    problem = small({"kernel": ["precomputed"]}, estimator="sklearn.svm.SVC")
    opened(journal, problem)
    with pytest.raises(SearchFailed, match="X should be a square kernel matrix"):
        worker(journal, problem).evaluate_all()
    progress = journal.progress("s")
    assert progress.state is SearchState.FAILED
    assert "X should be a square kernel matrix" in str(progress.failure)


def test_a_process_that_is_killed_costs_only_what_it_had_in_flight(journal: SqlJournal) -> None:
    problem = small({"max_depth": list(range(1, 21))})
    opened(journal, problem)
    dying = worker(journal, problem)

    def kill_one(_results: list[CellResult]) -> None:
        zygote = children_of(os.getpid())[-1]  # the youngest
        os.kill(children_of(zygote)[0], signal.SIGKILL)

    dying.on_cells = kill_one
    with pytest.raises(WorkerDied, match="killed from outside"):
        dying.evaluate_all()
    assert journal.progress("s").done > 0
    assert worker(journal, problem).evaluate_all()
    assert journal.report_counts("s") == {1: 100}


def test_an_estimator_that_asks_for_every_core_gets_one(journal: SqlJournal) -> None:
    problem = small({"n_estimators": [3], "n_jobs": [-1, 4]}, estimator="sklearn.ensemble.RandomForestClassifier")
    opened(journal, problem)
    assert worker(journal, problem).evaluate_all()
    assert [cell.error for cell in journal.results("s")] == [None] * 10


class LateJournal:
    """The real journal, with a clock that jumps between calls: reports come due in the middle of everything."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.reports: list[int] = []

    def claim(self, *, index: int, slots: int, holding: Set[int]) -> Claim:
        return self.inner.claim(index=index, slots=slots, holding=holding)

    def report(self, *, index: int, results: Sequence[CellResult]) -> int:
        self.reports.append(len(results))
        return self.inner.report(index=index, results=results)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_finished_cells_are_reported_within_a_second_by_the_workers_clock(journal: SqlJournal) -> None:
    problem = small({"max_depth": [1, 2, 3, 4]})
    opened(journal, problem)
    late = LateJournal(journal.view("s"))
    ticks = iter(range(10_000))
    eager = Worker(journal=late, problem=problem, index=0, n_jobs=1, clock=lambda: float(next(ticks)))
    assert eager.evaluate_all()
    assert sum(late.reports) == 20
    # each look at the clock is a second later, so no finished chunk waits for the next
    assert len(late.reports) >= 5
