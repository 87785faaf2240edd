"""The journal's contract, as tests: a search is opened, looked at by its first worker, kept, and ended by the operator. Claims,
reports and ends have files of their own."""

from typing import Any

import pytest
from sqlalchemy import create_engine

from tests.journal.conftest import OpenJournal
from tests.journal.makers import ALL_CELLS, Clock, a_preflight, a_result, a_search, an_answer, pod
from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal.records import UNKNOWN_SPLITS, EndedBy
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Refusal, SearchRecord, SearchState
from tuningjob.protocol.requests import ClaimRequest, Report

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


# --- the database ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
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
