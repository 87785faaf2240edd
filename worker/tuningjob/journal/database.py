"""The journal's way to its database: transactions that read and transactions that write, on SQLite and on Postgres.

An error of the database becomes a JournalError of one sentence, without the password and without a statement's values.
"""

import functools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.util import LRUCache
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from tuningjob.errors import JournalError
from tuningjob.journal.turns import FairLock

_BUSY_SECONDS: Final = 30
_READ_ONLY: Final = "tuningjob_read_only"
# Postgres takes 100 connections by default, and two of our containers use it (four for a moment during an upgrade). More would
# not be faster: the transactions of one search come one after the other.
_CONNECTIONS: Final = 16
# Defaults for what the URL does not set. A server that vanished with its node neither answers nor refuses, and the kernel waits
# a quarter of an hour for it. `options` are in milliseconds; a process that sleeps in a transaction holds its locks.
_POSTGRES: Final = {
    "application_name": "tuningjob",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
    "options": "-c statement_timeout=120000 -c lock_timeout=30000 -c idle_in_transaction_session_timeout=300000",
}
_STATEMENTS: Final = 500  # as many as SQLAlchemy itself keeps of an engine
_NO_DATABASE: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


class Database:
    """A database at a URL: ``sqlite:///file`` or ``postgresql://user:password@host/name``. Connects when it is needed.

    ``look_only``: neither make nor change a file. Raises JournalError for any other URL.
    """

    def __init__(self, url: str, *, cache_kib: int | None = None, look_only: bool = False) -> None:
        self._url = _parsed(url)
        memory = self._url.database in {None, "", ":memory:"}
        self._file = (
            None
            if memory or not self._is_sqlite
            else _File(Path(str(self._url.database)), cache_kib, look_only=look_only)
        )
        self.engine = _sqlite(self._url, self._file) if self._is_sqlite else _postgres(self._url)
        self._reader = self.engine.execution_options(**{_READ_ONLY: True})
        if not self._is_sqlite:
            # as SQLite's readers do by default: all that a transaction reads is of one moment
            self._reader = self._reader.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # Threads that wait for SQLite's write lock poll it, and an unlucky one waits for seconds while others come and go. Here
        # they queue, and namespaces take turns. Other processes still poll.
        self._turn = FairLock() if self._is_sqlite else nullcontext()

    @property
    def _is_sqlite(self) -> bool:
        return self._url.drivername == "sqlite"

    def __str__(self) -> str:
        """The database's URL, without the password."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. Raises JournalError if the database fails."""
        with self._answering(), self._turn, self.engine.begin() as connection:
            self._must_be_there()
            yield connection
            self._must_be_there()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of one moment. It waits for no writer, and no writer for it. Raises JournalError."""
        with self._answering(), self._reader.begin() as connection:
            self._must_be_there()
            yield connection

    def _must_be_there(self) -> None:
        if self._file is not None:
            self._file.must_be_there()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise JournalError(self._sentence(getattr(error, "orig", None) or error)) from error

    def _sentence(self, error: BaseException) -> str:
        # further lines hold the values of a row (Postgres) or advice (libpq)
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        if self._url.password:
            reason = reason.replace(str(self._url.password), "***")
        if not isinstance(error, sqlite3.Error):
            return f"the journal's database must answer, but got: {reason}"
        if _code(error) in _NO_DATABASE:
            return (
                f"{self._url.database}: must be a journal of tuningjob, but got: {reason}. "
                "It was left as it is: put a backup in its place, or move it away."
            )
        where = f" ({self._url.database})" if self._file is not None else ""
        return f"the journal's database must answer, but got: {reason}{where}"


class _File:
    """A SQLite file. It is made once at most, because SQLite would replace a vanished file by an empty journal and go on."""

    def __init__(self, path: Path, cache_kib: int | None, *, look_only: bool) -> None:
        self._path = path.absolute()
        self._look_only = look_only
        self._cache_kib = cache_kib
        self._opened: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def connect(self) -> sqlite3.Connection:
        with self._lock:
            # a name may hold a question mark: as_uri escapes it
            mode = "ro" if self._look_only else "rwc" if self._opened is None else "rw"
            uri = f"{self._path.as_uri()}?mode={mode}"
            connection = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            try:
                if not self._look_only:
                    _prepare(connection)
                if self._cache_kib is not None:
                    connection.execute(f"PRAGMA cache_size=-{self._cache_kib:d}").close()
            except sqlite3.Error:
                connection.close()
                raise
            if self._opened is None:
                self._opened = self._found()
            return connection

    def must_be_there(self) -> None:
        """Raises JournalError if the file was removed or replaced, because what is written now would be lost."""
        if self._found() != self._opened:
            raise JournalError(
                f"{self._path}: must be the file that was opened, but got another, or none. "
                "Put it back and start anew; nothing was written to what is there now."
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite; 0 for an error of Python's own module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and _code(error) == sqlite3.SQLITE_BUSY


# SQLite does not wait for its busy timeout when that could be a deadlock. If two processes turn one new file to WAL, one gets
# "database is locked" without a wait (wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode").
@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(_BUSY_SECONDS),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _prepare(connection: sqlite3.Connection) -> None:
    # a log that has grown by a large transaction or a long reader is cut when it starts over
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
        connection.execute(f"PRAGMA {pragma}").close()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # such as a port that is no number
        parsed = None
    if parsed is not None and parsed.drivername in {"sqlite", "sqlite+pysqlite"} and not parsed.query:
        return parsed.set(drivername="sqlite")
    if parsed is not None and parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    got = "something else" if parsed is None else f"{parsed.drivername}://…"
    raise JournalError(
        f"the journal's URL: must be sqlite:///file or postgresql://user:password@host:port/name, but got {got}."
    )


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_BUSY_SECONDS,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={name: value for name, value in _POSTGRES.items() if name not in url.query},
        )
    except ImportError as error:
        raise JournalError(
            f"a journal in Postgres needs psycopg, but got: {error}. Install psycopg[binary]."
        ) from error


@functools.cache
def _of_all_files() -> tuple[Dialect, LRUCache[Any, Any]]:
    """The dialect of SQLite, and its compiled statements.

    All files share them. Without that, a process that searches again, each time in another file, would compile the same fifty
    statements again.
    """
    engine = create_engine("sqlite://")
    engine.connect().close()  # the dialect learns what SQLite can do
    engine.dispose()
    return engine.dialect, LRUCache(_STATEMENTS)


def _sqlite(url: URL, file: _File | None) -> Engine:
    if file is not None:
        engine = create_engine(url, creator=file.connect, poolclass=QueuePool)
    else:
        engine = create_engine(url, connect_args={"check_same_thread": False, "isolation_level": None})
        event.listen(engine, "connect", lambda connection, _: _prepare(connection))

    # the dialect is a part of the cache's key
    engine.dialect, compiled = _of_all_files()
    engine.update_execution_options(compiled_cache=compiled)

    # pysqlite begins a transaction only at the first write, too late to lock out a second writer. So begin it here, as
    # SQLAlchemy's "Serializable isolation / Savepoints / Transactional DDL" for pysqlite describes.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only: Any = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
