"""The journal in SQL: SQLite on a laptop and by default, through SQLAlchemy Core.

Every change of a search begins by locking its row, so that the transactions of one search come one after the other
(SQLite has one writer anyway: BEGIN IMMEDIATE; elsewhere SELECT … FOR UPDATE).
"""

import datetime as dt
import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import DatabaseError

from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal.contract import Journal
from tuningjob.journal.database import Database
from tuningjob.journal.records import (
    Answer,
    AuditRow,
    Best,
    Cell,
    CellResult,
    Claim,
    NewSearch,
    Next,
    Preflight,
    Progress,
    Refusal,
    Search,
    SearchState,
    Unit,
)
from tuningjob.journal.schema import SCHEMA_VERSION, audit, cells, metadata, schema_version, searches, units
from tuningjob.journal.units import cell_at, ordinal_of, unit_size

# How long an ended search stays among `revisions`: an operator that was away must still hear of the end.
_RECENT: Final = dt.timedelta(days=7)
_PAGE: Final = 5_000


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a record's class
    return TypeAdapter(kind)


def _dump(record: object) -> str:
    kind: Any = type(record)
    return _adapter(kind).dump_json(record).decode()


R = TypeVar("R")


def _load(kind: type[R], text: str | None) -> R | None:
    hashable: Any = kind
    return None if text is None else _adapter(hashable).validate_json(text)


def utc_now() -> dt.datetime:
    """The wall clock."""
    return dt.datetime.now(dt.UTC)


