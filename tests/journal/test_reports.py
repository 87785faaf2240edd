"""The journal's contract on reports: each cell counts once, and what is told of the search follows from them."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.makers import a_preflight, a_result, a_search, an_answer, pod, score_of
from tuningjob.errors import JournalMismatch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Axis, Block, Cell, Next, SearchState
from tuningjob.protocol.requests import Report, ReportReply

# --- reports --------------------------------------------------------------------------------------------------------


def test_a_report_says_how_many_cells_were_new(opened: SqlJournal) -> None:
    worker = pod(opened)
    unit = worker.must_claim()
    assert worker.report(*unit.cells[:2]) == 2
    assert worker.report(*unit.cells[:3]) == 1


def test_a_second_report_changes_nothing_but_the_count_of_reports(opened: SqlJournal) -> None:
    worker = pod(opened)
    cell = worker.must_claim().cells[0]
    worker.report(cell)
    before = opened.progress("search-a")
    opened.view("search-a").report(
        Report(index=7, results=[a_result(cell, test_scores={"accuracy": -1.0}, error="boom")])
    )
    assert opened.progress("search-a") == before
    assert list(opened.view("search-a").results()) == [a_result(cell)]
    assert opened.report_counts("search-a") == {2: 1}


def test_the_first_of_two_results_of_a_cell_in_one_report_counts(opened: SqlJournal) -> None:
    cell = pod(opened).must_claim().cells[0]
    first, second = a_result(cell), a_result(cell, test_scores={"accuracy": -1.0})
    assert opened.view("search-a").report(Report(index=0, results=[first, second])).new == 1
    assert list(opened.view("search-a").results()) == [first]


@pytest.mark.parametrize(
    "outside", [Cell(6, 0), Cell(0, 5), Cell(5, 4), Cell(0, 2**40)], ids=["candidate", "split", "unclaimed", "far"]
)
def test_a_report_with_a_cell_that_was_not_claimed_is_refused_as_a_whole(opened: SqlJournal, outside: Cell) -> None:
    worker = pod(opened)
    unit = worker.must_claim()
    with pytest.raises(JournalMismatch, match="a reported cell must be one that was claimed"):
        worker.report(unit.cells[0], outside, *unit.cells[1:])
    assert opened.progress("search-a").done == 0


def test_what_an_index_reports_late_counts_though_its_unit_went_to_another(opened: SqlJournal) -> None:
    late, other = pod(opened, 0), pod(opened, 1)
    unit = late.must_claim()
    opened.give_back("search-a", first=0)
    other.must_claim()
    late.report(*unit.cells)
    assert other.restarted().must_claim().id != unit.id, "nothing is left of it"


def test_results_come_in_the_order_candidate_then_split(opened: SqlJournal) -> None:
    worker = pod(opened)
    units = [worker.must_claim(), worker.must_claim()]
    for unit in reversed(units):
        worker.report(*reversed(unit.cells))
    cells = [result.cell for result in opened.view("search-a").results()]
    assert cells == [cell for unit in units for cell in unit.cells]


@pytest.mark.parametrize("all_in", [True, False])
def test_results_are_paged_alike_with_and_without_gaps(opened: SqlJournal, *, all_in: bool) -> None:
    first = pod(opened).must_claim()
    pod(opened, 1).work()
    if all_in:
        pod(opened).finish(first)
    everything = list(opened.view("search-a").results())
    assert len(everything) == (30 if all_in else 30 - len(first.cells))
    assert list(opened.view("search-a").results(start=4, limit=7)) == everything[4:11]
    assert list(opened.view("search-a").results(start=20)) == everything[20:]
    assert list(opened.view("search-a").results(start=1000, limit=5)) == []


def test_progress_counts_cells_and_failed_fits_and_shows_the_best_whole_candidate(opened: SqlJournal) -> None:
    cells = [cell for index in range(4) for cell in pod(opened, index, slots=4).must_claim().cells]
    assert cells[-1] == Cell(3, 0)
    results = [a_result(cell) for cell in cells if cell.candidate < 2 or cell.split > 0]
    failed = a_result(Cell(0, 0), test_scores={"accuracy": math.nan}, error="Traceback")
    opened.view("search-a").report(Report(index=0, results=[failed]))
    opened.view("search-a").report(Report(index=0, results=results))
    progress = opened.progress("search-a")
    assert (progress.done, progress.failed, progress.total) == (len(results), 1, 30)
    mean = sum(score_of(Cell(1, split)) for split in range(5)) / 5
    assert progress.best is not None
    assert progress.best.index == 1, "0 has a NaN, 2 is not whole"
    assert progress.best.score == pytest.approx(mean)


@pytest.mark.parametrize("scores", [(math.inf, -math.inf), (math.nan, math.nan)])
def test_a_candidate_whose_mean_is_no_number_is_not_the_best(journal: SqlJournal, scores: tuple[float, float]) -> None:
    journal.open_search(a_search(candidates=1, splits=2))
    unit = pod(journal, slots=2).must_claim()
    results = [a_result(cell, test_scores={"accuracy": score}) for cell, score in zip(unit.cells, scores, strict=True)]
    journal.view("search-a").report(Report(index=0, results=results))
    assert journal.progress("search-a").best is None


floats = st.floats(allow_nan=True, allow_infinity=True)


@pytest.fixture(scope="module")
def in_memory() -> Iterator[SqlJournal]:
    """One for all examples, of which each has a search of its own."""
    with closing(SqlJournal("sqlite://")) as journal:
        yield journal


@pytest.mark.slow
@settings(max_examples=50)
@given(test=floats, train=floats, seconds=st.floats(0, 1e9), error=st.none() | st.text(max_size=50))
def test_results_come_back_equal_to_the_bit(
    in_memory: SqlJournal, test: float, train: float, seconds: float, error: str | None
) -> None:
    search = f"search-{len(in_memory.revisions())}"
    in_memory.open_search(a_search(search, candidates=1, splits=1))
    cell = pod(in_memory, search=search).must_claim().cells[0]
    sent = a_result(cell, test_scores={"a": test}, train_scores={"a": train}, fit_seconds=seconds, error=error)
    in_memory.view(search).report(Report(index=0, results=[sent]))
    assert [repr(result) for result in in_memory.view(search).results()] == [repr(sent)]


def test_progress_tells_what_cells_cost(opened: SqlJournal) -> None:
    opened.view("search-a").set_preflight(a_preflight(blocks=(Block(start=0, axes=(Axis(size=6, stride=1),)),)))
    assert (opened.progress("search-a").cell_seconds, opened.progress("search-a").measured) == (0.0, 0)
    pod(opened).work()
    progress = opened.progress("search-a")
    assert (progress.cell_seconds, progress.measured) == (30 * 0.75, 30)


def test_progress_tells_the_last_index_that_holds_something(opened: SqlJournal) -> None:
    def last() -> int | None:
        return opened.progress("search-a").last_holder

    assert last() is None
    third, first = pod(opened, 2), pod(opened, 0)
    theirs, ours = third.must_claim(), first.must_claim()
    assert last() == 2
    third.finish(theirs)
    assert last() == 0
    first.finish(ours)
    assert last() is None
    pod(opened, 5).work()
    assert last() == 5, "it finishes"
    opened.view("search-a").complete(an_answer())
    assert last() is None, "an ended search keeps nobody"


def test_the_report_that_passes_max_failed_fits_ends_the_search_also_with_its_last_cells(journal: SqlJournal) -> None:
    spec = {"limits": {"maxFailedFits": 2}}
    journal.open_search(a_search(spec=spec))
    cells = [cell for unit in iter(pod(journal, slots=30).claim, None) for cell in unit.cells]
    journal.view("search-a").report(Report(index=0, results=[a_result(cell, error="early") for cell in cells[:2]]))
    assert journal.progress("search-a").state is SearchState.RUNNING, "two may fail"
    sound = Report(index=0, results=[a_result(cell) for cell in cells[2:-1]])
    assert journal.view("search-a").report(sound) == ReportReply(new=len(cells) - 3, state=SearchState.RUNNING)

    last = Report(index=0, results=[a_result(cells[-1], error="Traceback\nlate\0")])
    assert journal.view("search-a").report(last) == ReportReply(new=1, state=SearchState.FAILED), "the reply says so"
    ended = journal.progress("search-a")
    assert (ended.state, ended.done, ended.failed) == (SearchState.FAILED, len(cells), 3)
    assert ended.failure == (
        "TooManyFailedFits: 3 fits failed, and spec.limits.maxFailedFits is 2. One of them ended with:\nTraceback\nlate\ufffd"
    )
    assert pod(journal).asks() is Next.NOTHING
    with pytest.raises(JournalMismatch, match="must be running, but got Failed"):
        journal.view("search-a").complete(an_answer())


def test_failed_fits_of_the_defaults_are_not_counted(journal: SqlJournal) -> None:
    journal.open_search(a_search(spec={"limits": {"maxFailedFits": 1}, "baseline": True}))
    journal.view("search-a").set_preflight(a_preflight(ranked=5))
    cells = sorted(cell for unit in iter(pod(journal, slots=30).claim, None) for cell in unit.cells)

    def failing(*which: Cell) -> ReportReply:
        return journal.view("search-a").report(
            Report(index=0, results=[a_result(cell, error='says "error":"x"') for cell in which])
        )

    assert failing(*cells[25:], cells[0]).state is SearchState.RUNNING
    assert journal.progress("search-a").failed == 6
    sound = Report(index=0, results=[a_result(cell) for cell in cells[2:25]])
    assert journal.view("search-a").report(sound).state is SearchState.RUNNING
    assert failing(cells[1]).state is SearchState.FAILED
    assert (journal.progress("search-a").failure or "").startswith("TooManyFailedFits: 2 fits failed")


SHARED = a_preflight(
    ranked=4,
    shared_with=2,
    # five rows and one more: the last is of an outer fold, as a nested search has them
    blocks=tuple(Block(start=start, axes=(Axis(size=size, stride=1),)) for start, size in ((0, 4), (4, 1), (5, 1))),
)


def test_a_row_that_shares_with_a_candidate_has_its_results_and_is_given_to_nobody(opened: SqlJournal) -> None:
    view = opened.view("search-a")
    view.set_preflight(SHARED)
    told = view.take_in(Report(index=0, results=[]))
    assert told.new == []
    evaluated = [cell for index in (0, 1) for cell in pod(opened, index).work()]
    assert sorted({cell.candidate for cell in evaluated}) == [0, 1, 2, 3, 5]
    assert len(evaluated) == 25
    progress = opened.progress("search-a")
    assert (progress.done, progress.total, progress.reused, progress.measured) == (30, 30, 0, 25)
    assert progress.cell_seconds == 25 * 0.75, "what is shared took no time"
    assert opened.report_counts("search-a") == {0: 5, 1: 25}
    results = {result.cell: result for result in view.results()}
    for split in range(5):
        theirs, shared = results[Cell(2, split)], results[Cell(4, split)]
        assert shared == a_result(Cell(4, split), test_scores=theirs.test_scores, fit_seconds=0.0, score_seconds=0.0)
    assert progress.best is not None
    assert progress.best.index == 3, "as without it"
    assert pod(opened).asks() is Next.FINISH


def test_a_failed_fit_that_is_shared_fails_for_both_and_is_forgotten_for_both(opened: SqlJournal) -> None:
    view = opened.view("search-a")
    view.set_preflight(SHARED)
    cells = [cell for unit in iter(pod(opened, slots=30).claim, None) for cell in unit.cells]
    results = [a_result(cell, error="boom" if cell == Cell(2, 1) else None) for cell in cells]
    view.report(Report(index=0, results=results))
    view.report(Report(index=1, results=results))
    assert (opened.progress("search-a").done, opened.progress("search-a").failed) == (30, 2)
    assert opened.begin_again("search-a", a_search(spec={"again": True})) == 28
    view.set_preflight(SHARED)
    assert pod(opened, slots=30).work() == [Cell(2, 1)]
    progress = opened.progress("search-a")
    assert (progress.done, progress.failed) == (30, 0)


@pytest.mark.parametrize(
    "changes",
    [{"shared_with": 4}, {"ranked": 3}, {"blocks": ()}, {"blocks": (Block(start=0, axes=(Axis(size=6, stride=1),)),)}],
    ids=["itself", "another row", "no rows", "all rows"],
)
def test_a_row_that_is_not_walked_by_itself_shares_with_nobody(opened: SqlJournal, changes: dict[str, Any]) -> None:
    with pytest.raises(JournalMismatch, match="shared_with: must be a candidate before a row that is walked by itself"):
        opened.view("search-a").set_preflight(replace(SHARED, **changes))


def test_failures_that_come_twice_or_after_the_end_change_no_end(journal: SqlJournal) -> None:
    journal.open_search(a_search(spec={"limits": {"maxFailedFits": 1}}))
    cells = pod(journal, slots=30).must_claim().cells
    first = a_result(cells[0], error="first")
    for _ in range(3):
        journal.view("search-a").report(Report(index=0, results=[first]))
    assert journal.progress("search-a").state is SearchState.RUNNING, "it is one fit that failed"

    journal.fail("search-a", "Cancelled: by hand")
    more = Report(index=0, results=[a_result(cell, error="more") for cell in cells])
    assert journal.view("search-a").report(more) == ReportReply(new=len(cells) - 1, state=SearchState.FAILED)
    assert journal.view("search-a").report(more) == ReportReply(new=0, state=SearchState.FAILED), "nor is it forgotten"
    assert journal.progress("search-a").failure == "Cancelled: by hand"


def test_who_takes_cells_in_may_ask_which_ones_were_new(opened: SqlJournal) -> None:
    cells = pod(opened).must_claim().cells
    results = [a_result(cell) for cell in cells]
    assert opened.view("search-a").take_in(Report(index=0, results=results[:1])).new == results[:1]
    assert opened.view("search-a").take_in(Report(index=0, results=results[:2])).new == results[1:2]
