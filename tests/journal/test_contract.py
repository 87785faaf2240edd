"""The journal's contract: each sentence of tuningjob.journal.contract, as a test."""

import math
import multiprocessing
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.journal.makers import Clock, Pod, a_preflight, a_result, a_search, an_answer, score_of
from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal.contract import Journal
from tuningjob.journal.records import Cell, NewSearch, Next, Refusal, Search, SearchState
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.journal.units import MAX_UNIT, unit_size

ALL_CELLS = [Cell(candidate, split) for candidate in range(6) for split in range(5)]


def pod(journal: Journal, index: int = 0, *, slots: int = 1, search: str = "search-a") -> Pod:
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
    assert opened.search("search-a") == Search(
        id="search-a", namespace="team", name="forest", spec=new.spec, candidates=6, splits=5, state=SearchState.RUNNING
    )


def test_opening_a_search_again_keeps_all_but_its_pods(opened: SqlJournal) -> None:
    before = opened.search("search-a")
    opened.open_search(a_search(name="another", spec={}, candidates=1, pods=30))
    assert opened.search("search-a") == before
    assert len(pod(opened).must_claim().cells) == 1, "half of a thirtieth of 30 cells"


@pytest.mark.parametrize(
    "ask",
    [
        lambda journal: journal.search("none"),
        lambda journal: journal.progress("none"),
        lambda journal: journal.set_preflight("none", a_preflight()),
        lambda journal: journal.claim("none", index=0, slots=1, holding=set()),
        lambda journal: journal.report("none", index=0, results=[]),
        lambda journal: list(journal.results("none")),
        lambda journal: journal.give_back("none", index=0),
        lambda journal: journal.complete("none", an_answer()),
        lambda journal: journal.fail("none", "why"),
        lambda journal: journal.refuse("none", Refusal(problems=({"field": "spec"},))),
    ],
)
def test_a_search_that_is_not_there_is_unknown(journal: SqlJournal, ask: Any) -> None:
    with pytest.raises(UnknownSearch, match="none"):
        ask(journal)


def test_a_deleted_search_is_forgotten_with_its_cells_but_its_audit_row_stays(finished: SqlJournal) -> None:
    finished.complete("search-a", an_answer())
    finished.delete("search-a")
    with pytest.raises(UnknownSearch):
        finished.search("search-a")
    assert finished.report_counts("search-a") == {}
    assert [row.version for row in finished.history(namespace="team", model_key="forest")] == [1]


def test_a_deleted_search_may_be_opened_and_completed_again(finished: SqlJournal) -> None:
    finished.complete("search-a", an_answer())
    finished.delete("search-a")
    finished.open_search(a_search())
    pod(finished).work()
    assert finished.complete("search-a", an_answer()) == 2


def test_revisions_name_the_running_and_the_recently_ended(journal: SqlJournal, clock: Clock) -> None:
    journal.open_search(a_search("running"))
    journal.open_search(a_search("ended"))
    journal.fail("ended", "why")
    assert set(journal.revisions()) == {"running", "ended"}
    clock.pass_time(days=8)
    assert set(journal.revisions()) == {"running"}


def test_the_revision_grows_with_what_the_operator_shows(opened: SqlJournal) -> None:
    seen = [opened.revisions()["search-a"]]

    def grown() -> bool:
        seen.append(opened.revisions()["search-a"])
        return seen[-1] > seen[-2]

    opened.set_preflight("search-a", a_preflight())
    assert grown()
    worker = pod(opened)
    worker.report(worker.must_claim().cells[0])
    assert grown()
    worker.restarted().work()
    assert grown()
    opened.complete("search-a", an_answer())
    assert grown()
    assert opened.progress("search-a").revision == seen[-1]


# --- the preflight --------------------------------------------------------------------------------------------------


def test_the_first_preflight_is_kept(opened: SqlJournal) -> None:
    opened.set_preflight("search-a", a_preflight(warnings=("first",)))
    opened.set_preflight("search-a", a_preflight(warnings=("second",)))
    assert opened.progress("search-a").preflight == a_preflight(warnings=("first",))


