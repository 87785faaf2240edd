"""The journal's way to its database: transactions that read and transactions that write, on SQLite and elsewhere."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from tuningjob.errors import JournalError

_BUSY_SECONDS: Final = 30
_READ_ONLY: Final = "tuningjob_read_only"


class Database:
    """A database at a URL. Connections are made when they are needed."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._reader = self.engine.execution_options(**{_READ_ONLY: True})
        # Threads that wait for SQLite's write lock poll it, and the unlucky wait for seconds while others come and go: here
        # they queue. Other processes still poll.
        self._turn = threading.Lock() if self.engine.dialect.name == "sqlite" else nullcontext()

    def __str__(self) -> str:
        """Its URL, without the password."""
        return str(self.engine.url)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. Raises JournalError for a database that does not do its part."""
        with _answering(), self._turn, self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: on SQLite it waits for no writer, and none for it. Raises JournalError."""
        with _answering(), self._reader.begin() as connection:
            yield connection


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise JournalError(f"the journal's database must answer, but got: {reason}") from error


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# SQLite does not wait its busy timeout where waiting could be a deadlock: of two processes that turn one new file to WAL
# at once, one is told "database is locked" at once (wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode").
@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(_BUSY_SECONDS),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _prepare(connection: sqlite3.Connection) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})

    # pysqlite begins a transaction only at the first write, too late to lock out a second writer: take over, as in
    # SQLAlchemy's "Serializable isolation / Savepoints / Transactional DDL" for pysqlite.
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection
        connection.isolation_level = None
        _prepare(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
