"""A search's row: transactions on it, its columns, and the records in them as JSON.

SQLite has one writer at a time (BEGIN IMMEDIATE), and needs no more. On Postgres the transactions of one search run side by
side. Each begins with a shared lock on the search's row, so that none meets a deletion half-way. Rows are then locked in one
order (cells, units, regions, the search), so that no two transactions wait for each other. Claims pass by what others have
locked (SKIP LOCKED).
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, bindparam, select

from tuningjob.aliases import Anything
from tuningjob.errors import UnknownSearch
from tuningjob.journal.claims import Claims
from tuningjob.journal.database import Database
from tuningjob.journal.schema import searches
from tuningjob.journal.values import MAX_READABLE, bounded_text
from tuningjob.protocol.records import SearchState

R = TypeVar("R")

# Built once, because thousands of cells pass through them.
_JOIN: Final = (
    select(
        *(searches.c[name] for name in ("id", "namespace", "state", "candidates", "splits", "pods", "walk")),
        *(searches.c[name] for name in ("done", "finisher", "memory_limit")),
    )
    .where(searches.c.id == bindparam("search"), searches.c.deleted_at.is_(None))
    .with_for_update(read=True, key_share=True)
)

# Columns that workers write, and that an older release took at any length.
_WORDS: Final = {
    "preflight": 8 * MAX_READABLE,
    "answer": MAX_READABLE,
    "refusal": 4 * MAX_READABLE,
    "failure": MAX_READABLE,
}
NO_WORDS: Final = [column for column in searches.columns if column.name not in {*_WORDS, "walk"}]
ALL: Final = [*NO_WORDS, *(bounded_text(searches.c[name], most) for name, most in _WORDS.items())]


@functools.cache
def _adapter(kind: Anything) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_column(record: object) -> str:
    """A record as JSON for a column."""
    kind: Any = type(record)
    return _adapter(kind).dump_json(record).decode()


def from_column(kind: type[R], text: str | None) -> R | None:
    """The record in a column; None if it is null, or if an older release took in a record that this one refuses."""
    hashable: Any = kind
    try:
        return None if text is None else _adapter(hashable).validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        return None


@contextmanager
def joined(database: Database, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
    """A transaction during which the search cannot be deleted; others may work on it meanwhile. Raises UnknownSearch."""
    with database.writing() as connection:
        row = connection.execute(_JOIN, {"search": search_id}).one_or_none()
        if row is None:
            raise UnknownSearch(search_id)
        yield connection, row


@contextmanager
def locked(database: Database, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
    """A transaction that holds the lock on the search's row, so that no other can change it. Raises UnknownSearch."""
    with database.writing() as connection:
        row = locked_row(connection, search_id)
        if row is None:
            raise UnknownSearch(search_id)
        yield connection, row


@contextmanager
def alone(database: Database, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
    """``locked``, once every other transaction on the search has ended, and before another begins. Raises UnknownSearch."""
    with database.writing() as connection:
        connection.execute(select(searches.c.id).where(searches.c.id == search_id).with_for_update())
        row = locked_row(connection, search_id)
        if row is None:
            raise UnknownSearch(search_id)
        yield connection, row


def locked_row(connection: Connection, search_id: str) -> Row[Any] | None:
    """The row, locked until the end of the transaction; None if there is none."""
    columns: list[Any] = [*ALL, searches.c.walk]
    query = select(*columns).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
    return connection.execute(query.with_for_update(key_share=True)).one_or_none()


def row_of(connection: Connection, search_id: str, columns: Sequence[Any] = NO_WORDS) -> Row[Any]:
    """The row as it is now. Raises UnknownSearch."""
    query = select(*columns).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownSearch(search_id)
    return row


def change(connection: Connection, search_id: str, **values: object) -> None:
    """Change the row, and raise its revision."""
    mine = searches.update().where(searches.c.id == search_id)
    connection.execute(mine.values(revision=searches.c.revision + 1, **values))


def free(database: Database, search_id: str, first: int, last: int) -> None:
    """Note that the indexes from ``first`` to ``last`` hold nothing of the search any more."""
    with joined(database, search_id) as (connection, row):
        if row.state != SearchState.RUNNING.value:
            return
        held = Claims(connection, row).free(first, last)
        finishing = searches.c.finisher.between(first, last) & (searches.c.state == SearchState.RUNNING.value)
        mine = searches.update().where(searches.c.id == search_id)
        connection.execute(mine.where(finishing).values(finisher=None, revision=searches.c.revision + 1))
        if held:
            change(connection, search_id)


def end_search(database: Database, search_id: str, **values: object) -> None:
    """Record how a search has ended, if it has not ended yet."""
    with locked(database, search_id) as (connection, row):
        if row.state == SearchState.RUNNING.value:
            change(connection, row.id, **values)