@pytest.mark.parametrize("other", [a_preflight(data_digest="e" * 64), a_preflight(versions={"scikit-learn": "1.8.0"})])
def test_a_preflight_of_other_data_or_versions_is_refused(opened: SqlJournal, other: Any) -> None:
    opened.set_preflight("search-a", a_preflight())
    with pytest.raises(JournalMismatch, match="the search began with"):
        opened.set_preflight("search-a", other)
    assert opened.progress("search-a").preflight == a_preflight()


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
    before.report(*left.cells[:3])
    resumed = before.restarted().must_claim()
    assert resumed.id == left.id
    assert resumed.cells == left.cells[3:], "only what is not finished"


def test_a_claim_whose_reply_was_lost_comes_again(opened: SqlJournal) -> None:
    worker = pod(opened)
    held = worker.must_claim()
    lost = opened.claim("search-a", index=0, slots=1, holding={held.id}).unit
    again = opened.claim("search-a", index=0, slots=1, holding={held.id}).unit
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
    opened.give_back("search-a", index=0)
    assert pod(opened, 1).must_claim().cells == left.cells[1:]


def test_its_own_unfinished_units_come_before_given_back_ones(opened: SqlJournal) -> None:
    pod(opened, 0).must_claim()
    own = pod(opened, 1).must_claim()
    opened.give_back("search-a", index=0)
    assert pod(opened, 1).must_claim() == own


def test_a_unit_that_was_given_back_is_given_to_one_index_only(opened: SqlJournal) -> None:
    given_up = pod(opened, 0).must_claim()
    opened.give_back("search-a", index=0)
    first, second = pod(opened, 1).must_claim(), pod(opened, 2).must_claim()
    assert first.cells == given_up.cells
    assert not set(first.cells) & set(second.cells)


def test_giving_back_twice_or_nothing_changes_nothing(opened: SqlJournal) -> None:
    held = pod(opened, 1).must_claim()
    opened.give_back("search-a", index=0)
    opened.give_back("search-a", index=0)
    assert pod(opened, 1).must_claim() == held


def test_units_are_large_at_first_and_small_at_the_tail(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=200, splits=5, pods=4))
    worker = pod(journal, slots=2)
    sizes = []
    while (unit := worker.claim()) is not None:
        sizes.append(len(unit.cells))
    assert sizes[0] == 125, "half of a quarter of 1,000"
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 1000
    assert min(sizes[:-1]) == 2, "never less than the claimant's slots while there are as many"


@given(remaining=st.integers(1, 10**12), pods=st.integers(1, 1000), slots=st.integers(1, 1024))
def test_a_unit_is_never_empty_never_more_than_is_left_and_never_beyond_the_bound(
    remaining: int, pods: int, slots: int
) -> None:
    size = unit_size(remaining, pods=pods, slots=slots)
    assert 1 <= size <= min(remaining, MAX_UNIT)
    assert size >= min(remaining, slots)


def test_a_million_candidates_are_claimed_without_rows_for_them(journal: SqlJournal, tmp_path: Path) -> None:
    journal.open_search(a_search(candidates=1_000_000, splits=10))
    pod(journal).must_claim()
    with sqlite3.connect(tmp_path / "tuning.db") as database:
        count = database.execute("SELECT (SELECT count(*) FROM units) + (SELECT count(*) FROM cells)").fetchone()
    database.close()
    assert count == (1,)


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
    opened.report("search-a", index=7, results=[a_result(cell, test_scores={"accuracy": -1.0}, error="boom")])
    assert opened.progress("search-a") == before
    assert list(opened.results("search-a")) == [a_result(cell)]
    assert opened.report_counts("search-a") == {2: 1}


