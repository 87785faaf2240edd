"""The journal's contract: each sentence of tuningjob.protocol.contract, as a test."""

import math
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from tests.journal import at_once
from tests.journal.conftest import OpenJournal
from tests.journal.makers import Clock, Pod, a_preflight, a_result, a_search, an_answer, score_of
from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal.records import UNKNOWN_SPLITS, Best, EndedBy
from tuningjob.journal.sql import SqlJournal
from tuningjob.journal.walk import MAX_REGIONS
from tuningjob.protocol.records import Axis, Block, Cell, Next, Refusal, SearchRecord, SearchState
from tuningjob.protocol.requests import ClaimRequest, NewStage, Report, ReportReply

ALL_CELLS = [Cell(candidate, split) for candidate in range(6) for split in range(5)]


def pod(journal: SqlJournal, index: int = 0, *, slots: int = 1, search: str = "search-a") -> Pod:
    return Pod(journal.view(search), index=index, slots=slots)


@pytest.fixture
def opened(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search())
    return journal


@pytest.fixture
def finished(opened: SqlJournal) -> SqlJournal:
    pod(opened).work()
    return opened


# --- a search -------------------------------------------------------------------------------------------------------


def test_a_search_is_handed_out_as_it_was_opened(opened: SqlJournal) -> None:
    new = a_search()
    assert opened.view("search-a").search() == SearchRecord(
        id="search-a", namespace="team", name="forest", spec=new.spec, candidates=6, splits=5, state=SearchState.RUNNING
    )


def test_opening_a_search_again_keeps_all_but_its_pods(opened: SqlJournal) -> None:
    before = opened.view("search-a").search()
    opened.open_search(a_search(name="another", spec={}, candidates=1, pods=30))
    assert opened.view("search-a").search() == before
    assert len(pod(opened).must_claim().cells) == 1, "half of a thirtieth of 30 cells"


def test_units_follow_the_number_of_pods(opened: SqlJournal) -> None:
    opened.set_pods("search-a", 30)
    before = opened.progress("search-a")
    assert len(pod(opened).must_claim().cells) == 1, "half of a thirtieth of 30 cells"
    opened.set_pods("search-a", 1)
    assert len(pod(opened, 1).must_claim().cells) == 29, "the one that is left takes all"
    assert opened.progress("search-a").revision == before.revision, "it is the operator's own doing"


def test_a_search_whose_pods_are_all_away_is_cut_for_one(opened: SqlJournal) -> None:
    opened.set_pods("search-a", 0)
    assert len(pod(opened).must_claim().cells) == 30


@pytest.mark.parametrize(
    "ask",
    [
        lambda journal: journal.view("none").search(),
        lambda journal: journal.progress("none"),
        lambda journal: journal.view("none").set_preflight(a_preflight()),
        lambda journal: journal.view("none").claim(ClaimRequest(index=0, slots=1, holding=set())),
        lambda journal: journal.view("none").report(Report(index=0, results=[])),
        lambda journal: list(journal.view("none").results()),
        lambda journal: journal.give_back("none", first=0),
        lambda journal: journal.view("none").leave(index=0),
        lambda journal: journal.pardon("none", ["pod-1"]),
        lambda journal: journal.set_pods("none", 1),
        lambda journal: journal.view("none").complete(an_answer()),
        lambda journal: journal.fail("none", "why"),
        lambda journal: journal.view("none").refuse(Refusal(problems=({"field": "spec"},))),
    ],
)
def test_a_search_that_is_not_there_is_unknown(journal: SqlJournal, ask: Any) -> None:
    with pytest.raises(UnknownSearch, match="none"):
        ask(journal)


def test_a_deleted_search_is_forgotten_with_its_cells_but_its_audit_row_stays(finished: SqlJournal) -> None:
    finished.view("search-a").complete(an_answer())
    finished.delete("search-a")
    with pytest.raises(UnknownSearch):
        finished.view("search-a").search()
    assert finished.report_counts("search-a") == {}
    assert [row.version for row in finished.audit.history(namespace="team", model_key="forest")] == [1]


