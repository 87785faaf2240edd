"""The journal's ways to a database: the URLs that it takes, what it says when it gets no connection, and its transactions."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from tests.journal.conftest import OpenJournal
from tests.journal.makers import a_search, works
from tests.journal.refused import one_sentence
from tests.servers.postgres import PASSWORD, Postgres
from tuningjob.errors import JournalError
from tuningjob.journal.database import Database
from tuningjob.journal.sql import SqlJournal


def write(database: Database, *statements: str) -> None:
    """One transaction."""
    with database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


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


@pytest.mark.slow
def test_a_wrong_password_is_a_journal_error_of_one_sentence(postgres: Postgres) -> None:
    url = postgres.url("postgres").replace(PASSWORD, "wrong-and-secret")
    with pytest.raises(
        JournalError, match=r"the journal's database must answer, but got: .*authentication failed"
    ) as refused:
        SqlJournal(url)
    assert "wrong-and-secret" not in one_sentence(refused)


@pytest.mark.slow
def test_a_database_that_is_not_there_is_a_journal_error(postgres: Postgres) -> None:
    with pytest.raises(JournalError, match='database "nowhere" does not exist') as refused:
        SqlJournal(postgres.url("nowhere"))
    one_sentence(refused)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_a_journal_error(postgres: Postgres) -> None:
    with pytest.raises(JournalError, match="Connection refused") as refused:
        SqlJournal(postgres.url("postgres").replace(str(postgres.port), "1"))
    one_sentence(refused)


@pytest.mark.slow
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


@pytest.mark.slow
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