def test_the_first_of_two_results_of_a_cell_in_one_report_counts(opened: SqlJournal) -> None:
    cell = pod(opened).must_claim().cells[0]
    first, second = a_result(cell), a_result(cell, test_scores={"accuracy": -1.0})
    assert opened.report("search-a", index=0, results=[first, second]) == 1
    assert list(opened.results("search-a")) == [first]


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
    opened.give_back("search-a", index=0)
    other.must_claim()
    late.report(*unit.cells)
    assert other.restarted().must_claim().id != unit.id, "nothing is left of it"


def test_results_come_in_the_order_candidate_then_split(opened: SqlJournal) -> None:
    worker = pod(opened)
    units = [worker.must_claim(), worker.must_claim()]
    for unit in reversed(units):
        worker.report(*reversed(unit.cells))
    cells = [result.cell for result in opened.results("search-a")]
    assert cells == [cell for unit in units for cell in unit.cells]


@pytest.mark.parametrize("all_in", [True, False])
def test_results_are_paged_alike_with_and_without_gaps(opened: SqlJournal, *, all_in: bool) -> None:
    first = pod(opened).must_claim()
    pod(opened, 1).work()
    if all_in:
        pod(opened).finish(first)
    everything = list(opened.results("search-a"))
    assert len(everything) == (30 if all_in else 30 - len(first.cells))
    assert list(opened.results("search-a", start=4, limit=7)) == everything[4:11]
    assert list(opened.results("search-a", start=20)) == everything[20:]
    assert list(opened.results("search-a", start=1000, limit=5)) == []


def test_progress_counts_cells_and_failed_fits_and_shows_the_best_whole_candidate(opened: SqlJournal) -> None:
    cells = [cell for unit in (pod(opened).must_claim(), pod(opened, 1).must_claim()) for cell in unit.cells]
    assert Cell(1, 4) in cells
    results = [a_result(cell) for cell in cells if cell.candidate < 2 or cell.split > 0]
    failed = a_result(Cell(0, 0), test_scores={"accuracy": math.nan}, error="Traceback")
    opened.report("search-a", index=0, results=[failed])
    opened.report("search-a", index=0, results=results)
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
    journal.report("search-a", index=0, results=results)
    assert journal.progress("search-a").best is None


floats = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=50)
@given(test=floats, train=floats, seconds=st.floats(0, allow_infinity=False), error=st.none() | st.text(max_size=50))
def test_results_come_back_equal_to_the_bit(test: float, train: float, seconds: float, error: str | None) -> None:
    journal = SqlJournal("sqlite://")
    try:
        journal.open_search(a_search(candidates=1, splits=1))
        cell = pod(journal).must_claim().cells[0]
        sent = a_result(cell, test_scores={"a": test}, train_scores={"a": train}, fit_seconds=seconds, error=error)
        journal.report("search-a", index=0, results=[sent])
        assert [repr(result) for result in journal.results("search-a")] == [repr(sent)]
    finally:
        journal.close()


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


def test_finishing_goes_to_another_when_its_index_is_given_up(finished: SqlJournal) -> None:
    assert pod(finished, 0).asks() is Next.FINISH
    finished.give_back("search-a", index=0)
    assert pod(finished, 1).asks() is Next.FINISH
    assert pod(finished, 0).asks() is Next.NOTHING


def test_a_search_is_not_complete_while_cells_are_missing(opened: SqlJournal) -> None:
    worker = pod(opened)
    worker.report(worker.must_claim().cells[0])
    with pytest.raises(JournalMismatch, match="must have all its 30 cells to be complete, but got 1"):
        opened.complete("search-a", an_answer())
    assert opened.search("search-a").state is SearchState.RUNNING


def test_completing_twice_is_completing_once(finished: SqlJournal) -> None:
    assert finished.complete("search-a", an_answer()) == 1
    assert finished.complete("search-a", an_answer(best_index=0)) == 1
    assert finished.progress("search-a").answer == an_answer()
    assert len(finished.history(namespace="team", model_key="forest")) == 1


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
        versions.append(journal.complete(search, an_answer()))
    assert versions == [1, 2, 1, 1, 3]
    assert [row.search_id for row in journal.history(namespace="team", model_key="forest")] == ["a", "b", "e"]


