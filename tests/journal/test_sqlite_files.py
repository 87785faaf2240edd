"""Files that are no journal, are damaged, vanish or may not be read: refused in one sentence, and left as they are."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.journal.makers import works
from tests.journal.refused import one_sentence
from tuningjob.errors import JournalError
from tuningjob.journal.database import Database
from tuningjob.journal.sql import SqlJournal, open_sqlite


def write(database: Database, *statements: str) -> None:
    """One transaction."""
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """The folder and the file in it are after as they were before."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    yield
    assert {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(sqlite_file: Path) -> None:
    sqlite_file.write_text("a shopping list " * 1000)
    with (
        untouched(sqlite_file),
        pytest.raises(JournalError, match="must be a journal of tuningjob, but got: file is not") as said,
    ):
        open_sqlite(sqlite_file)
    assert str(sqlite_file) in one_sentence(said)
    assert "put a backup in its place, or move it away" in str(said.value)


@pytest.mark.slow
def test_a_database_whose_head_was_overwritten_is_refused_and_left_as_it_is(closed: Path) -> None:
    with closed.open("r+b") as file:
        file.write(b"\0" * 4096)
    with untouched(closed), pytest.raises(JournalError, match="must be a journal of tuningjob"):
        open_sqlite(closed)


def test_a_truncated_database_is_refused_and_left_as_it_is(closed: Path) -> None:
    os.truncate(closed, closed.stat().st_size // 2 // 4096 * 4096)
    with untouched(closed), pytest.raises(JournalError, match=r"disk image is malformed.*put a backup in its place"):
        open_sqlite(closed)


@pytest.mark.slow
def test_damage_inside_is_a_journal_error_where_it_is_read(closed: Path) -> None:
    with closed.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(os.urandom(closed.stat().st_size - 6 * 4096))

    def read() -> None:
        with closing(open_sqlite(closed)) as journal:
            list(journal.view("search-a").results())

    with untouched(closed), pytest.raises(JournalError, match="disk image is malformed"):
        read()


def test_an_empty_file_is_a_new_journal(sqlite_file: Path) -> None:
    sqlite_file.touch()
    with closing(open_sqlite(sqlite_file)) as journal:
        works(journal)


def test_a_folder_is_no_journal(sqlite_file: Path) -> None:
    sqlite_file.mkdir()
    with pytest.raises(JournalError, match="must answer, but got: unable to open database file") as said:
        open_sqlite(sqlite_file)
    assert str(sqlite_file) in one_sentence(said)


def test_a_folder_that_is_not_there_is_a_journal_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="unable to open database file"):
        SqlJournal(f"sqlite:///{tmp_path}/nowhere/tuning.db")


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user to whom nothing here belongs; for anybody but root that is himself, on files that he has shut."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


@pytest.mark.slow
def test_a_file_that_may_not_be_read_is_a_journal_error(closed: Path) -> None:
    closed.chmod(0)
    with without_rights(), pytest.raises(JournalError, match="unable to open database file"):
        SqlJournal(f"sqlite:///{closed}")
    closed.chmod(0o600)
    with closing(open_sqlite(closed)) as journal:
        assert journal.progress("search-a").done > 0


def refuses_all(journal: SqlJournal) -> None:
    for ask in (lambda: works(journal, "search-c"), lambda: journal.progress("search-a")):
        with pytest.raises(JournalError, match="must be the file that was opened, but got another, or none"):
            ask()
    # threads for which there is no connection yet
    with ThreadPoolExecutor(3) as threads:
        for future in [threads.submit(works, journal, f"search-{number}") for number in range(3)]:
            assert isinstance(future.exception(), JournalError)


@pytest.mark.slow
def test_a_file_that_vanished_is_not_made_anew_and_back_in_its_place_it_goes_on(closed: Path) -> None:
    with closing(open_sqlite(closed)) as journal:
        works(journal, "search-b")
        before = journal.progress("search-b")
        closed.rename(closed.with_name("aside.db"))
        refuses_all(journal)
        assert not closed.exists()
        closed.with_name("aside.db").rename(closed)
        assert journal.progress("search-b") == before
        works(journal, "search-c")


@pytest.mark.slow
def test_a_file_that_took_its_place_is_not_taken_for_it(closed: Path) -> None:
    with closing(open_sqlite(closed)) as journal:
        journal.progress("search-a")
        closed.unlink()
        closed.write_bytes(b"")
        refuses_all(journal)
        assert closed.read_bytes() == b""
