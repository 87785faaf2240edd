"""What any search of the namespace has finished is not fitted again, where spec.reuse asks for that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.search.searches import journal_in, opened, small, worker
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import CellResult
from tuningjob.protocol.requests import ClaimRequest
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import gather

pytestmark = pytest.mark.slow


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with journal_in(tmp_path) as journal:
        yield journal


def searched(journal: SqlJournal, search_id: str, problem: SearchProblem) -> list[CellResult]:
    """A whole search; returns what was evaluated for it."""
    opened(journal, problem, search_id=search_id)
    ours = worker(journal, problem, search_id=search_id)
    evaluated: list[CellResult] = []
    ours.on_cells = evaluated.extend
    assert ours.evaluate_all()
    assert journal.progress(search_id).done == len(problem.candidates) * len(problem.splits)
    return evaluated


def test_of_a_grid_that_is_extended_only_the_new_candidates_run(journal: SqlJournal) -> None:
    searched(journal, "small", small({"max_depth": [2, 4]}))
    larger = small({"max_depth": [1, 2, 3, 4, 5]}, reuse=True)
    evaluated = searched(journal, "larger", larger)
    assert sorted({result.candidate for result in evaluated}) == [0, 2, 4]
    assert len(evaluated) == 15
    assert journal.progress("larger").reused == 10
    assert journal.report_counts("larger") == {0: 10, 1: 15}
    assert_equal_to_the_bit(
        gather(larger, journal.view("larger").results()).cv_results, sklearn_search(larger).cv_results_
    )


def test_a_search_that_is_known_as_a_whole_fits_nothing(journal: SqlJournal) -> None:
    grid = {"max_depth": list(range(1, 301))}  # 1,500 cells: more than one request may name
    searched(journal, "first", small(grid))
    assert searched(journal, "again", small(grid, reuse=True)) == []
    assert journal.progress("again").reused == 1_500


def test_without_reuse_everything_is_fitted(journal: SqlJournal) -> None:
    searched(journal, "first", small({"max_depth": [1, 2]}))
    assert len(searched(journal, "again", small({"max_depth": [1, 2]}))) == 10


@pytest.mark.parametrize(
    "changed",
    [
        {"scoring": "balanced_accuracy"},
        {"crossValidation": {"folds": 4}},
        {"data": {"loader": "sklearn.datasets.load_wine"}},
    ],
    ids=str,
)
def test_what_is_searched_otherwise_is_not_the_same(journal: SqlJournal, changed: dict[str, Any]) -> None:
    searched(journal, "first", small({"max_depth": [1, 2]}))
    other = small({"max_depth": [1, 2]}, reuse=True, **changed)
    assert len(searched(journal, "other", other)) == 2 * len(other.splits)


def test_what_draws_unseeded_numbers_is_always_fitted(journal: SqlJournal) -> None:
    grid = {"random_state": [None, 1], "max_depth": [1]}
    searched(journal, "first", small(grid))
    assert {result.candidate for result in searched(journal, "again", small(grid, reuse=True))} == {0}


def test_a_fit_that_failed_is_tried_again(journal: SqlJournal) -> None:
    grid = {"max_depth": [-1, 2]}
    searched(journal, "first", small(grid))
    assert {result.candidate for result in searched(journal, "again", small(grid, reuse=True))} == {0}


def test_cells_of_a_lonely_unit_are_reused_as_well(journal: SqlJournal) -> None:
    searched(journal, "first", small({"max_depth": [1, 2]}))
    problem = small({"max_depth": [1, 2, 3]}, reuse=True)
    opened(journal, problem)
    journal.view("s").claim(ClaimRequest(index=0, slots=2, holding=set(), claimant="the first"))
    ours = worker(journal, problem, claimant="the second")
    evaluated: list[CellResult] = []
    ours.on_cells = evaluated.extend
    assert ours.evaluate_all()
    assert [result.candidate for result in evaluated] == [2] * 5