def test_a_deleted_search_may_be_opened_and_completed_again(finished: SqlJournal) -> None:
    finished.view("search-a").complete(an_answer())
    finished.delete("search-a")
    finished.open_search(a_search())
    pod(finished).work()
    assert finished.view("search-a").complete(an_answer()) == 2


def test_revisions_name_the_running_and_the_recently_ended(journal: SqlJournal, clock: Clock) -> None:
    journal.open_search(a_search("running"))
    journal.open_search(a_search("ended"))
    journal.fail("ended", "why")
    assert set(journal.revisions()) == {"running", "ended"}
    clock.pass_time(days=8)
    assert set(journal.revisions()) == {"running"}


def test_places_name_every_search_until_it_is_deleted(journal: SqlJournal, clock: Clock) -> None:
    for search in ("running", "ended", "deleted"):
        journal.open_search(a_search(search))
    journal.fail("ended", "why")
    journal.delete("deleted")
    clock.pass_time(days=400)
    assert journal.places() == dict.fromkeys(("running", "ended"), (a_search().namespace, a_search().name))


def test_the_revision_grows_with_what_the_operator_shows(opened: SqlJournal) -> None:
    seen = [opened.revisions()["search-a"]]

    def grown() -> bool:
        seen.append(opened.revisions()["search-a"])
        return seen[-1] > seen[-2]

    opened.view("search-a").set_preflight(a_preflight())
    assert grown()
    worker = pod(opened)
    worker.report(worker.must_claim().cells[0])
    assert grown()
    opened.view("search-a").leave(index=0)
    assert grown()
    worker.restarted().must_claim()
    opened.give_back("search-a", first=0)
    assert grown()
    worker.restarted().work()
    assert grown()
    opened.view("search-a").leave(index=0)
    assert grown(), "the right to finish is free"
    opened.view("search-a").complete(an_answer())
    assert grown()
    assert opened.progress("search-a").revision == seen[-1]


# --- the preflight --------------------------------------------------------------------------------------------------


def test_the_first_preflight_is_kept(opened: SqlJournal) -> None:
    opened.view("search-a").set_preflight(a_preflight(warnings=("first",)))
    opened.view("search-a").set_preflight(a_preflight(warnings=("second",)))
    assert opened.progress("search-a").preflight == a_preflight(warnings=("first",))
    assert opened.view("search-a").search().preflight == a_preflight(warnings=("first",)), "later pods know it"


@pytest.mark.parametrize("other", [a_preflight(data_digest="e" * 64), a_preflight(versions={"scikit-learn": "1.8.0"})])
def test_a_preflight_of_other_data_or_versions_is_refused(opened: SqlJournal, other: Any) -> None:
    opened.view("search-a").set_preflight(a_preflight())
    with pytest.raises(JournalMismatch, match="the search began with"):
        opened.view("search-a").set_preflight(other)
    assert opened.progress("search-a").preflight == a_preflight()


def test_a_preflight_of_other_splits_is_refused(opened: SqlJournal) -> None:
    """As far as both tell theirs: a splitter that draws without a seed is met nowhere else."""
    opened.view("search-a").set_preflight(a_preflight(split_digest="a"))
    opened.view("search-a").set_preflight(a_preflight(split_digest=""))
    with pytest.raises(JournalMismatch, match="must be splits of digest a, as the search began with, but got b"):
        opened.view("search-a").set_preflight(a_preflight(split_digest="b"))


@pytest.fixture
def unknown(journal: SqlJournal) -> SqlJournal:
    """A search of which only the data tell how many splits it has."""
    journal.open_search(a_search(splits=UNKNOWN_SPLITS))
    return journal


