"""No cell is fitted twice, even across searches: a result with the same identity in a namespace is taken over."""

import datetime as dt
import math

import pytest

from tests.journal.makers import Clock, Pod, a_result, a_search, an_answer
from tuningjob.errors import JournalMismatch, UnknownSearch
from tuningjob.journal.records import NewSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, CellIdentity, CellResult, Next
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest


def identity(cell: Cell) -> str:
    return f"{cell.candidate:016x}{cell.split:016x}"


def known(cell: Cell, **changes: object) -> CellResult:
    return a_result(cell, identity=identity(cell), **changes)


def wanted(*cells: Cell) -> list[CellIdentity]:
    return [CellIdentity(candidate=cell.candidate, split=cell.split, identity=identity(cell)) for cell in cells]


def all_of(new: NewSearch) -> list[Cell]:
    return [Cell(candidate, split) for candidate in range(new.candidates) for split in range(new.splits)]


def finish(journal: SqlJournal, new: NewSearch) -> None:
    """A search whose every cell has an identity."""
    journal.open_search(new)
    worker = Pod(journal.view(new.id), slots=1_000)
    while unit := worker.claim():
        journal.view(new.id).report(Report(index=0, results=[known(cell, test_samples=7) for cell in unit.cells]))


@pytest.fixture
def taught(journal: SqlJournal) -> SqlJournal:
    """search-a is finished; search-b has four candidates more, and every cell of it is claimed."""
    finish(journal, a_search("search-a", pods=1))
    journal.open_search(a_search("search-b", candidates=10, pods=1))
    Pod(journal.view("search-b")).must_claim()
    return journal


def test_what_another_search_of_the_namespace_finished_is_taken_over_as_it_is(taught: SqlJournal) -> None:
    cells = [Cell(0, 1), Cell(5, 4), Cell(9, 0)]
    assert set(taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(*cells)))) == {Cell(0, 1), Cell(5, 4)}
    assert list(taught.view("search-b").results()) == [known(cell, test_samples=7) for cell in cells[:2]]


def test_reused_cells_count_as_done_and_reused_and_as_reported_never(taught: SqlJournal) -> None:
    taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(*all_of(a_search()))))
    progress = taught.progress("search-b")
    assert (progress.done, progress.reused, progress.total) == (30, 30, 50)
    assert taught.report_counts("search-b") == {0: 30}
    assert progress.best is not None
    assert progress.best.index == 3


def test_a_grid_that_was_extended_fits_the_new_candidates_only(taught: SqlJournal) -> None:
    everything = all_of(a_search(candidates=10))
    reused = taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(*everything)))
    rest = [cell for cell in everything if cell not in reused]
    assert {cell.candidate for cell in rest} == {6, 7, 8, 9}
    taught.view("search-b").report(Report(index=0, results=[known(cell) for cell in rest]))
    assert taught.view("search-b").claim(ClaimRequest(index=0, slots=1, holding=set())).next is Next.FINISH


def test_asking_twice_changes_nothing_and_tells_what_is_finished(taught: SqlJournal) -> None:
    taught.view("search-b").report(Report(index=0, results=[known(Cell(9, 0))]))
    ask = wanted(Cell(0, 0), Cell(9, 0), Cell(9, 1))
    assert set(taught.view("search-b").reuse(ReuseRequest(index=0, cells=ask))) == {Cell(0, 0), Cell(9, 0)}
    assert set(taught.view("search-b").reuse(ReuseRequest(index=0, cells=ask))) == {Cell(0, 0), Cell(9, 0)}
    assert taught.progress("search-b").reused == 1
    assert taught.report_counts("search-b") == {0: 1, 1: 1}


@pytest.mark.slow
def test_a_report_of_a_reused_cell_changes_nothing_but_the_count(taught: SqlJournal) -> None:
    taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0))))
    assert taught.view("search-b").report(Report(index=0, results=[known(Cell(0, 0), test_samples=99)])).new == 0
    assert [result.test_samples for result in taught.view("search-b").results()] == [7]


