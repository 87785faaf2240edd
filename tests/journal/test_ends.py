"""The journal's contract on finishing, on stages, and on what an ended search still answers."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.journal.makers import Clock, Pod, a_preflight, a_search, an_answer, pod
from tuningjob.errors import JournalMismatch
from tuningjob.journal.records import Best
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, Next, Refusal, SearchState
from tuningjob.protocol.requests import NewStage

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


@pytest.mark.slow
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