def test_the_first_preflight_says_how_many_splits_there_are_if_only_the_data_tell(unknown: SqlJournal) -> None:
    assert (unknown.progress("search-a").splits, unknown.progress("search-a").total) == (0, 0)
    unknown.view("search-a").set_preflight(a_preflight(splits=5))
    assert (unknown.progress("search-a").splits, unknown.progress("search-a").total) == (5, 30)
    assert pod(unknown, slots=4).work() == ALL_CELLS
    assert unknown.view("search-a").complete(an_answer()) == 1


def test_nothing_is_claimed_or_completed_before_the_splits_are_known(unknown: SqlJournal) -> None:
    """Of no splits a search would have no cells, and all of none are finished."""
    with pytest.raises(JournalMismatch, match="the number of splits must be told by a preflight before a claim"):
        pod(unknown).claim()
    with pytest.raises(JournalMismatch, match="must have all its 0 cells"):
        unknown.view("search-a").complete(an_answer())


@pytest.mark.parametrize(("known", "told"), [(0, 0), (5, 4)])
def test_a_preflight_whose_splits_cannot_be_is_refused(journal: SqlJournal, known: int, told: int) -> None:
    journal.open_search(a_search(splits=known))
    with pytest.raises(JournalMismatch, match=r"^splits: must be"):
        journal.view("search-a").set_preflight(a_preflight(splits=told))
    assert journal.progress("search-a").preflight is None


def test_more_cells_than_can_be_numbered_are_refused(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=2**60, splits=UNKNOWN_SPLITS))
    with pytest.raises(JournalMismatch, match=r"^splits: must make at most"):
        journal.view("search-a").set_preflight(a_preflight(splits=9))


# --- claims ---------------------------------------------------------------------------------------------------------


def test_every_cell_is_claimed_once_in_the_grids_order(opened: SqlJournal) -> None:
    assert pod(opened, slots=4).work() == ALL_CELLS


def test_units_of_different_indexes_never_overlap(opened: SqlJournal) -> None:
    pods = [pod(opened, index) for index in range(4)]
    claimed = [cell for _ in range(20) for claimant in pods if (unit := claimant.claim()) for cell in unit.cells]
    assert sorted(claimed) == ALL_CELLS


def test_a_claimant_is_not_given_again_what_it_holds(opened: SqlJournal) -> None:
    worker = pod(opened)
    first, second = worker.must_claim(), worker.must_claim()
    assert first.id != second.id
    assert not set(first.cells) & set(second.cells)


def test_the_next_pod_of_an_index_first_resumes_what_the_one_before_left(opened: SqlJournal) -> None:
    before = pod(opened, 1)
    left = before.must_claim()
    pod(opened, 0).must_claim()
    before.report(*left.cells[:2])
    resumed = before.restarted().must_claim()
    assert resumed.id == left.id
    assert resumed.cells == left.cells[2:], "only what is not finished"


def test_a_claim_whose_reply_was_lost_comes_again(opened: SqlJournal) -> None:
    worker = pod(opened)
    held = worker.must_claim()
    lost = opened.view("search-a").claim(ClaimRequest(index=0, slots=1, holding={held.id})).unit
    again = opened.view("search-a").claim(ClaimRequest(index=0, slots=1, holding={held.id})).unit
    assert again == lost


def test_another_index_is_not_given_what_a_dead_pods_index_holds(opened: SqlJournal) -> None:
    left = pod(opened, 0).must_claim()
    evaluated = pod(opened, 1).work()
    assert not set(evaluated) & set(left.cells)
    assert sorted([*evaluated, *left.cells]) == ALL_CELLS


def test_what_a_given_up_index_held_goes_to_others_before_fresh_units(opened: SqlJournal) -> None:
    given_up = pod(opened, 0)
    left = given_up.must_claim()
    given_up.report(left.cells[0])
    opened.give_back("search-a", first=0)
    assert pod(opened, 1).must_claim().cells == left.cells[1:]