def test_an_audit_row_says_what_was_found_on_what_and_how_long_it_took(opened: SqlJournal, clock: Clock) -> None:
    opened.set_preflight("search-a", a_preflight())
    clock.pass_time(seconds=90)
    pod(opened).work()
    opened.complete("search-a", an_answer(failed_fits=2))
    (row,) = opened.history(namespace="team", model_key="forest")
    assert (row.best_params, row.score, row.std, row.metric) == ({"C": 1, "kernel": "rbf"}, 0.9, 0.01, "accuracy")
    assert (row.fits, row.failed_fits, row.duration_seconds) == (30, 2, 90.0)
    assert (row.data_digest, row.versions) == ("d" * 64, {"scikit-learn": "1.9.1"})
    assert row.finished_at == "2026-03-01T12:01:30+00:00"


def test_an_answer_whose_deviation_is_nan_is_taken(finished: SqlJournal) -> None:
    finished.complete("search-a", an_answer(best_score=-math.inf, best_std=math.nan))
    (row,) = finished.history(namespace="team", model_key="forest")
    assert row.score == -math.inf
    assert math.isnan(row.std)


ENDINGS: dict[SearchState, Callable[[Journal], object]] = {
    SearchState.COMPLETE: lambda journal: journal.complete("search-a", an_answer()),
    SearchState.FAILED: lambda journal: journal.fail("search-a", "why"),
    SearchState.REFUSED: lambda journal: journal.refuse("search-a", Refusal(problems=({"field": "spec"},))),
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
    finished.give_back("search-a", index=0)
    assert pod(finished).asks() is Next.NOTHING
    assert finished.progress("search-a") == ended


def test_an_ended_search_with_open_units_hands_out_nothing(opened: SqlJournal) -> None:
    worker = pod(opened)
    worker.must_claim()
    opened.fail("search-a", "why")
    assert worker.restarted().asks() is Next.NOTHING
    assert opened.progress("search-a").failure == "why"


def test_a_refusal_is_kept_as_it_was_told(opened: SqlJournal) -> None:
    problem = {"field": "spec.scoring", "must_be": "a scorer", "got": "'acuracy'", "advice": "Did you mean accuracy?"}
    opened.refuse("search-a", Refusal(problems=(problem,)))
    assert opened.progress("search-a").refusal == Refusal(problems=(problem,))


# --- the file -------------------------------------------------------------------------------------------------------


def test_everything_survives_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tuning.db"
    first = open_sqlite(path)
    first.open_search(a_search())
    unit = pod(first).must_claim()
    pod(first).report(unit.cells[0])
    first.close()
    second = open_sqlite(path)
    try:
        assert pod(second).must_claim().cells == unit.cells[1:]
    finally:
        second.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tuning.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match="must be a journal of tuningjob"):
        open_sqlite(path)


