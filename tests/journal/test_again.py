"""What failed is tried again: in the search itself while no version means it, else in another that begins with what is finished."""

from collections.abc import Collection

import pytest

from tests.journal.makers import Clock, Pod, a_preflight, a_result, a_search, an_answer
from tuningjob.errors import JournalMismatch, UnknownSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Axis, Block, Cell, Next, SearchState
from tuningjob.protocol.requests import Report

ALL = [Cell(candidate, split) for candidate in range(6) for split in range(5)]
FAILED = [Cell(0, 1), Cell(0, 2), Cell(4, 0), Cell(5, 4)]
# the candidates are walked in another order than the grid's
PREFLIGHT = a_preflight(blocks=(Block(start=0, axes=(Axis(size=2, stride=1), Axis(size=3, stride=2, together=True))),))


def work(journal: SqlJournal, search: str, *, failing: Collection[Cell] = (), until: int = 1_000) -> list[Cell]:
    """What one worker evaluates, at most so many cells; it leaves in good order."""
    pod, evaluated = Pod(journal.view(search), slots=2), list[Cell]()
    while len(evaluated) < until and (unit := pod.claim()) is not None:
        results = [
            a_result(
                cell, **({"error": "Traceback", "test_scores": {"accuracy": float("nan")}} if cell in failing else {})
            )
            for cell in unit.cells
        ]
        journal.view(search).report(Report(index=0, results=results))
        evaluated += unit.cells
    journal.view(search).leave(index=0)
    return evaluated


def begun(journal: SqlJournal, search: str = "search-a") -> None:
    journal.open_search(a_search(search, pods=1))
    journal.view(search).set_preflight(PREFLIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_a_search_goes_on_with_its_failed_cells_alone(journal: SqlJournal, clock: Clock, how: str) -> None:
    begun(journal)
    first = work(journal, "search-a", failing=FAILED, until=20 if how == "stopped" else 1_000)
    failed = [cell for cell in first if cell in FAILED]
    if how == "failed":
        journal.fail("search-a", "all is lost")
    assert journal.begin_again("search-a", a_search()) == len(first) - len(failed)

    again = journal.progress("search-a")
    assert (again.state, again.failure, again.ended_by, again.end_reason) == (SearchState.RUNNING, None, None, "")
    assert (again.done, again.failed) == (len(first) - len(failed), 0)
    clock.pass_time(seconds=100)
    journal.view("search-a").set_preflight(PREFLIGHT)
    clock.pass_time(seconds=5)
    second = work(journal, "search-a")
    assert sorted(second) == sorted({*ALL} - {*first} | {*failed})
    assert Pod(journal.view("search-a")).asks() is Next.FINISH
    journal.view("search-a").complete(an_answer())
    assert [result.cell for result in journal.view("search-a").results()] == ALL
    assert all(result.error is None for result in journal.view("search-a").results())
    (version,) = journal.audit.history(namespace="team", model_key="forest")
    assert version.duration_seconds == 5, "of this run alone"


@pytest.mark.slow
def test_of_a_complete_search_another_is_made_and_the_version_stays(journal: SqlJournal) -> None:
    begun(journal)
    work(journal, "search-a", failing=FAILED)
    journal.view("search-a").complete(an_answer(failed_fits=4))
    before = journal.progress("search-a")
    with pytest.raises(JournalMismatch, match="a complete search stays as it is"):
        journal.begin_again("search-a", a_search())

    assert journal.begin_again("search-a", a_search("search-b", created_by="eve", artifacts="file:///b")) == 26
    journal.view("search-b").set_preflight(PREFLIGHT)
    assert sorted(work(journal, "search-b")) == FAILED
    assert journal.view("search-b").complete(an_answer()) == 2
    assert journal.progress("search-a") == before
    one, two = journal.audit.history(namespace="team", model_key="forest")
    assert (one.search_id, one.failed_fits) == ("search-a", 4)
    assert (two.search_id, two.created_by, two.artifacts) == ("search-b", "eve", "file:///b")
    assert journal.report_counts("search-b") == {0: 26, 1: 4}


def test_a_search_that_is_there_is_never_written_over(journal: SqlJournal) -> None:
    begun(journal)
    begun(journal, "search-b")
    work(journal, "search-b")
    with pytest.raises(JournalMismatch, match="search-b is there"):
        journal.begin_again("search-a", a_search("search-b"))
    assert journal.progress("search-b").done == 30


def test_another_attempt_takes_the_place_of_one_that_was_given_up(journal: SqlJournal) -> None:
    begun(journal)
    work(journal, "search-a", failing=FAILED)
    journal.view("search-a").complete(an_answer(failed_fits=4))
    for _ in range(2):
        assert journal.begin_again("search-a", a_search("search-b")) == 26
        journal.view("search-b").set_preflight(PREFLIGHT)
        assert sorted(work(journal, "search-b", failing=FAILED)) == FAILED
        journal.delete("search-b")
    assert journal.named("team", "forest") == ["search-a"]


def test_a_search_of_which_nothing_failed_keeps_all(journal: SqlJournal) -> None:
    begun(journal)
    work(journal, "search-a")
    journal.fail("search-a", "the refit failed")
    assert journal.begin_again("search-a", a_search()) == 30
    assert Pod(journal.view("search-a")).asks() is Next.FINISH


def test_a_search_that_nobody_knows_cannot_begin_again(journal: SqlJournal) -> None:
    with pytest.raises(UnknownSearch):
        journal.begin_again("never", a_search())


def test_searches_of_a_name_are_told_the_newest_first(journal: SqlJournal, clock: Clock) -> None:
    for search, changes in (("a", {}), ("b", {}), ("c", {"name": "tree"}), ("d", {"namespace": "other"})):
        journal.open_search(a_search(search, **changes))
        clock.pass_time(seconds=1)
    assert journal.named("team", "forest") == ["b", "a"]
    journal.delete("b")
    assert journal.named("team", "forest") == ["a"]