def test_its_own_unfinished_units_come_before_given_back_ones(opened: SqlJournal) -> None:
    own = pod(opened, 0).must_claim()
    pod(opened, 1).must_claim()
    opened.give_back("search-a", first=1)
    assert pod(opened, 0).must_claim() == own


def test_a_unit_that_was_given_back_is_given_to_one_index_only(opened: SqlJournal) -> None:
    given_up = pod(opened, 0).must_claim()
    opened.give_back("search-a", first=0)
    first, second = pod(opened, 1).must_claim(), pod(opened, 2).must_claim()
    assert first.cells == given_up.cells
    assert not set(first.cells) & set(second.cells)


def test_giving_back_twice_or_nothing_changes_nothing(opened: SqlJournal) -> None:
    held = pod(opened, 1).must_claim()
    for _ in range(2):
        before = opened.progress("search-a")
        opened.give_back("search-a", first=2)
        opened.view("search-a").leave(index=0)
        assert opened.progress("search-a") == before
    assert pod(opened, 1).must_claim() == held


def test_all_indexes_from_the_first_one_that_is_gone_give_back_what_they_hold(opened: SqlJournal) -> None:
    units = [pod(opened, index).must_claim() for index in range(4)]
    opened.give_back("search-a", first=2)
    assert pod(opened, 1).must_claim() == units[1]
    taker = pod(opened, 0, slots=1)
    taker.holding = {units[0].id}
    assert [taker.must_claim() for _ in range(2)] == units[2:]


def test_what_a_pod_leaves_in_good_order_is_anybodys_at_once(opened: SqlJournal) -> None:
    left = pod(opened, 1).must_claim()
    opened.view("search-a").leave(index=1)
    assert opened.progress("search-a").last_holder is None
    assert pod(opened, 0).must_claim() == left
    assert not set(pod(opened, 1).must_claim().cells) & set(left.cells)


def test_a_million_candidates_are_claimed_without_rows_for_them(opened: SqlJournal, database_url: str) -> None:
    opened.open_search(a_search("huge", candidates=1_000_000, splits=10, pods=100))
    block = Block(start=0, axes=(Axis(size=1_000, stride=1_000), Axis(size=1_000, stride=1)))
    opened.view("huge").set_preflight(a_preflight(blocks=(block,)))
    pod(opened, search="huge").must_claim()
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE search_id = 'huge'").scalar_one()
            for table in ("units", "cells", "regions")
        ]
    engine.dispose()
    assert counts[:2] == [1, 0]
    assert counts[2] <= 4 * MAX_REGIONS


def test_the_walk_of_the_first_preflight_is_the_order_of_claims(journal: SqlJournal) -> None:
    journal.open_search(a_search(pods=1))
    turned = Block(start=0, axes=(Axis(size=3, stride=1), Axis(size=2, stride=3)))
    journal.view("search-a").set_preflight(a_preflight(blocks=(turned,)))
    claimed = pod(journal).must_claim().cells
    assert [cell.candidate for cell in claimed if cell.split == 0] == [0, 3, 1, 4, 2, 5]
    assert sorted(claimed) == ALL_CELLS
    pod(journal).report(*claimed)
    assert [result.cell for result in journal.view("search-a").results()] == ALL_CELLS, "and not that of results"


def test_where_fits_take_longest_is_handed_out_first_once_it_is_known(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=64, splits=1, pods=8))
    axes = (Axis(size=2, stride=32), Axis(size=32, stride=1))
    journal.view("search-a").set_preflight(a_preflight(blocks=(Block(start=0, axes=axes),)))
    worker = pod(journal)
    claimed = []
    while unit := worker.claim():
        claimed += [cell.candidate for cell in unit.cells]
        # the upper half of the second axis is a hundred times as dear
        results = [a_result(cell, fit_seconds=100.0 if cell.candidate % 32 >= 16 else 1.0) for cell in unit.cells]
        journal.view("search-a").report(Report(index=0, results=results))
    assert sorted(claimed) == list(range(64))
    second_row = [candidate for candidate in claimed if candidate >= 32]
    assert sum(candidate >= 48 for candidate in second_row[:16]) >= 14, "it was measured in the first row"


