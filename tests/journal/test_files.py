"""Files in one order with the end of their search: nothing of a version changes once it is one, and shares are kept."""

import datetime as dt
from dataclasses import replace

import pytest

from tests.journal.makers import Clock, Pod, a_preflight, a_search, an_answer
from tuningjob.errors import ArtifactRefused, ArtifactsUnavailable, JournalMismatch, NoRoom
from tuningjob.journal.records import Shares
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.records import Artifact

MODEL = Artifact("model.joblib", 700, "a" * 64)
EVIL = Artifact("model.joblib", 700, "e" * 64)
TABLE = Artifact("leaderboard.csv", 200, "b" * 64)


@pytest.fixture
def worked(journal: SqlJournal) -> SqlJournal:
    """search-a has all its cells, and nobody has completed it."""
    journal.open_search(a_search())
    journal.view("search-a").set_preflight(a_preflight())
    Pod(journal.view("search-a")).work()
    return journal


def place(journal: SqlJournal, file: Artifact, search: str = "search-a", shares: Shares | None = None) -> None:
    with journal.placing(search, file, shares or Shares()):
        pass


def version(journal: SqlJournal, number: int = 1) -> AuditRow:
    return journal.audit.version(namespace="team", model_key="forest", version=number)


def test_the_audit_tells_the_digests_of_the_files_that_a_version_was_completed_with(worked: SqlJournal) -> None:
    for file in (EVIL, MODEL, TABLE):
        place(worked, file)
    worked.view("search-a").complete(an_answer())
    assert version(worked).files == (TABLE, MODEL)


def test_no_file_is_placed_once_its_search_is_complete(worked: SqlJournal) -> None:
    place(worked, MODEL)
    worked.view("search-a").complete(an_answer())
    with pytest.raises(JournalMismatch, match="must be running to take files in, but got Complete"):
        place(worked, EVIL)
    assert version(worked).files == (MODEL,)


def test_a_search_does_not_complete_while_a_file_is_being_put_in_its_place(worked: SqlJournal) -> None:
    with (
        worked.placing("search-a", MODEL),
        pytest.raises(ArtifactsUnavailable, match=r"model.joblib: must be in its place before its search is complete"),
    ):
        worked.view("search-a").complete(an_answer())
    assert worked.view("search-a").complete(an_answer()) == 1
    assert version(worked).files == (MODEL,)


def test_what_was_not_placed_is_not_in_the_audit(worked: SqlJournal) -> None:
    with pytest.raises(OSError, match="disk"), worked.placing("search-a", MODEL):
        raise OSError("the disk is full")
    worked.view("search-a").complete(an_answer())
    assert version(worked).files is None


def test_one_of_a_name_is_placed_at_a_time(worked: SqlJournal) -> None:
    with worked.placing("search-a", MODEL), pytest.raises(ArtifactsUnavailable, match="once at a time"):
        place(worked, EVIL)


@pytest.mark.parametrize(("size_bytes", "seconds"), [(600, 60), (600_000_000, 660)])
def test_who_died_while_it_placed_a_file_keeps_others_only_as_long_as_it_would_have_taken(
    worked: SqlJournal, clock: Clock, size_bytes: int, seconds: float
) -> None:
    file = replace(MODEL, size_bytes=size_bytes)
    dead = worked.placing("search-a", file)  # kept, because a generator that goes ends as by an error
    dead.__enter__()
    clock.now += dt.timedelta(seconds=seconds - 1)
    with pytest.raises(ArtifactsUnavailable, match="once at a time"):
        place(worked, file)
    clock.now += dt.timedelta(seconds=2)
    place(worked, file)
    assert worked.view("search-a").complete(an_answer()) == 1
    assert version(worked).files == (file,)


def test_who_is_so_late_that_another_was_begun_is_told_to_bring_it_again(worked: SqlJournal, clock: Clock) -> None:
    late = worked.placing("search-a", EVIL)
    late.__enter__()
    clock.now += dt.timedelta(minutes=2)
    place(worked, MODEL)
    with pytest.raises(ArtifactsUnavailable, match=r"model.joblib: took so long .* Bring it again"):
        late.__exit__(None, None, None)
    worked.view("search-a").complete(an_answer())
    assert version(worked).files == (MODEL,)


def test_who_is_alone_at_work_says_all_files_at_once_whatever_was_begun_before(worked: SqlJournal) -> None:
    killed = worked.placing("search-a", EVIL)
    killed.__enter__()
    worked.set_files("search-a", [MODEL, TABLE])
    worked.view("search-a").complete(an_answer())
    worked.set_files("search-a", [EVIL])
    assert version(worked).files == (TABLE, MODEL)


def test_the_files_of_a_search_have_their_share(worked: SqlJournal) -> None:
    shares = Shares(search_bytes=1_000)
    place(worked, MODEL, shares=shares)
    place(worked, MODEL, shares=shares)  # the same again takes its own place
    place(worked, TABLE, shares=shares)
    with pytest.raises(
        ArtifactRefused, match=r"best_params.json: must leave the files .* 1,000 bytes .* would be 1,001"
    ):
        place(worked, Artifact("best_params.json", 101, "c" * 64), shares=shares)
    with pytest.raises(ArtifactRefused, match="1,001"):
        worked.check_room("search-a", "best_params.json", 101, shares)


def test_the_files_of_a_namespace_have_their_share_and_a_neighbour_has_another(worked: SqlJournal) -> None:
    shares = Shares(namespace_bytes=1_000)
    worked.open_search(a_search("search-b"))
    worked.open_search(a_search("elsewhere", namespace="other"))
    place(worked, MODEL, shares=shares)
    with pytest.raises(NoRoom, match="files of namespace team at 1,000 bytes at most, but they would be 1,400"):
        place(worked, MODEL, "search-b", shares)
    place(worked, MODEL, "elsewhere", shares)
    worked.delete("search-a")
    place(worked, MODEL, "search-b", shares)


def test_files_that_are_kept_count_on(worked: SqlJournal) -> None:
    shares = Shares(namespace_bytes=1_000)
    worked.open_search(a_search("search-b"))
    place(worked, MODEL)
    worked.view("search-a").complete(an_answer())
    worked.audit.bless(namespace="team", model_key="forest", version=1, who="ada")
    worked.delete("search-a")
    with pytest.raises(NoRoom):
        place(worked, MODEL, "search-b", shares)
