"""The journal on a database that does not do its part: what it says then, what it never does, and that it goes on after."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import text

from tests.journal.conftest import OpenJournal
from tests.journal.makers import Pod, a_search, an_answer
from tests.servers.missing import missing
from tests.servers.postgres import PASSWORD, Postgres, find_programs, running
from tuningjob.errors import JournalError
from tuningjob.journal.database import Database
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.protocol.records import Cell

SPLITS = 5


def works(journal: SqlJournal, search: str = "search-a") -> None:
    """Open a search, fit half of it."""
    journal.open_search(a_search(search))
    pod = Pod(journal.view(search))
    pod.finish(pod.must_claim())


def write(database: Database, *statements: str) -> None:
    """One transaction."""
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


def one_sentence(refused: pytest.ExceptionInfo[JournalError]) -> str:
    said = str(refused.value)
    assert "\n" not in said
    assert PASSWORD not in said
    return said


# --- the URL --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_is_found_by_each_name_that_it_goes_by(make_postgres: Callable[[], str], scheme: str) -> None:
    url = make_postgres().replace("postgresql", scheme, 1)
    with closing(SqlJournal(url)) as journal:
        works(journal)


@pytest.mark.parametrize(
    ("url", "got"),
    [
        ("mysql://ada:must-not-be-told@there/journal", "mysql://…"),
        ("postgresql+asyncpg://ada:must-not-be-told@there/journal", "postgresql+asyncpg://…"),
        ("/data/tuning.db", "something else"),
        ("", "something else"),
        ("postgresql://ada:must-not-be-told@there:many/journal", "something else"),
    ],
)
def test_another_url_is_refused_without_its_password(url: str, got: str) -> None:
    with pytest.raises(JournalError, match=r"must be sqlite:///file or postgresql://user") as refused:
        Database(url)
    assert one_sentence(refused).endswith(f"but got {got}.")


@pytest.mark.parametrize(
    "url", ["postgresql://ada:must-not-be-told@there/journal?password=must-not-be-told", "sqlite:///a.db"]
)
def test_a_database_is_shown_without_the_password(url: str) -> None:
    shown = str(Database(url))
    assert PASSWORD not in shown
    assert shown.rpartition("/")[2] in {"journal", "a.db"}


# --- Postgres that does not answer -------------------------------------------------------------------------------------


def test_a_wrong_password_is_a_journal_error_of_one_sentence(postgres: Postgres) -> None:
    url = postgres.url("postgres").replace(PASSWORD, "wrong-and-secret")
    with pytest.raises(
        JournalError, match=r"the journal's database must answer, but got: .*authentication failed"
    ) as refused:
        SqlJournal(url)
    assert "wrong-and-secret" not in one_sentence(refused)


def test_a_database_that_is_not_there_is_a_journal_error(postgres: Postgres) -> None:
    with pytest.raises(JournalError, match='database "nowhere" does not exist') as refused:
        SqlJournal(postgres.url("nowhere"))
    one_sentence(refused)


def test_a_server_that_is_not_there_is_a_journal_error(postgres: Postgres) -> None:
    with pytest.raises(JournalError, match="Connection refused") as refused:
        SqlJournal(postgres.url("postgres").replace(str(postgres.port), "1"))
    one_sentence(refused)


def test_what_a_row_holds_is_not_told(make_postgres: Callable[[], str]) -> None:
    with closing(Database(make_postgres())) as database:
        write(database, "CREATE TABLE secrets (word TEXT PRIMARY KEY)")
        with pytest.raises(JournalError, match="duplicate key") as refused:
            write(database, "INSERT INTO secrets VALUES ('must-not-be-told'), ('must-not-be-told')")
    one_sentence(refused)


@pytest.mark.slow
def test_a_lock_that_is_held_is_waited_for_as_long_as_the_url_says(make_postgres: Callable[[], str]) -> None:
    url = make_postgres()
    with closing(SqlJournal(url)) as journal, closing(Database(url)) as other:
        works(journal)
        with closing(SqlJournal(f"{url}?options=-c%20lock_timeout%3D50")) as impatient, other.writing() as connection:
            connection.execute(text("LOCK TABLE searches"))
            with pytest.raises(JournalError, match="canceling statement due to lock timeout"):
                impatient.open_search(a_search("search-b"))


def test_postgres_is_told_who_asks_and_how_long_it_may_take(make_postgres: Callable[[], str]) -> None:
    with closing(Database(make_postgres())) as database, database.writing() as connection:
        names = ("application_name", "transaction_isolation", "statement_timeout", "lock_timeout")
        told = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in names}
        idle = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
    assert told == {
        "application_name": "tuningjob",
        "transaction_isolation": "read committed",
        "statement_timeout": "2min",
        "lock_timeout": "30s",
    }
    assert idle == "5min"


@pytest.mark.slow
def test_forty_threads_share_a_few_connections(make_postgres: Callable[[], str]) -> None:
    url = make_postgres()
    together = threading.Barrier(40)
    with closing(SqlJournal(url)) as journal:
        journal.open_search(a_search())

        def ask() -> int:
            together.wait()
            return sum(journal.progress("search-a").total for _ in range(5))

        with ThreadPoolExecutor(40) as threads:
            assert {future.result() for future in [threads.submit(ask) for _ in range(40)]} == {150}
        with closing(Database(url)) as database, database.reading() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert connection.execute(text(query)).scalar_one() <= 16 + 1


# --- transactions, on both ------------------------------------------------------------------------------------------


def test_all_that_a_transaction_reads_is_of_one_moment(database_url: str, open_journal: OpenJournal) -> None:
    journal = open_journal()
    with closing(Database(database_url)) as database, database.reading() as connection:
        count = text("SELECT count(*) FROM searches")
        assert connection.execute(count).scalar() == 0
        journal.open_search(a_search())
        assert connection.execute(count).scalar() == 0


def test_a_transaction_that_fails_changes_nothing(database_url: str, open_journal: OpenJournal) -> None:
    open_journal().open_search(a_search())
    with closing(Database(database_url)) as database, pytest.raises(JournalError, match="syntax error"):
        write(database, "UPDATE searches SET done = 3", "no SQL at all")
    assert open_journal().progress("search-a").done == 0


# --- a SQLite file that is none ---------------------------------------------------------------------------------------


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """The folder and the file in it are after as they were before."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    yield
    assert {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before


@pytest.fixture
def closed(sqlite_file: Path) -> Path:
    """A journal in a file, with a search in it, closed in good order: all of it is in the one file."""
    with closing(open_sqlite(sqlite_file)) as journal:
        journal.open_search(a_search(candidates=400))
        pod = Pod(journal.view("search-a"))
        for _ in range(3):
            pod.finish(pod.must_claim())
    assert [each.name for each in sqlite_file.parent.iterdir()] == [sqlite_file.name]
    return sqlite_file


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(sqlite_file: Path) -> None:
    sqlite_file.write_text("a shopping list " * 1000)
    with (
        untouched(sqlite_file),
        pytest.raises(JournalError, match="must be a journal of tuningjob, but got: file is not") as said,
    ):
        open_sqlite(sqlite_file)
    assert str(sqlite_file) in one_sentence(said)
    assert "put a backup in its place, or move it away" in str(said.value)


def test_a_database_whose_head_was_overwritten_is_refused_and_left_as_it_is(closed: Path) -> None:
    with closed.open("r+b") as file:
        file.write(b"\0" * 4096)
    with untouched(closed), pytest.raises(JournalError, match="must be a journal of tuningjob"):
        open_sqlite(closed)


def test_a_truncated_database_is_refused_and_left_as_it_is(closed: Path) -> None:
    os.truncate(closed, closed.stat().st_size // 2 // 4096 * 4096)
    with untouched(closed), pytest.raises(JournalError, match=r"disk image is malformed.*put a backup in its place"):
        open_sqlite(closed)


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


def test_a_file_that_may_not_be_read_is_a_journal_error(closed: Path) -> None:
    closed.chmod(0)
    with without_rights(), pytest.raises(JournalError, match="unable to open database file"):
        SqlJournal(f"sqlite:///{closed}")
    closed.chmod(0o600)
    with closing(open_sqlite(closed)) as journal:
        assert journal.progress("search-a").done > 0


# --- a SQLite file that vanishes ------------------------------------------------------------------------------------


def refuses_all(journal: SqlJournal) -> None:
    for ask in (lambda: works(journal, "search-c"), lambda: journal.progress("search-a")):
        with pytest.raises(JournalError, match="must be the file that was opened, but got another, or none"):
            ask()
    # threads for which there is no connection yet
    with ThreadPoolExecutor(3) as threads:
        for future in [threads.submit(works, journal, f"search-{number}") for number in range(3)]:
            assert isinstance(future.exception(), JournalError)


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


def test_a_file_that_took_its_place_is_not_taken_for_it(closed: Path) -> None:
    with closing(open_sqlite(closed)) as journal:
        journal.progress("search-a")
        closed.unlink()
        closed.write_bytes(b"")
        refuses_all(journal)
        assert closed.read_bytes() == b""


# --- a full disk ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own, for every user; needs the right to mount one."""
    path = Path(tempfile.mkdtemp(prefix="tuningjob-disk-"))
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"a small disk needs root, and the right to mount: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)
    finally:
        path.rmdir()


def fill(disk: Path, *, but_for: int = 0) -> Path:
    """Take all the room that is left, but for so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(file.tell() - but_for)
    return filler


def report_until_it_fails(journal: SqlJournal, acknowledged: set[Cell]) -> str:
    """Returns what was said then."""

    def report() -> None:
        pod = Pod(journal.view("search-a"))
        while (unit := pod.claim()) is not None:
            for start in range(0, len(unit.cells), 10):
                pod.report(*unit.cells[start : start + 10])
                acknowledged.update(unit.cells[start : start + 10])

    with pytest.raises(JournalError) as said:
        report()
    return one_sentence(said)


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_room() -> None:
    acknowledged: set[Cell] = set()
    with small_disk(megabytes=8) as disk, closing(open_sqlite(disk / "tuning.db")) as journal:
        journal.open_search(a_search(candidates=2000))
        filler = fill(disk, but_for=600_000)
        said = report_until_it_fails(journal, acknowledged)
        assert "the journal's database must answer, but got: database or disk is full" in said
        assert len(acknowledged) > 10
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged, (
            "what is there can be read"
        )
        with closing(open_sqlite(disk / "tuning.db")) as another:
            assert another.progress("search-a").done == len(acknowledged), "by another process, too"
        filler.unlink()
        pod = Pod(journal.view("search-a"))
        unit = pod.must_claim()
        assert not acknowledged & set(unit.cells)
        pod.finish(unit)
        acknowledged.update(unit.cells)
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged


def test_a_new_journal_on_a_full_disk_is_refused_and_works_once_there_is_room() -> None:
    with small_disk(megabytes=1) as disk:
        filler = fill(disk)
        with pytest.raises(JournalError, match="database or disk is full"):
            open_sqlite(disk / "tuning.db")
        filler.unlink()
        with closing(open_sqlite(disk / "tuning.db")) as journal:
            works(journal)


@pytest.mark.slow
def test_a_full_disk_under_postgres_loses_nothing_that_was_acknowledged() -> None:
    acknowledged: set[Cell] = set()
    with (
        small_disk(megabytes=160) as disk,
        running(disk / "postgres") as server,
        closing(SqlJournal(server.url(server.create_database()))) as journal,
    ):
        journal.open_search(a_search(candidates=20_000))
        filler = fill(disk, but_for=300_000)
        assert "must answer, but got: " in report_until_it_fails(journal, acknowledged)
        assert len(acknowledged) > 10
        filler.unlink()
        server.restart()
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged
        pod = Pod(journal.view("search-a"))
        pod.finish(pod.must_claim())


# --- backups, as docs/database.md has them ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_backup_of_a_sqlite_journal_at_work_is_a_journal(closed: Path) -> None:
    command = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    copy = closed.with_name("backup.db")
    with closing(open_sqlite(closed)) as journal:
        works(journal, "search-b")
        subprocess.run([sys.executable, "-c", command, closed, copy], check=True)
        works(journal, "search-c")
        with closing(open_sqlite(copy)) as restored:
            assert set(restored.revisions()) == {"search-a", "search-b"}
            assert list(restored.view("search-b").results()) == list(journal.view("search-b").results())
            works(restored, "search-d")


@pytest.mark.slow
def test_a_dump_of_a_postgres_journal_at_work_is_restored_into_an_empty_database(
    make_postgres: Callable[[], str], tmp_path: Path
) -> None:
    programs = find_programs()
    assert programs is not None
    url, empty = make_postgres(), make_postgres()
    with closing(SqlJournal(url)) as journal:
        works(journal)
        Pod(journal.view("search-a")).work()
        journal.view("search-a").complete(an_answer())
        journal.audit.bless(namespace="team", model_key="forest", version=1, who="ada")
        subprocess.run([programs / "pg_dump", "--format=custom", f"--file={tmp_path}/dump", url], check=True)
        subprocess.run([programs / "pg_restore", f"--dbname={empty}", "--exit-on-error", tmp_path / "dump"], check=True)
        with closing(SqlJournal(empty)) as restored:
            assert list(restored.view("search-a").results()) == list(journal.view("search-a").results())
            assert restored.audit.blessed(namespace="team", model_key="forest").version == 1
            works(restored, "search-b")


# --- Postgres that goes away and comes back, under load ------------------------------------------------------------------


T = TypeVar("T")


class Load:
    """Pods that claim and report until nothing is left, as workers do. A failed call is tried again."""

    def __init__(self, journal: SqlJournal, pods: int) -> None:
        self._journal = journal
        self._pods = pods
        self._stop = threading.Event()
        self.acknowledged: list[Cell] = []
        self.errors: list[str] = []

    def keep_trying(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except JournalError as error:
                self.errors.append(str(error))
                assert not self._stop.wait(0.02), "given up"

    def work(self, index: int) -> None:
        pod = Pod(self._journal.view("search-a"), index=index, slots=4)
        while (unit := self.keep_trying(pod.claim)) is not None:
            for start in range(0, len(unit.cells), 7):
                some = unit.cells[start : start + 7]
                self.keep_trying(partial(pod.report, *some))
                self.acknowledged += some
            pod.holding.discard(unit.id)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(self._pods) as threads:
            pods = [threads.submit(self.work, index) for index in range(self._pods)]
            try:
                yield
                for pod in pods:
                    pod.result(timeout=240)
            finally:
                self._stop.set()

    def wait_for(self, more: int) -> None:
        """Until so many more cells are acknowledged."""
        goal = len(self.acknowledged) + more
        deadline = time.monotonic() + 240
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {goal}: {self.errors[-3:]}"
            time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill], ids=["restarted", "killed"])
def test_what_was_acknowledged_survives_postgres_and_the_rest_is_done_after(end: Callable[[Postgres], None]) -> None:
    candidates = 1200
    with running() as server, closing(SqlJournal(server.url(server.create_database()))) as journal:
        journal.open_search(a_search(candidates=candidates, pods=6))
        load = Load(journal, pods=6)
        with load.running():
            for _ in range(3):
                load.wait_for(500)
                end(server)
                seen = set(load.acknowledged)
                failed = len(load.errors)
                while len(load.errors) < failed + 3:  # while it is away, every writer is told
                    time.sleep(0.005)
                server.start()
                assert seen <= {result.cell for result in journal.view("search-a").results()}
        everything = {Cell(candidate, split) for candidate in range(candidates) for split in range(SPLITS)}
        assert {result.cell for result in journal.view("search-a").results()} == everything
        assert sum(journal.report_counts("search-a").values()) == len(everything)
        assert journal.progress("search-a").done == len(everything)
    assert all(re.match("the journal's database must answer, but got: ", error) for error in load.errors)
    assert not any(PASSWORD in error or "\n" in error for error in load.errors)