def test_blocks_that_do_not_name_each_candidate_once_are_refused(opened: SqlJournal) -> None:
    with pytest.raises(JournalMismatch, match="must name each of the 6 candidates once"):
        opened.view("search-a").set_preflight(a_preflight(blocks=(Block(start=0, axes=(Axis(size=5, stride=1),)),)))
    assert opened.progress("search-a").preflight is None


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


@pytest.mark.slow
@settings(max_examples=50)
@given(test=floats, train=floats, seconds=st.floats(0, 1e9), error=st.none() | st.text(max_size=50))
def test_results_come_back_equal_to_the_bit(test: float, train: float, seconds: float, error: str | None) -> None:
    journal = SqlJournal("sqlite://")
    try:
        journal.open_search(a_search(candidates=1, splits=1))
        cell = pod(journal).must_claim().cells[0]
        sent = a_result(cell, test_scores={"a": test}, train_scores={"a": train}, fit_seconds=seconds, error=error)
        journal.view("search-a").report(Report(index=0, results=[sent]))
        assert [repr(result) for result in journal.view("search-a").results()] == [repr(sent)]
    finally:
        journal.close()


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


# --- finishing and ending -------------------------------------------------------------------------------------------


def test_finishing_is_claimed_by_one_index_once_every_cell_is_in(opened: SqlJournal) -> None:
    first, second = pod(opened, 0), pod(opened, 1)
    last = first.must_claim()
    second.work()
    assert second.asks() is Next.NOTHING, "a unit is still out"
    first.finish(last)
    assert second.asks() is Next.FINISH
    assert first.asks() is Next.NOTHING
    assert second.restarted().asks() is Next.FINISH, "its replacement goes on"


def in_stages(journal: SqlJournal) -> tuple[Pod, Pod]:
    """Two pods of a search by stages whose first one is finished, by the first of them."""
    journal.open_search(a_search(spec={"search": {"grid": {}, "halving": {}}, "limits": {"maxFits": 50}}))
    first, second = pod(journal, 0), pod(journal, 1)
    first.rows = second.rows = 6
    last = first.must_claim()
    second.work()
    assert second.asks() is Next.WAIT, "a unit is still out, and another stage may come"
    first.finish(last)
    return first, second


def test_a_search_by_stages_goes_on_with_the_rows_of_the_next_one(journal: SqlJournal) -> None:
    first, second = in_stages(journal)
    assert first.asks() is Next.FINISH
    assert second.asks() is Next.WAIT
    for _ in range(2):  # a reply that was lost
        journal.view("search-a").open_stage(NewStage(index=0, known=6, rows=9))
    assert {first.asks(), second.asks()} == {Next.STAGE}
    assert journal.progress("search-a").best is None, "with more of the resource scores are others"
    assert (journal.progress("search-a").done, journal.progress("search-a").total) == (30, 45)
    first.rows = second.rows = 9
    fresh = second.must_claim()
    second.report(fresh.cells[0])
    again = second.restarted()
    again.rows = 9
    assert again.must_claim().cells == fresh.cells[1:], "claims, deaths and results are as in any search"
    again.report(*fresh.cells[1:])
    first.work()
    assert [result.cell for result in journal.view("search-a").results()] == [
        Cell(candidate, split) for candidate in range(9) for split in range(5)
    ]
    best = journal.progress("search-a").best
    assert best is not None
    assert best == Best(6, best.score)
    assert first.asks() is Next.FINISH
    journal.view("search-a").complete(an_answer())
    journal.view("search-a").open_stage(NewStage(index=0, known=9, rows=10))
    assert (journal.progress("search-a").total, second.asks()) == (45, Next.NOTHING), "ended is ended"


