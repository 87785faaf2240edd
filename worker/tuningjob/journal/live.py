"""Reads what people look at while a search runs: bounded, and without locks."""

import datetime as dt
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, true

from tuningjob.errors import UnknownSearch
from tuningjob.journal.claims import walk_of
from tuningjob.journal.database import Database
from tuningjob.journal.rows import ALL, NO_WORDS, from_column
from tuningjob.journal.schema import cells, deaths, searches, units
from tuningjob.journal.values import bounded_text
from tuningjob.live.records import CellMark, FailedFit, NotedDeath, SearchLine, WatchedSearch
from tuningjob.protocol.records import Answer, CellResult, Preflight

MOST_LINES: Final = 500
_MOST_MARKS: Final = 2_000
_MOST_FAILURES: Final = 10
_MAX_CELL: Final = 64 * 2**10
_MOST_MOURNED: Final = 100
_MOST_PREFLIGHTS: Final = 5
_MAX_PREFLIGHT: Final = 512 * 2**10


class SqlLive:
    """The searches of a namespace, and one of them with its latest fits. Raises JournalError."""

    def __init__(self, database: Database, clock: Callable[[], dt.datetime]) -> None:
        self._database = database
        self._clock = clock

    def lines(self, namespaces: Collection[str] | None, *, limit: int = MOST_LINES) -> list[SearchLine]:
        """The newest searches of these namespaces; None: of every one."""
        mine = true() if namespaces is None else searches.c.namespace.in_(namespaces)
        query = (
            select(*NO_WORDS)
            .where(mine, searches.c.deleted_at.is_(None))
            .order_by(searches.c.opened_at.desc(), searches.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_line(row) for row in connection.execute(query)]

    def line(self, namespace: str | None, search_id: str) -> SearchLine:
        """One search as a line of the list. Raises UnknownSearch, also for one of another namespace."""
        with self._database.reading() as connection:
            return _line(_row(connection, namespace, search_id, NO_WORDS))

    def namespaces(self, *, limit: int) -> list[str]:
        """The namespaces that have searches, the one with the newest first."""
        query = (
            select(searches.c.namespace)
            .where(searches.c.deleted_at.is_(None))
            .group_by(searches.c.namespace)
            .order_by(func.max(searches.c.opened_at).desc(), searches.c.namespace)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def kernels(self, namespace: str) -> tuple[str, ...]:
        """The libraries that the first pods of the namespace's latest searches multiplied matrices with."""
        text = bounded_text(searches.c.preflight, _MAX_PREFLIGHT)
        query = (
            select(text)
            .where(searches.c.namespace == namespace, searches.c.preflight.is_not(None))
            .order_by(searches.c.opened_at.desc(), searches.c.id)
            .limit(_MOST_PREFLIGHTS)
        )
        with self._database.reading() as connection:
            told = [from_column(Preflight, found) for found in connection.execute(query).scalars()]
        return tuple(sorted({each for preflight in told if preflight is not None for each in preflight.kernels}))

    def means(self, search_id: str, splits: int) -> dict[int, float | None]:
        """The mean score of each candidate whose every split is in; None if one of them gave no number."""
        candidate = (cells.c.ordinal // splits).label("candidate")
        query = (
            select(candidate, func.avg(cells.c.score), func.count(cells.c.score))
            .where(cells.c.search_id == search_id)
            .group_by("candidate")
            .having(func.count() == splits)
        )
        with self._database.reading() as connection:
            return {number: mean if known == splits else None for number, mean, known in connection.execute(query)}

    def watched(self, namespace: str | None, search_id: str) -> WatchedSearch:
        """One search. Raises UnknownSearch, also for one of another namespace."""
        text = bounded_text(cells.c.result, _MAX_CELL)
        latest = (
            select(cells.c.ordinal, cells.c.score, cells.c.reported_by, cells.c.reported_at, cells.c.reused_from, text)
            .where(cells.c.search_id == search_id)
            .order_by(cells.c.reported_at.desc(), cells.c.ordinal.desc())
            .limit(_MOST_MARKS)
        )
        with self._database.reading() as connection:
            row = _row(connection, namespace, search_id, [*ALL, searches.c.walk])
            found = connection.execute(latest).all()
            retried = _retried(connection, row)
            died = _died(connection, row)
        return replace(_watched(row, found, retried, self._clock()), died=died)


def _row(connection: Connection, namespace: str | None, search_id: str, columns: Sequence[Any]) -> Row[Any]:
    mine = (searches.c.id == search_id) & searches.c.deleted_at.is_(None)
    row = connection.execute(select(*columns).where(mine)).one_or_none()
    if row is None or (namespace is not None and row.namespace != namespace):
        raise UnknownSearch(f"There must be a search {search_id!r} here, but there is none.")
    return row


def _retried(connection: Connection, row: Row[Any]) -> frozenset[tuple[int, int]]:
    """Candidate and split of the cells of units that a pod has died with."""
    if not row.deaths or row.walk is None:
        return frozenset()
    mourned = (
        select(units.c.start, units.c.stop)
        .where(units.c.search_id == row.id, units.c.victims.is_not(None))
        .limit(_MOST_MOURNED)
    )
    walk = walk_of(row)
    places = connection.execute(mourned).all()
    return frozenset((cell.candidate, cell.split) for start, stop in places for cell in walk.cells(start, stop))


def _died(connection: Connection, row: Row[Any]) -> tuple[NotedDeath, ...]:
    """The deaths in order of time; a claimant that held several units died once."""
    if not row.deaths:
        return ()
    once = (
        select(deaths.c.holder, func.min(deaths.c.at).label("at"))
        .where(deaths.c.search_id == row.id)
        .group_by(deaths.c.claimant, deaths.c.holder)
        .order_by(func.min(deaths.c.at), deaths.c.holder)
    )
    return tuple(NotedDeath(index=found.holder, at=found.at) for found in connection.execute(once))


def _line(row: Row[Any]) -> SearchLine:
    return SearchLine(
        id=row.id,
        namespace=row.namespace,
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


def _watched(
    row: Row[Any], found: Sequence[Any], retried: Collection[tuple[int, int]], now: dt.datetime
) -> WatchedSearch:
    preflight, answer = from_column(Preflight, row.preflight), from_column(Answer, row.answer)
    pilot = preflight.pilot if preflight is not None else None
    expected = None if pilot is None else pilot.cell_seconds
    results = [(each, from_column(CellResult, each[-1])) for each in reversed(found)]
    # pruned cells never ran
    ran = [(each, result) for each, result in results if result is None or not result.pruned]
    marks = [_mark(each, result, row.splits, retried) for each, result in ran]
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
        pruned=row.pruned,
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


def _mark(row: Row[Any], result: CellResult | None, splits: int, retried: Collection[tuple[int, int]]) -> CellMark:
    candidate, split = divmod(row.ordinal, splits)
    return CellMark(
        candidate=candidate,
        split=split,
        score=row.score,
        index=row.reported_by,
        at=row.reported_at,
        seconds=0.0 if result is None else result.fit_seconds + result.score_seconds,
        is_reused=row.reused_from is not None,
        is_shared=result is not None and result.error is None and result.fit_seconds == 0,
        is_retried=(candidate, split) in retried,
        has_failed=result is not None and result.error is not None,
        process=0 if result is None else result.process,
    )


def _metric_in(spec: str) -> str:
    scoring = json.loads(spec).get("scoring")
    return scoring if isinstance(scoring, str) else ""