def open_sqlite(path: Path, *, clock: Callable[[], dt.datetime] = utc_now) -> "SqlJournal":
    """A journal in a file, made if it is not there. Raises JournalError for a file that is no journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqlJournal(f"sqlite:///{path}", clock=clock)


class SqlJournal(Journal):
    """The journal at a database URL. Makes its tables in an empty database."""

    def __init__(self, url: str, *, clock: Callable[[], dt.datetime] = utc_now) -> None:
        self._database = Database(url)
        self._clock = clock
        try:
            metadata.create_all(self._database.engine)
            self._check_schema()
        except DatabaseError as error:
            self.close()
            raise JournalError(f"{self._database}: must be a journal of tuningjob, but got: {error.orig}") from error
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def _check_schema(self) -> None:
        with self._database.writing() as connection:
            found = connection.execute(select(schema_version.c.version)).scalar()
            if found is None:
                connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
            elif found != SCHEMA_VERSION:
                raise JournalMismatch(
                    f"the journal's schema must be version {SCHEMA_VERSION}, but got {found}. Use the tuningjob that wrote it."
                )

    @contextmanager
    def _locked(self, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
        """A transaction that holds the search's row. Raises UnknownSearch."""
        with self._database.writing() as connection:
            row = connection.execute(select(searches).where(searches.c.id == search_id).with_for_update()).one_or_none()
            if row is None:
                raise UnknownSearch(search_id)
            yield connection, row

    def _update(self, connection: Connection, row: Row[Any], **values: object) -> None:
        connection.execute(searches.update().where(searches.c.id == row.id).values(revision=row.revision + 1, **values))

    def open_search(self, new: NewSearch) -> None:
        """See Journal."""
        with self._database.writing() as connection:
            row = connection.execute(select(searches).where(searches.c.id == new.id).with_for_update()).one_or_none()
            if row is not None:
                if row.pods != new.pods:
                    connection.execute(searches.update().where(searches.c.id == new.id).values(pods=new.pods))
                return
            connection.execute(
                searches.insert().values(
                    id=new.id,
                    namespace=new.namespace,
                    name=new.name,
                    model_key=new.model_key,
                    spec=json.dumps(new.spec),
                    candidates=new.candidates,
                    splits=new.splits,
                    pods=new.pods,
                    state=SearchState.RUNNING.value,
                    revision=0,
                    opened_at=self._clock(),
                    next_ordinal=0,
                    done=0,
                    failed=0,
                )
            )

    def _row(self, connection: Connection, search_id: str) -> Row[Any]:
        row = connection.execute(select(searches).where(searches.c.id == search_id)).one_or_none()
        if row is None:
            raise UnknownSearch(search_id)
        return row

    def search(self, search_id: str) -> Search:
        """See Journal."""
        with self._database.reading() as connection:
            row = self._row(connection, search_id)
        return Search(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            spec=json.loads(row.spec),
            candidates=row.candidates,
            splits=row.splits,
            state=SearchState(row.state),
        )

    def progress(self, search_id: str) -> Progress:
        """See Journal."""
        with self._database.reading() as connection:
            row = self._row(connection, search_id)
            best = _best(connection, row)
        return Progress(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            state=SearchState(row.state),
            revision=row.revision,
            done=row.done,
            failed=row.failed,
            total=row.candidates * row.splits,
            preflight=_load(Preflight, row.preflight),
            best=best,
            answer=_load(Answer, row.answer),
            model_version=row.model_version,
            refusal=_load(Refusal, row.refusal),
            failure=row.failure,
        )

    def revisions(self) -> dict[str, int]:
        """See Journal."""
        recent = searches.c.finished_at.is_(None) | (searches.c.finished_at > self._clock() - _RECENT)
        with self._database.reading() as connection:
            return {
                row.id: row.revision
                for row in connection.execute(select(searches.c.id, searches.c.revision).where(recent))
            }

    def set_preflight(self, search_id: str, preflight: Preflight) -> None:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            first = _load(Preflight, row.preflight)
            if first is None:
                self._update(connection, row, preflight=_dump(preflight), started_at=self._clock())
            elif first.data_digest != preflight.data_digest:
                raise JournalMismatch(
                    f"must be data of digest {first.data_digest}, as the search began with, but got {preflight.data_digest}."
                )
            elif first.versions != preflight.versions:
                raise JournalMismatch(
                    f"must be the libraries that the search began with ({first.versions}), but got {preflight.versions}."
                )

    def claim(self, search_id: str, *, index: int, slots: int, holding: Set[int]) -> Claim:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if row.state != SearchState.RUNNING.value:
                return Claim(next=Next.NOTHING)
            unit = self._resumed(connection, row, index, holding) or self._fresh(connection, row, index, slots)
            if unit is not None:
                return Claim(next=Next.EVALUATE, unit=unit)
            if row.done == row.candidates * row.splits and row.finisher in {None, index}:
                if row.finisher is None:
                    self._update(connection, row, finisher=index)
                return Claim(next=Next.FINISH)
            return Claim(next=Next.NOTHING)

    def _resumed(self, connection: Connection, row: Row[Any], index: int, holding: Set[int]) -> Unit | None:
        """An unfinished unit of this index that it does not hold, else one that was given back."""
        query = (
            select(units)
            .where(units.c.search_id == row.id, units.c.remaining > 0)
            .where((units.c.holder == index) | units.c.holder.is_(None))
            .order_by(units.c.holder.is_(None), units.c.id)
        )
        for unit in connection.execute(query).all():
            if unit.holder == index and unit.id in holding:
                continue
            if unit.holder is None:
                key = (units.c.search_id == row.id) & (units.c.id == unit.id)
                connection.execute(units.update().where(key).values(holder=index))
            return Unit(id=unit.id, cells=self._unfinished(connection, row, unit))
        return None

    def _unfinished(self, connection: Connection, row: Row[Any], unit: Row[Any]) -> tuple[Cell, ...]:
        inside = (cells.c.search_id == row.id) & cells.c.ordinal.between(unit.start, unit.stop - 1)
        finished = set(connection.execute(select(cells.c.ordinal).where(inside)).scalars())
        return tuple(
            cell_at(ordinal, row.splits) for ordinal in range(unit.start, unit.stop) if ordinal not in finished
        )

    def _fresh(self, connection: Connection, row: Row[Any], index: int, slots: int) -> Unit | None:
        remaining = row.candidates * row.splits - row.next_ordinal
        if remaining == 0:
            return None
        start = row.next_ordinal
        stop = start + unit_size(remaining, pods=row.pods, slots=slots)
        number = connection.execute(
            select(func.count()).select_from(units).where(units.c.search_id == row.id)
        ).scalar_one()
        connection.execute(
            units.insert().values(
                search_id=row.id, id=number, start=start, stop=stop, remaining=stop - start, holder=index
            )
        )
        connection.execute(searches.update().where(searches.c.id == row.id).values(next_ordinal=stop))
        return Unit(id=number, cells=tuple(cell_at(ordinal, row.splits) for ordinal in range(start, stop)))

    def report(self, search_id: str, *, index: int, results: Sequence[CellResult]) -> int:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            by_ordinal: dict[int, CellResult] = {}
            for result in results:
                ordinal = ordinal_of(result.cell, row.splits)
                if result.split >= row.splits or ordinal >= row.next_ordinal:
                    raise JournalMismatch(f"a reported cell must be one that was claimed, but got {result.cell}")
                by_ordinal.setdefault(ordinal, result)
            mine = (cells.c.search_id == search_id) & cells.c.ordinal.in_(by_ordinal)
            known = set(connection.execute(select(cells.c.ordinal).where(mine)).scalars())
            if known:
                connection.execute(cells.update().where(mine).values(reports=cells.c.reports + 1))
            new = {ordinal: result for ordinal, result in by_ordinal.items() if ordinal not in known}
            if new:
                self._insert(connection, row, index, new)
            return len(new)

    def _insert(self, connection: Connection, row: Row[Any], index: int, new: dict[int, CellResult]) -> None:
        now = self._clock()
        connection.execute(
            cells.insert(),
            [
                {
                    "search_id": row.id,
                    "ordinal": ordinal,
                    "candidate": result.candidate,
                    "score": _first_score(result),
                    "result": _dump(result),
                    "reported_by": index,
                    "reported_at": now,
                    "reports": 1,
                }
                for ordinal, result in new.items()
            ],
        )
        open_units = connection.execute(select(units).where(units.c.search_id == row.id, units.c.remaining > 0)).all()
        for unit in open_units:
            finished = sum(unit.start <= ordinal < unit.stop for ordinal in new)
            if finished:
                key = (units.c.search_id == row.id) & (units.c.id == unit.id)
                connection.execute(units.update().where(key).values(remaining=unit.remaining - finished))
        failed = sum(result.error is not None for result in new.values())
        self._update(connection, row, done=row.done + len(new), failed=row.failed + failed)

    def give_back(self, search_id: str, *, index: int) -> None:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            held = (units.c.search_id == search_id) & (units.c.holder == index)
            connection.execute(units.update().where(held).values(holder=None))
            if row.finisher == index and row.state == SearchState.RUNNING.value:
                self._update(connection, row, finisher=None)

    def results(self, search_id: str, *, start: int = 0, limit: int | None = None) -> Iterator[CellResult]:
        """See Journal."""
        query = select(cells.c.result).where(cells.c.search_id == search_id).order_by(cells.c.ordinal).limit(limit)
        with self._database.reading() as connection:
            row = self._row(connection, search_id)
            # Once every cell is in, the start-th one is that of ordinal `start`: a seek, where OFFSET would read all before it.
            gapless = row.done == row.candidates * row.splits
            query = query.where(cells.c.ordinal >= start) if gapless else query.offset(start)
            for text in connection.execution_options(yield_per=_PAGE).execute(query).scalars():
                yield _adapter(CellResult).validate_json(text)

    def complete(self, search_id: str, answer: Answer) -> int:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if row.state == SearchState.COMPLETE.value:
                return int(row.model_version)
            _must_run(row)
            total = row.candidates * row.splits
            if row.done != total:
                raise JournalMismatch(f"a search must have all its {total} cells to be complete, but got {row.done}")
            now = self._clock()
            preflight = _load(Preflight, row.preflight)
            key = (audit.c.namespace == row.namespace) & (audit.c.model_key == row.model_key)
            latest = connection.execute(select(func.max(audit.c.version)).where(key)).scalar()
            version = int(latest or 0) + 1
            connection.execute(
                audit.insert().values(
                    namespace=row.namespace,
                    model_key=row.model_key,
                    version=version,
                    search_id=row.id,
                    best_params=json.dumps(answer.best_params),
                    score=_null_if_nan(answer.best_score),
                    metric=answer.metric,
                    std=_null_if_nan(answer.best_std),
                    fits=total,
                    failed_fits=answer.failed_fits,
                    duration_seconds=(now - (row.started_at or row.opened_at)).total_seconds(),
                    finished_at=now,
                    data_digest=preflight.data_digest if preflight else "",
                    versions=json.dumps(preflight.versions if preflight else {}),
                )
            )
            self._update(
                connection,
                row,
                state=SearchState.COMPLETE.value,
                finished_at=now,
                answer=_dump(answer),
                model_version=version,
            )
            return version

    def fail(self, search_id: str, reason: str) -> None:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                self._update(connection, row, state=SearchState.FAILED.value, finished_at=self._clock(), failure=reason)

    def refuse(self, search_id: str, refusal: Refusal) -> None:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                self._update(
                    connection,
                    row,
                    state=SearchState.REFUSED.value,
                    finished_at=self._clock(),
                    refusal=_dump(refusal),
                )

    def delete(self, search_id: str) -> None:
        """See Journal."""
        with self._database.writing() as connection:
            for table in (cells, units):
                connection.execute(table.delete().where(table.c.search_id == search_id))
            connection.execute(searches.delete().where(searches.c.id == search_id))

    def report_counts(self, search_id: str) -> dict[int, int]:
        """See Journal."""
        query = select(cells.c.reports, func.count()).where(cells.c.search_id == search_id).group_by(cells.c.reports)
        with self._database.reading() as connection:
            return {int(reports): int(count) for reports, count in connection.execute(query)}

    def reporters(self, search_id: str) -> dict[int, int]:
        """See Journal."""
        query = (
            select(cells.c.reported_by, func.count())
            .where(cells.c.search_id == search_id)
            .group_by(cells.c.reported_by)
        )
        with self._database.reading() as connection:
            return {int(index): int(count) for index, count in connection.execute(query)}

    def history(self, *, namespace: str, model_key: str) -> list[AuditRow]:
        """See Journal."""
        query = (
            select(audit)
            .where(audit.c.namespace == namespace, audit.c.model_key == model_key)
            .order_by(audit.c.version)
        )
        with self._database.reading() as connection:
            return [
                AuditRow(
                    namespace=row.namespace,
                    model_key=row.model_key,
                    version=row.version,
                    search_id=row.search_id,
                    best_params=json.loads(row.best_params),
                    score=_nan_if_null(row.score),
                    metric=row.metric,
                    std=_nan_if_null(row.std),
                    fits=row.fits,
                    failed_fits=row.failed_fits,
                    duration_seconds=row.duration_seconds,
                    finished_at=row.finished_at.isoformat(),
                    data_digest=row.data_digest,
                    versions=json.loads(row.versions),
                )
                for row in connection.execute(query)
            ]


def _must_run(row: Row[Any]) -> None:
    if row.state != SearchState.RUNNING.value:
        raise JournalMismatch(f"the search must be running, but got {row.state}")


def _first_score(result: CellResult) -> float | None:
    return _null_if_nan(next(iter(result.test_scores.values()), math.nan))


def _null_if_nan(value: float) -> float | None:
    """SQLite stores a NaN as null anyway, and then takes offence at it."""
    return None if math.isnan(value) else value


def _nan_if_null(value: float | None) -> float:
    return math.nan if value is None else value


def _best(connection: Connection, row: Row[Any]) -> Best | None:
    mean = func.avg(cells.c.score)
    query = (
        select(cells.c.candidate, mean)
        .where(cells.c.search_id == row.id, cells.c.score.is_not(None))
        .group_by(cells.c.candidate)
        .having(func.count() == row.splits, mean.is_not(None))  # the mean of inf and -inf is none
        .order_by(mean.desc(), cells.c.candidate)
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    return None if found is None else Best(index=int(found[0]), score=float(found[1]))