@pytest.mark.parametrize(
    ("known", "rows", "why"),
    [
        (6, 11, "at most 50 fits, but got 55"),
        (5, 8, "must follow 6 finished rows"),
        (6, 5, "must follow 6 finished rows"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(journal: SqlJournal, known: int, rows: int, why: str) -> None:
    in_stages(journal)
    with pytest.raises(JournalMismatch, match=why):
        journal.view("search-a").open_stage(NewStage(index=0, known=known, rows=rows))


def test_no_stage_follows_cells_that_are_missing_or_a_search_that_has_none(opened: SqlJournal) -> None:
    with pytest.raises(JournalMismatch, match="must go by stages"):
        opened.view("search-a").open_stage(NewStage(index=0, known=6, rows=7))
    opened.open_search(a_search("search-b", spec={"search": {"halving": {}}}))
    with pytest.raises(JournalMismatch, match="must follow 6 finished rows"):
        opened.view("search-b").open_stage(NewStage(index=0, known=6, rows=7))


@pytest.mark.parametrize(
    "go",
    [lambda journal: journal.give_back("search-a", first=0), lambda journal: journal.view("search-a").leave(index=0)],
    ids=["gone", "left"],
)
def test_finishing_goes_to_another_when_its_index_is_given_up(finished: SqlJournal, go: Any) -> None:
    assert pod(finished, 0).asks() is Next.FINISH
    go(finished)
    assert finished.progress("search-a").last_holder is None
    assert pod(finished, 1).asks() is Next.FINISH
    assert pod(finished, 0).asks() is Next.NOTHING
    go(finished)
    assert pod(finished, 1).asks() is Next.FINISH, "it is not theirs to give up"


def test_a_search_is_not_complete_while_cells_are_missing(opened: SqlJournal) -> None:
    worker = pod(opened)
    worker.report(worker.must_claim().cells[0])
    with pytest.raises(JournalMismatch, match="must have all its 30 cells to be complete, but got 1"):
        opened.view("search-a").complete(an_answer())
    assert opened.view("search-a").search().state is SearchState.RUNNING


def test_completing_twice_is_completing_once(finished: SqlJournal) -> None:
    assert finished.view("search-a").complete(an_answer()) == 1
    assert finished.view("search-a").complete(an_answer(best_index=0)) == 1
    assert finished.progress("search-a").answer == an_answer()
    assert len(finished.audit.history(namespace="team", model_key="forest")) == 1


def test_the_audit_counts_versions_by_namespace_and_model_key(journal: SqlJournal) -> None:
    versions = []
    for search, changes in {
        "a": {},
        "b": {"name": "forest-2"},
        "c": {"model_key": "other"},
        "d": {"namespace": "elsewhere"},
        "e": {},
    }.items():
        journal.open_search(a_search(search, **changes))
        pod(journal, search=search).work()
        versions.append(journal.view(search).complete(an_answer()))
    assert versions == [1, 2, 1, 1, 3]
    assert [row.search_id for row in journal.audit.history(namespace="team", model_key="forest")] == ["a", "b", "e"]


def test_an_audit_row_says_what_was_found_on_what_and_how_long_it_took(opened: SqlJournal, clock: Clock) -> None:
    opened.view("search-a").set_preflight(a_preflight())
    clock.pass_time(seconds=90)
    pod(opened).work()
    opened.view("search-a").complete(an_answer(failed_fits=2))
    (row,) = opened.audit.history(namespace="team", model_key="forest")
    assert (row.best_params, row.score, row.std, row.metric) == ({"C": 1, "kernel": "rbf"}, 0.9, 0.01, "accuracy")
    assert (row.fits, row.failed_fits, row.duration_seconds) == (30, 2, 90.0)
    assert (row.data_digest, row.versions) == ("d" * 64, {"scikit-learn": "1.9.1"})
    assert row.finished_at == "2026-03-01T12:01:30+00:00"


def test_an_answer_whose_deviation_is_nan_is_taken(finished: SqlJournal) -> None:
    finished.view("search-a").complete(an_answer(best_score=-math.inf, best_std=math.nan))
    (row,) = finished.audit.history(namespace="team", model_key="forest")
    assert row.score == -math.inf
    assert math.isnan(row.std)


ENDINGS: dict[SearchState, Callable[[SqlJournal], object]] = {
    SearchState.COMPLETE: lambda journal: journal.view("search-a").complete(an_answer()),
    SearchState.FAILED: lambda journal: journal.fail("search-a", "why"),
    SearchState.REFUSED: lambda journal: journal.view("search-a").refuse(Refusal(problems=({"field": "spec"},))),
}


@pytest.mark.parametrize("state", ENDINGS)
def test_an_ended_search_never_changes_its_state_and_hands_out_nothing(
    finished: SqlJournal, state: SearchState
) -> None:
    ENDINGS[state](finished)
    ended = finished.progress("search-a")
    assert ended.state is state
    for again, end in ENDINGS.items():
        if again is SearchState.COMPLETE and state is not SearchState.COMPLETE:
            with pytest.raises(JournalMismatch, match=f"must be running, but got {state}"):
                end(finished)
        else:
            end(finished)
    finished.give_back("search-a", first=0)
    finished.view("search-a").leave(index=0)
    finished.pardon("search-a", ["pod-1"])
    assert pod(finished).asks() is Next.NOTHING
    assert finished.progress("search-a") == ended


def test_an_ended_search_with_open_units_hands_out_nothing(opened: SqlJournal) -> None:
    worker = pod(opened)
    worker.must_claim()
    opened.fail("search-a", "why")
    assert worker.restarted().asks() is Next.NOTHING
    assert opened.progress("search-a").failure == "why"


def test_a_reason_with_a_nul_in_it_is_kept_without(opened: SqlJournal) -> None:
    opened.fail("search-a", "bad \0 byte")
    assert opened.progress("search-a").failure == "bad \N{REPLACEMENT CHARACTER} byte"


def test_results_that_are_not_read_to_their_end_leave_nothing_open(finished: SqlJournal) -> None:
    reading = finished.view("search-a").results()
    assert next(reading).cell == Cell(0, 0)
    reading.close()  # type: ignore[attr-defined]
    finished.delete("search-a")


def test_a_refusal_is_kept_as_it_was_told(opened: SqlJournal) -> None:
    problem = {"field": "spec.scoring", "must_be": "a scorer", "got": "'acuracy'", "advice": "Did you mean accuracy?"}
    opened.view("search-a").refuse(Refusal(problems=(problem,)))
    assert opened.progress("search-a").refusal == Refusal(problems=(problem,))


# --- the database ---------------------------------------------------------------------------------------------------


def test_everything_survives_closing_and_opening(database_url: str, open_journal: OpenJournal) -> None:
    first = open_journal()
    first.open_search(a_search())
    unit = pod(first).must_claim()
    pod(first).report(unit.cells[0])
    first.close()
    assert pod(open_journal(database_url)).must_claim().cells == unit.cells[1:]


def test_what_one_process_did_another_sees_at_once(opened: SqlJournal, open_journal: OpenJournal) -> None:
    other = open_journal()
    unit = pod(opened).must_claim()
    assert not set(pod(other, 1).must_claim().cells) & set(unit.cells)
    other.view("search-a").report(Report(index=0, results=[a_result(unit.cells[0])]))
    assert opened.progress("search-a").done == 1


def test_a_database_that_stopped_answering_is_a_journal_error(database_url: str, opened: SqlJournal) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE units")
    engine.dispose()
    with pytest.raises(JournalError, match=r"database must answer, but got: .*units"):
        pod(opened).claim()


# --- many at once ---------------------------------------------------------------------------------------------------


def test_threads_that_claim_at_once_never_hold_one_cell(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=100, splits=5, pods=8))
    ready = threading.Barrier(8)

    def work(index: int) -> list[Cell]:
        ready.wait()
        return pod(journal, index, slots=2).work()

    with ThreadPoolExecutor(8) as pool:
        evaluated = [cell for cells in pool.map(work, range(8)) for cell in cells]
    assert len(evaluated) == len(set(evaluated)) == 500
    assert journal.report_counts("search-a") == {1: 500}


def _work(url: str, index: int, barrier: Any, evaluated: Any) -> None:
    barrier.wait()
    journal = SqlJournal(url)
    journal.open_search(a_search(candidates=40, splits=5, pods=4))
    evaluated.put(pod(journal, index, slots=2).work())
    journal.close()


@pytest.mark.slow
def test_processes_that_make_open_and_work_one_journal_at_once_fit_every_cell_once(database_url: str) -> None:
    context = at_once.processes()
    barrier, evaluated = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_work, args=(database_url, index, barrier, evaluated)) for index in range(4)]
    for worker in workers:
        worker.start()
    cells = [cell for _ in workers for cell in evaluated.get(timeout=240)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(cells) == len(set(cells)) == 200


@pytest.mark.slow
def test_sixteen_at_once_down_to_the_last_cells_never_wait_for_each_other_in_a_circle(
    journal: SqlJournal, kind: str
) -> None:
    def work(search: str, index: int) -> int:
        holding: set[int] = set()
        costs = random.Random(index)
        count = 0
        while (
            unit := journal.view(search).claim(ClaimRequest(index=index, slots=1, holding=holding)).unit
        ) is not None:
            holding.add(unit.id)
            for start in range(0, len(unit.cells), 8):
                # what is expected to take longest changes all the time, and with it where each looks first
                cells = unit.cells[start : start + 8]
                results = [a_result(cell, fit_seconds=cell.candidate * costs.random()) for cell in cells]
                count += journal.view(search).report(Report(index=index, results=results)).new
        return count

    axes = (Axis(size=10, stride=10), Axis(size=10, stride=1))
    # SQLite has one lock, so that there is no circle: once is enough to see that all get their turn
    for number in range(4 if kind == "postgres" else 1):
        search = f"search-{number}"
        journal.open_search(a_search(search, candidates=100, splits=5, pods=16))
        journal.view(search).set_preflight(a_preflight(blocks=(Block(start=0, axes=axes),)))
        with ThreadPoolExecutor(16) as pool:
            # an error of the journal, such as a deadlock that the database has found, would come out here
            assert sum(pool.map(work, [search] * 16, range(16))) == 500


# --- who ended it ---------------------------------------------------------------------------------------------------


def test_the_operator_ends_a_search_with_a_reason_of_its_own(opened: SqlJournal) -> None:
    opened.fail("search-a", "Cancelled: by hand", by=EndedBy.OPERATOR, reason="Cancelled")
    progress = opened.progress("search-a")
    assert (progress.ended_by, progress.end_reason) == (EndedBy.OPERATOR, "Cancelled")
    assert progress.failure == "Cancelled: by hand"


@pytest.mark.parametrize("text", ["PlanReady: all is well", "Cancelled: by hand", "TooManyFailedFits: 9"])
def test_a_worker_cannot_speak_as_the_operator(opened: SqlJournal, text: str) -> None:
    opened.view("search-a").fail(text)
    progress = opened.progress("search-a")
    assert (progress.ended_by, progress.end_reason, progress.failure) == (EndedBy.WORKER, "", text)
    with pytest.raises(ValueError, match="reason: must be empty of a worker"):
        opened.fail("search-a", text, reason="Cancelled")