def test_a_journal_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tuning.db"
    open_sqlite(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE schema_version SET version = 99")
    database.close()
    with pytest.raises(JournalMismatch, match="must be version 1, but got 99"):
        open_sqlite(path)


def test_a_database_that_stopped_answering_is_a_journal_error(opened: SqlJournal, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tuning.db") as database:
        database.execute("DROP TABLE units")
    database.close()
    with pytest.raises(JournalError, match="database must answer, but got: no such table"):
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


def _work(path: Path, index: int, barrier: Any, evaluated: Any) -> None:
    barrier.wait()
    journal = open_sqlite(path)
    journal.open_search(a_search(candidates=40, splits=5, pods=4))
    evaluated.put(pod(journal, index, slots=2).work())
    journal.close()


def test_processes_that_make_open_and_work_one_journal_at_once_fit_every_cell_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, evaluated = spawn.Barrier(4), spawn.Queue()
    path = tmp_path / "tuning.db"
    workers = [spawn.Process(target=_work, args=(path, index, barrier, evaluated)) for index in range(4)]
    for worker in workers:
        worker.start()
    cells = [cell for _ in workers for cell in evaluated.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(cells) == len(set(cells)) == 200


# --- whatever happens, in whatever order ----------------------------------------------------------------------------


class LifeOfASearch(RuleBasedStateMachine):
    """Pods claim, report in part, lose replies, die, are given up; every cell still ends with exactly one result."""

    indexes = st.integers(0, 3)

    @initialize(
        candidates=st.integers(1, 12), splits=st.integers(1, 5), pods=st.integers(1, 4), slots=st.integers(1, 3)
    )
    def open(self, candidates: int, splits: int, pods: int, slots: int) -> None:
        self.journal = SqlJournal("sqlite://")
        self.new: NewSearch = a_search(candidates=candidates, splits=splits, pods=pods)
        self.journal.open_search(self.new)
        self.pods = [Pod(self.journal.view("search-a"), index=index, slots=slots) for index in range(4)]
        self.held: dict[int, set[Cell]] = {index: set() for index in range(4)}
        self.reports: Counter[Cell] = Counter()

    @rule(index=indexes)
    def claim(self, index: int) -> None:
        unit = self.pods[index].claim()
        if unit is None:
            return
        others = set().union(*(cells for other, cells in self.held.items() if other != index))
        assert not set(unit.cells) & others, "a cell that another index holds"
        assert not set(unit.cells) & set(self.reports), "a cell that is finished"
        self.held[index] |= set(unit.cells)

    @rule(index=indexes)
    def claim_and_lose_the_reply(self, index: int) -> None:
        worker = self.pods[index]
        lost = self.journal.claim("search-a", index=index, slots=worker.slots, holding=worker.holding).unit
        again = self.journal.claim("search-a", index=index, slots=worker.slots, holding=worker.holding).unit
        assert again == lost
        if lost is not None:
            self.held[index] |= set(lost.cells)

    @rule(index=indexes, data=st.data())
    def report_some(self, index: int, data: st.DataObject) -> None:
        open_cells = sorted(self.held[index] - set(self.reports))
        cells = data.draw(st.lists(st.sampled_from(open_cells), unique=True)) if open_cells else []
        assert self.pods[index].report(*cells) == len(cells)
        self.reports.update(cells)

    @precondition(lambda self: self.reports)
    @rule(index=indexes, data=st.data())
    def report_again(self, index: int, data: st.DataObject) -> None:
        cell = data.draw(st.sampled_from(sorted(self.reports)))
        assert self.pods[index].report(cell) == 0
        self.reports[cell] += 1

    @rule(index=indexes)
    def die_and_be_replaced(self, index: int) -> None:
        self.pods[index] = self.pods[index].restarted()

    @rule(index=indexes)
    def be_given_up(self, index: int) -> None:
        self.journal.give_back("search-a", index=index)
        self.pods[index] = self.pods[index].restarted()
        self.held[index] = set()

    @invariant()
    def counts_agree(self) -> None:
        progress = self.journal.progress("search-a")
        assert progress.done == len(self.reports)
        assert self.journal.report_counts("search-a") == dict(Counter(self.reports.values()))

    def teardown(self) -> None:
        if not hasattr(self, "journal"):
            return
        # The three others never come back; what they held goes to the one that is left.
        for index in (1, 2, 3):
            self.journal.give_back("search-a", index=index)
        self.pods[0].restarted().work()
        cells = [result.cell for result in self.journal.results("search-a")]
        assert cells == [Cell(c, s) for c in range(self.new.candidates) for s in range(self.new.splits)]
        assert self.pods[0].asks() is Next.FINISH
        assert self.journal.complete("search-a", an_answer()) == 1
        self.journal.close()


def test_in_whatever_order_things_happen_every_cell_ends_with_exactly_one_result() -> None:
    run_state_machine_as_test(LifeOfASearch, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
