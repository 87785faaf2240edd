"""Removes the cells of searches that were deleted a while ago, a slice at a time, so that writers wait for one slice at most.

One transaction for a million cells would hold SQLite's lock for seconds, and need a log as large as what it deletes.
"""

import datetime as dt
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, select

from tuningjob.journal.audit import is_kept
from tuningjob.journal.database import Database
from tuningjob.journal.schema import cells, deaths, regions, searches, units

# A slice grows up to so many cells while one takes less than the first time, and shrinks when it takes more than the second.
MOST_CELLS: Final = 10_000
_LEAST_CELLS: Final = 100
_FAST_SECONDS: Final = 0.025
_SLOW_SECONDS: Final = 0.1
# Between two slices the lock is free for as long as the slice had it, and at least this long, because others poll for it.
_LEAST_PAUSE_SECONDS: Final = 0.02


class Purge:
    """One purge of deleted searches, slice by slice."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sleep = sleep
        self._cells = 1_000

    def run(self, deleted_before: dt.datetime) -> int:
        """Purge; returns how many searches were removed."""
        old = searches.c.deleted_at < deleted_before
        with self._database.reading() as connection:
            ids = [
                found
                for found in connection.execute(select(searches.c.id).where(old)).scalars()
                if not is_kept(connection, found) or _has_cells(connection, found)
            ]
        for search_id in ids:
            while self._slice(search_id, deleted_before):
                pass
        return len(ids)

    def _slice(self, search_id: str, deleted_before: dt.datetime) -> bool:
        """Remove one slice of a search; returns whether something is left."""
        with self._database.writing() as connection:
            begun = self._clock()
            mine = (searches.c.id == search_id) & (searches.c.deleted_at < deleted_before)
            if connection.execute(select(searches.c.id).where(mine).with_for_update()).first() is None:
                return False  # it was opened again, or another purge removed it first
            found = select(cells.c.ordinal).where(cells.c.search_id == search_id).order_by(cells.c.ordinal)
            last = connection.execute(found.offset(self._cells - 1).limit(1)).scalar()
            if last is None:
                # the row of a search says which data it was sent, and the data of a version that was ever blessed are kept
                remove(connection, search_id, with_row=not is_kept(connection, search_id))
                return False
            connection.execute(cells.delete().where(cells.c.search_id == search_id, cells.c.ordinal <= last))
        took = self._clock() - begun
        if took < _FAST_SECONDS:
            self._cells = min(MOST_CELLS, 2 * self._cells)
        elif took > _SLOW_SECONDS:
            self._cells = max(_LEAST_CELLS, self._cells // 2)
        self._sleep(max(_LEAST_PAUSE_SECONDS, took))
        return True


def _has_cells(connection: Connection, search_id: str) -> bool:
    return (
        connection.execute(select(cells.c.ordinal).where(cells.c.search_id == search_id).limit(1)).first() is not None
    )


def remove(connection: Connection, search_id: str, *, with_row: bool = True) -> None:
    """Remove all of a search but its row of the audit; ``with_row``: its own row, too."""
    for table in (cells, deaths, units, regions):
        connection.execute(table.delete().where(table.c.search_id == search_id))
    if with_row:
        connection.execute(searches.delete().where(searches.c.id == search_id))
