"""What people look at while a search runs, read for them: bounded, and nothing is locked."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Row, select, true

from tuningjob.errors import UnknownSearch
from tuningjob.journal.database import Database
from tuningjob.journal.rows import ALL, NO_WORDS, from_column
from tuningjob.journal.schema import cells, searches
from tuningjob.journal.values import bounded_text
from tuningjob.live.records import CellMark, FailedFit, SearchLine, WatchedSearch
from tuningjob.protocol.records import Answer, CellResult, Preflight

MOST_LINES: Final = 500
_MOST_MARKS: Final = 2_000
_MOST_FAILURES: Final = 10
_MAX_CELL: Final = 64 * 2**10


class SqlLive:
    """The searches of a namespace, and one of them with its latest fits. Raises JournalError."""

    def __init__(self, database: Database, clock: Callable[[], dt.datetime]) -> None:
        self._database = database
        self._clock = clock

    def lines(self, namespace: str | None, *, limit: int = MOST_LINES) -> list[SearchLine]:
        """The newest searches; of every namespace for None, which is a laptop's."""
        mine = true() if namespace is None else searches.c.namespace == namespace
        query = (
            select(*NO_WORDS)
            .where(mine, searches.c.deleted_at.is_(None))
            .order_by(searches.c.opened_at.desc(), searches.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_line(row) for row in connection.execute(query)]

    def watched(self, namespace: str | None, search_id: str) -> WatchedSearch:
        """One search. Raises UnknownSearch, also for one of another namespace."""
        mine = (searches.c.id == search_id) & searches.c.deleted_at.is_(None)
        text = bounded_text(cells.c.result, _MAX_CELL)
        latest = (
            select(cells.c.ordinal, cells.c.score, cells.c.reported_by, cells.c.reported_at, cells.c.reused_from, text)
            .where(cells.c.search_id == search_id)
            .order_by(cells.c.reported_at.desc(), cells.c.ordinal.desc())
            .limit(_MOST_MARKS)
        )
        with self._database.reading() as connection:
            row = connection.execute(select(*ALL).where(mine)).one_or_none()
            if row is None or (namespace is not None and row.namespace != namespace):
                raise UnknownSearch(f"There must be a search {search_id!r} here, but there is none.")
            found = connection.execute(latest).all()
        return _watched(row, found, self._clock())


def _line(row: Row[Any]) -> SearchLine:
    return SearchLine(
        id=row.id,
        name=row.name,
        model_key=row.model_key,
        state=row.state,
        done=row.done,
        failed=row.failed,
        total=row.candidates * row.splits,
        best_score=row.best_score,
        opened_at=row.opened_at,
        finished_at=row.finished_at,
        version=row.model_version,
    )


def _watched(row: Row[Any], found: Sequence[Any], now: dt.datetime) -> WatchedSearch:
    preflight, answer = from_column(Preflight, row.preflight), from_column(Answer, row.answer)
    pilot = preflight.pilot if preflight is not None else None
    expected = None if pilot is None else pilot.cell_seconds
    results = [(each, from_column(CellResult, each[-1])) for each in reversed(found)]
    marks = [_mark(each, result, row.splits) for each, result in results]
    errors = [
        FailedFit(candidate=each.ordinal // row.splits, split=each.ordinal % row.splits, error=result.error)
        for each, result in results
        if result is not None and result.error is not None
    ]
    return WatchedSearch(
        line=_line(row),
        splits=row.splits,
        pods=row.pods,
        deaths=row.deaths,
        reused=row.reused,
        started_at=row.started_at,
        now=now,
        metric=answer.metric if answer is not None else _metric_in(row.spec),
        best_index=answer.best_index if answer is not None else row.best_index,
        best_params=answer.best_params if answer is not None else {},
        created_by=row.created_by,
        image=row.image,
        expected_seconds=None if expected is None else (expected.low, expected.expected, expected.high),
        warnings=() if preflight is None else preflight.warnings,
        failure=row.failure or "",
        marks=tuple(marks),
        failures=tuple(errors[:_MOST_FAILURES]),
    )


def _mark(row: Row[Any], result: CellResult | None, splits: int) -> CellMark:
    return CellMark(
        candidate=row.ordinal // splits,
        split=row.ordinal % splits,
        score=row.score,
        index=row.reported_by,
        at=row.reported_at,
        seconds=0.0 if result is None else result.fit_seconds + result.score_seconds,
        is_reused=row.reused_from is not None,
        has_failed=result is not None and result.error is not None,
    )


def _metric_in(spec: str) -> str:
    scoring = json.loads(spec).get("scoring")
    return scoring if isinstance(scoring, str) else ""
