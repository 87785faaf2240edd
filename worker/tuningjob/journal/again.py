"""Retry failed cells: the search goes on, or a new one begins, with every cell that was finished without an error.

It is made for a laptop, where one worker is alone with the journal. All of it is within one transaction.
"""

import bisect
import datetime as dt
import json
from collections import Counter
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, literal, select

from tuningjob.journal.claims import walk_of
from tuningjob.journal.records import NewSearch
from tuningjob.journal.schema import cells, regions, searches, units
from tuningjob.journal.values import bounded_text
from tuningjob.protocol.records import Cell, CellResult, SearchState

_RESULT: Final = TypeAdapter(CellResult)
_PAGE: Final = 5_000
_FORGET: Final = cells.delete().where(cells.c.search_id == bindparam("search"), cells.c.ordinal == bindparam("cell"))
# its claimant has lost it, and the next claimant that asks gets it
_OPEN: Final = (
    units.update()
    .where(units.c.search_id == bindparam("search"), units.c.id == bindparam("unit"))
    .values(remaining=units.c.remaining + bindparam("count"), holder=None, claimant=None)
)


def copy(connection: Connection, search_id: str, new: NewSearch, now: dt.datetime) -> None:
    """Copy a search under another id; its finished cells count as reused."""
    mine = {"id": new.id, "opened_at": now, "created_by": new.created_by, "artifacts": new.artifacts}
    _copy_rows(connection, searches, searches.c.id == search_id, {**mine, "spec": json.dumps(new.spec)})
    for table, changed in ((regions, {}), (units, {}), (cells, {"reports": 0})):
        _copy_rows(connection, table, table.c.search_id == search_id, {"search_id": new.id, **changed})


def _copy_rows(connection: Connection, table: Table, which: ColumnElement[bool], changed: dict[str, object]) -> None:
    values = [
        literal(changed[column.name], column.type).label(column.name) if column.name in changed else column
        for column in table.columns
    ]
    connection.execute(table.insert().from_select(list(table.columns), select(*values).where(which)))


def forget_failures(connection: Connection, row: Row[Any]) -> int:
    """Have the search run again without its failed and pruned cells; returns how many cells it keeps.

    Pruned cells go, too, because a candidate may have been given up because of a fit that failed.
    """
    failed = _failed(connection, row.id)
    if failed:
        this = {"search": row.id}
        connection.execute(_FORGET, [{**this, "cell": ordinal} for ordinal in failed])
        walk = walk_of(row)
        places = [
            walk.place(Cell(*divmod(ordinal, row.splits)))
            for ordinal in failed
            if not walk.is_shared(
                ordinal // row.splits
            )  # its results come with those of the candidate that it shares them with
        ]
        reopened = Counter(_units_of(connection, row.id, places))
        connection.execute(_OPEN, [{**this, "unit": unit, "count": count} for unit, count in reopened.items()])
    kept = int(row.done) - len(failed)
    connection.execute(
        searches.update()
        .where(searches.c.id == row.id)
        .values(
            state=SearchState.RUNNING.value,
            revision=searches.c.revision + 1,
            done=kept,
            failed=0,
            pruned=0,
            # the preflight is made again, and the time of the search counts from then on
            preflight=None,
            started_at=None,
            finished_at=None,
            ended_by=None,
            end_reason="",
            finisher=None,
            failure=None,
            refusal=None,
            answer=None,
            model_version=None,
        )
    )
    return kept


def _failed(connection: Connection, search_id: str) -> list[int]:
    """The ordinals of the cells that failed, were pruned, or cannot be read."""
    mine = cells.c.search_id == search_id
    query = select(cells.c.ordinal, bounded_text(cells.c.result)).where(mine).order_by(cells.c.ordinal)
    with connection.execute(query, execution_options={"yield_per": _PAGE}) as rows:
        return [ordinal for ordinal, text in rows if _has_failed(text)]


def _has_failed(text: str | None) -> bool:
    if text is None:
        return True
    try:
        result = _RESULT.validate_json(text)
    except ValidationError:
        return True
    return result.error is not None or result.pruned


def _units_of(connection: Connection, search_id: str, places: list[int]) -> list[int]:
    """The unit of each place in the walk."""
    query = select(units.c.id, units.c.start).where(units.c.search_id == search_id)
    known = connection.execute(query.order_by(units.c.start)).all()
    starts = [unit.start for unit in known]
    return [known[bisect.bisect_right(starts, place) - 1].id for place in places]
