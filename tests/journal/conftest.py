"""The journal under test, on SQLite and on Postgres: a test that asks for ``journal`` (or the database) runs on each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest

from tests.journal.makers import Clock, Pod, a_search, pod
from tests.journal.template import ensure_journal, migrated_database
from tests.servers.postgres import Postgres
from tuningjob.journal.sql import SqlJournal, open_sqlite


class OpenJournal(Protocol):
    def __call__(self, url: str | None = None) -> SqlJournal:
        """The journal at ``url``, by default at the test's ``database_url``; closed when the test ends."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_sqlite(tmp_path: Path) -> Callable[[], str]:
    """Names a new SQLite file each time that it is called; returns its URL."""
    names = (tmp_path / f"tuning-{number}.db" for number in range(1_000_000))
    return lambda: f"sqlite:///{next(names)}"


@pytest.fixture
def make_postgres(postgres: Postgres) -> Iterator[Callable[[], str]]:
    """Makes a new, empty database in Postgres each time that it is called; returns its URL."""
    with ExitStack() as made:

        def make() -> str:
            name = postgres.create_database()
            made.callback(postgres.empty_database, name)
            return postgres.url(name)

        yield make


@pytest.fixture
def copy_sqlite(tmp_path: Path) -> str:
    """The URL of a SQLite file with an empty journal."""
    return f"sqlite:///{ensure_journal(tmp_path / 'journal.db')}"


@pytest.fixture
def copy_postgres(postgres: Postgres) -> Iterator[str]:
    """The URL of a database in Postgres with an empty journal."""
    name = postgres.copy_database(migrated_database(postgres))
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database it is."""
    name: str = request.param
    return name


@pytest.fixture
def make_database(request: pytest.FixtureRequest, kind: str) -> Callable[[], str]:
    """Makes a new, empty database each time that it is called; returns its URL."""
    make: Callable[[], str] = request.getfixturevalue(f"make_{kind}")
    return make


@pytest.fixture
def database_url(request: pytest.FixtureRequest, kind: str) -> str:
    """A new database: the one that ``journal`` is in, or, for a test without it, an empty one."""
    if "journal" in request.fixturenames:
        url: str = request.getfixturevalue(f"copy_{kind}")
        return url
    make: Callable[[], str] = request.getfixturevalue("make_database")
    return make()


@pytest.fixture
def open_journal(request: pytest.FixtureRequest, clock: Clock) -> Iterator[OpenJournal]:
    """Opens a journal as another process would: ``open_journal()`` the one at ``database_url``, once more."""
    with ExitStack() as opened:

        def open_one(url: str | None = None) -> SqlJournal:
            found: str = url or request.getfixturevalue("database_url")
            return opened.enter_context(closing(SqlJournal(found, clock=clock)))

        yield open_one


@pytest.fixture
def journal(database_url: str, open_journal: OpenJournal) -> SqlJournal:
    return open_journal(database_url)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Where the file of ``sqlite_journal`` is, for a test that looks into it."""
    return tmp_path / "tuning.db"


@pytest.fixture
def sqlite_journal(sqlite_file: Path, open_journal: OpenJournal) -> SqlJournal:
    """A journal in SQLite, for what is SQLite's alone."""
    return open_journal(f"sqlite:///{ensure_journal(sqlite_file)}")


@pytest.fixture
def opened(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search())
    return journal


@pytest.fixture
def finished(opened: SqlJournal) -> SqlJournal:
    pod(opened).work()
    return opened


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