def test_another_namespaces_cells_are_not_for_us(taught: SqlJournal) -> None:
    taught.open_search(a_search("elsewhere", namespace="other", pods=1))
    Pod(taught.view("elsewhere")).must_claim()
    assert taught.view("elsewhere").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0)))) == ()


def test_what_failed_or_has_no_identity_is_fitted_again(journal: SqlJournal) -> None:
    journal.open_search(a_search("search-a", pods=1))
    Pod(journal.view("search-a")).must_claim()
    failed = known(Cell(0, 0), error="boom", test_scores={"accuracy": math.nan})
    journal.view("search-a").report(Report(index=0, results=[failed, a_result(Cell(0, 1))]))
    journal.open_search(a_search("search-b", pods=1))
    Pod(journal.view("search-b")).must_claim()
    assert journal.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0), Cell(0, 1)))) == ()


def test_a_result_is_taken_over_to_wherever_its_cell_is_in_the_new_grid(taught: SqlJournal) -> None:
    moved = CellIdentity(candidate=8, split=2, identity=identity(Cell(3, 2)))
    assert taught.view("search-b").reuse(ReuseRequest(index=0, cells=[moved])) == (Cell(8, 2),)
    (result,) = taught.view("search-b").results()
    assert result == known(Cell(3, 2), candidate=8, test_samples=7)


def test_a_cell_that_was_not_claimed_is_not_reused(taught: SqlJournal) -> None:
    taught.open_search(a_search("search-c"))
    with pytest.raises(JournalMismatch, match="must be one that was claimed"):
        taught.view("search-c").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0))))
    with pytest.raises(JournalMismatch, match="must be one that was claimed"):
        taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(10, 0))))
    assert taught.progress("search-c").done == 0


def test_the_cells_of_a_deleted_search_are_reused_until_they_are_purged(taught: SqlJournal, clock: Clock) -> None:
    taught.delete("search-a")
    with pytest.raises(UnknownSearch):
        taught.progress("search-a")
    assert taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0)))) == (Cell(0, 0),)
    assert taught.purge(clock.now - dt.timedelta(days=1)) == 0
    clock.pass_time(days=2)
    assert taught.purge(clock.now - dt.timedelta(days=1)) == 1
    assert taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(1, 0)))) == ()
    assert taught.progress("search-b").done == 1, "what was taken over stays"


def test_a_search_that_is_there_is_never_purged(taught: SqlJournal, clock: Clock) -> None:
    clock.pass_time(days=1_000)
    assert taught.purge(clock.now) == 0
    assert taught.progress("search-a").done == 30


def test_a_reused_cell_says_whose_it_is_also_at_second_hand(taught: SqlJournal, clock: Clock) -> None:
    taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 1), Cell(5, 4))))
    taught.delete("search-a")
    assert taught.purge(clock.now + dt.timedelta(seconds=1)) == 1
    taught.open_search(a_search("search-c", candidates=10, pods=1))
    Pod(taught.view("search-c")).must_claim()
    taught.view("search-c").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 1))))
    assert taught.reused_from("search-b") == {"search-a": 2}
    assert taught.reused_from("search-c") == {"search-a": 1}


def test_the_audit_tells_from_whom_cells_were_taken_over(taught: SqlJournal) -> None:
    taught.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(*all_of(a_search()))))
    Pod(taught.view("search-b")).restarted().work()
    taught.view("search-b").complete(an_answer())
    assert taught.audit.version(namespace="team", model_key="forest", version=1).reused_from == {"search-a": 30}


def test_a_fit_that_failed_hides_none_that_succeeded(journal: SqlJournal) -> None:
    journal.open_search(a_search("failed", candidates=1, splits=1))
    Pod(journal.view("failed")).must_claim()
    journal.view("failed").report(
        Report(index=0, results=[known(Cell(0, 0), error="no", test_scores={"accuracy": math.nan})])
    )
    finish(journal, a_search("search-a", pods=1))
    journal.open_search(a_search("search-b", pods=1))
    Pod(journal.view("search-b")).must_claim()
    assert journal.view("search-b").reuse(ReuseRequest(index=0, cells=wanted(Cell(0, 0)))) == (Cell(0, 0),)
