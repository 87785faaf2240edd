"""The journal in SQL: SQLite on a laptop and by default, Postgres where a team needs more, through SQLAlchemy Core.

On SQLite there is one writer at a time (BEGIN IMMEDIATE), and no more to be said. On Postgres the transactions of one search
run side by side. Each begins by a share of the search's row, so that none meets a deletion half-way; rows are then locked
in one order (cells, units, regions, the search), so that no two wait for each other; and claims pass by what others have
locked (SKIP LOCKED).
"""

import datetime as dt
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, bindparam, func, select

from tuningjob.artifacts.store import Artifact
from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal import again, files
from tuningjob.journal.audit import SqlAudit, is_kept, remember
from tuningjob.journal.cells import Cells
from tuningjob.journal.claims import Claimant, Claims, walk_of
from tuningjob.journal.contract import Journal
from tuningjob.journal.database import Database
from tuningjob.journal.migrations import prepare
from tuningjob.journal.purge import Purge, remove
from tuningjob.journal.records import TOO_MANY_FAILED_FITS, Best, EndedBy, NewSearch, Progress, Shares, Whereabouts
from tuningjob.journal.schema import cells, regions, schema_version, searches, units
from tuningjob.journal.values import MAX_READABLE, readable, storable
from tuningjob.journal.walk import is_sound
from tuningjob.protocol.code import listed, other_code
from tuningjob.protocol.records import (
    MAX_INDEX,
    Answer,
    Cell,
    CellIdentity,
    CellResult,
    Claim,
    Next,
    Preflight,
    Refusal,
    Search,
    SearchState,
)

# How long an ended search stays among `revisions`: an operator that was away must still hear of the end.
_RECENT: Final = dt.timedelta(days=7)
_PAGE: Final = 5_000
_FEW: Final = 64
NO_SHARES: Final = Shares()


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401  a record's class
    return TypeAdapter(kind)


def _dump(record: object) -> str:
    kind: Any = type(record)
    return _adapter(kind).dump_json(record).decode()


R = TypeVar("R")


def _load(kind: type[R], text: str | None) -> R | None:
    """None, too, for what an older release has taken in and this one would not."""
    hashable: Any = kind
    try:
        return None if text is None else _adapter(hashable).validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        return None


def utc_now() -> dt.datetime:
    """The wall clock."""
    return dt.datetime.now(dt.UTC)


def open_sqlite(path: Path, *, clock: Callable[[], dt.datetime] = utc_now) -> "SqlJournal":
    """A journal in a file, made if it is not there. Raises JournalError for a file that is no journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqlJournal(f"sqlite:///{path}", clock=clock)


# Made once, for the ways that thousands of cells take.
_JOIN: Final = (
    select(
        *(searches.c[name] for name in ("id", "namespace", "state", "candidates", "splits", "pods", "walk")),
        *(searches.c[name] for name in ("done", "finisher", "memory_limit")),
    )
    .where(searches.c.id == bindparam("search"), searches.c.deleted_at.is_(None))
    .with_for_update(read=True, key_share=True)
)
_COUNT: Final = (
    searches.update()
    .where(searches.c.id == bindparam("search"))
    .values(
        revision=searches.c.revision + 1,
        done=searches.c.done + bindparam("new"),
        failed=searches.c.failed + bindparam("more_failed"),
        reused=searches.c.reused + bindparam("more_reused"),
    )
    .returning(searches.c.best_index, searches.c.best_score, searches.c.failed)
)


# What a worker has written, and an older release let be of any length.
_WORDS: Final = {
    "preflight": 8 * MAX_READABLE,
    "answer": MAX_READABLE,
    "refusal": 4 * MAX_READABLE,
    "failure": MAX_READABLE,
}
_NO_WORDS: Final = [column for column in searches.columns if column.name not in {*_WORDS, "walk"}]
_ROW: Final = [*_NO_WORDS, *(readable(searches.c[name], most) for name, most in _WORDS.items())]
_MAX_CELL: Final = 512 * 2**10


_IS_WAITING: Final = units.c.holder.is_(None) & (units.c.starved > 0)
_REGIONS_OF: Final = regions.c.search_id == bindparam("search")
_AT_WORK: Final = select(
    func.max(units.c.holder).label("last_holder"),
    func.count().filter(_IS_WAITING).label("starved"),
    func.max(units.c.starved).filter(_IS_WAITING).label("starved_bytes"),
    select(func.sum(regions.c.seconds)).where(_REGIONS_OF).scalar_subquery().label("cell_seconds"),
    select(func.sum(regions.c.measured)).where(_REGIONS_OF).scalar_subquery().label("measured"),
).where(units.c.search_id == bindparam("search"), units.c.remaining > 0)


class SqlJournal(Journal):
    """The journal at a database URL. Makes its tables in an empty database.

    ``cache_kib``: what each connection to SQLite may cache; its own default is 2 MiB.
    """

    def __init__(self, url: str, *, clock: Callable[[], dt.datetime] = utc_now, cache_kib: int | None = None) -> None:
        self._database = Database(url, cache_kib=cache_kib)
        self._clock = clock
        self._audit = SqlAudit(self._database, clock)
        try:
            prepare(self._database)
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def check(self) -> None:
        """See Journal."""
        with self._database.reading() as connection:
            connection.execute(select(schema_version.c.revision)).one()

    def check_writing(self) -> None:
        """See Journal. The one row that says the schema's version is written, as it is."""
        with self._database.writing() as connection:
            connection.execute(schema_version.update().values(revision=schema_version.c.revision))

    @property
    def audit(self) -> SqlAudit:
        """See Journal."""
        return self._audit

    # --- transactions

    @contextmanager
    def _joined(self, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
        """A transaction on a search that will be there until its end; others may be at work on it. Raises UnknownSearch."""
        with self._database.writing() as connection:
            row = connection.execute(_JOIN, {"search": search_id}).one_or_none()
            if row is None:
                raise UnknownSearch(search_id)
            yield connection, row

    @contextmanager
    def _locked(self, search_id: str) -> Iterator[tuple[Connection, Row[Any]]]:
        """A transaction that alone may change the search's row. Raises UnknownSearch."""
        with self._database.writing() as connection:
            row = _locked_row(connection, search_id)
            if row is None:
                raise UnknownSearch(search_id)
            yield connection, row

    def _update(self, connection: Connection, search_id: str, **values: object) -> None:
        change = searches.update().where(searches.c.id == search_id)
        connection.execute(change.values(revision=searches.c.revision + 1, **values))

    # --- searches

    def open_search(self, new: NewSearch) -> None:
        """See Journal."""
        with self._database.writing() as connection:
            row = connection.execute(select(searches).where(searches.c.id == new.id).with_for_update()).one_or_none()
            if row is not None and row.deleted_at is None:
                if row.pods != new.pods:
                    connection.execute(searches.update().where(searches.c.id == new.id).values(pods=new.pods))
                return
            if row is not None:
                remove(connection, new.id)
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
                    done=0,
                    failed=0,
                    reused=0,
                    image=new.image,
                    created_by=new.created_by,
                    artifacts=new.artifacts,
                    memory_limit=new.memory_limit,
                )
            )

    def named(self, namespace: str, name: str) -> list[str]:
        """See Journal."""
        there = (searches.c.namespace == namespace) & (searches.c.name == name) & searches.c.deleted_at.is_(None)
        query = select(searches.c.id).where(there).order_by(searches.c.opened_at.desc(), searches.c.id)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def begin_again(self, search_id: str, new: NewSearch) -> int:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if new.id == row.id and row.state == SearchState.COMPLETE.value:
                raise JournalMismatch("a complete search stays as it is: its version means it")
            if new.id != row.id:
                if _locked_row(connection, new.id) is not None:
                    raise JournalMismatch(f"the other search must be a new one, but {new.id} is there")
                remove(connection, new.id)  # one that was deleted
                again.copy(connection, row.id, new, self._clock())
            to_run = _locked_row(connection, new.id)
            if to_run is None:
                raise UnknownSearch(new.id)
            return again.forget_failures(connection, to_run)

    def set_pods(self, search_id: str, pods: int) -> None:
        """See Journal."""
        there = (searches.c.id == search_id) & searches.c.deleted_at.is_(None)
        with self._database.writing() as connection:
            if not connection.execute(searches.update().where(there).values(pods=max(1, pods))).rowcount:
                raise UnknownSearch(search_id)

    def _row(self, connection: Connection, search_id: str, columns: Sequence[Any] = _NO_WORDS) -> Row[Any]:
        query = select(*columns).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
        row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownSearch(search_id)
        return row

    def search(self, search_id: str) -> Search:
        """See Journal."""
        with self._database.reading() as connection:
            row = self._row(connection, search_id, _ROW)
        return Search(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            spec=json.loads(row.spec),
            candidates=row.candidates,
            splits=row.splits,
            state=SearchState(row.state),
            preflight=_load(Preflight, row.preflight),
        )

    def progress(self, search_id: str, *, words: bool = True) -> Progress:
        """See Journal."""
        with self._database.reading() as connection:
            row = self._row(connection, search_id, _ROW if words else _NO_WORDS)
            at_work = connection.execute(_AT_WORK, {"search": search_id}).one()
        is_running = row.state == SearchState.RUNNING.value
        holders = {at_work.last_holder, row.finisher} - {None} if is_running else set()
        return Progress(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            state=SearchState(row.state),
            revision=row.revision,
            done=row.done,
            failed=row.failed,
            total=row.candidates * row.splits,
            reused=row.reused,
            deaths=row.deaths,
            cell_seconds=at_work.cell_seconds or 0.0,
            measured=int(at_work.measured or 0),
            last_holder=max(holders, default=None),
            starved=at_work.starved if is_running else 0,
            starved_bytes=at_work.starved_bytes or 0 if is_running else 0,
            preflight=_load(Preflight, row.preflight) if words else None,
            best=None if row.best_index is None else Best(index=row.best_index, score=row.best_score),
            answer=_answer_of(row) if words else None,
            model_version=row.model_version,
            refusal=_load(Refusal, row.refusal) if words else None,
            failure=row.failure if words else None,
            ended_by=None if row.ended_by is None else EndedBy(row.ended_by),
            end_reason=row.end_reason,
        )

    def whereabouts(self) -> dict[str, Whereabouts]:
        """See Journal."""
        columns = (searches.c[name] for name in ("id", "namespace", "name", "revision"))
        query = select(*columns).where(searches.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            return {row.id: Whereabouts(row.namespace, row.name, row.revision) for row in connection.execute(query)}

    def revisions(self) -> dict[str, int]:
        """See Journal."""
        recent = searches.c.finished_at.is_(None) | (searches.c.finished_at > self._clock() - _RECENT)
        query = select(searches.c.id, searches.c.revision).where(recent, searches.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            return {row.id: row.revision for row in connection.execute(query)}

    def places(self) -> dict[str, tuple[str, str]]:
        """See Journal."""
        query = select(searches.c.id, searches.c.namespace, searches.c.name).where(searches.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            return {row.id: (row.namespace, row.name) for row in connection.execute(query)}

    def set_preflight(self, search_id: str, preflight: Preflight) -> None:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            first = _load(Preflight, row.preflight)
            if first is None:
                if preflight.blocks and not is_sound(preflight.blocks, row.candidates):
                    raise JournalMismatch(
                        f"blocks: must name each of the {row.candidates} candidates once, but do not."
                    )
                self._update(connection, row.id, preflight=_dump(preflight), started_at=self._clock())
            elif first.data_digest != preflight.data_digest:
                raise JournalMismatch(
                    f"must be data of digest {first.data_digest}, as the search began with, but got {preflight.data_digest}."
                )
            elif other := other_code(first, preflight):
                raise JournalMismatch(
                    f"must be the code that the search began with, but got {listed([each.exact for each in other])}."
                )

    # --- claims

    def claim(
        self, search_id: str, *, index: int, slots: int, holding: Set[int], claimant: str = "", memory: int = 0
    ) -> Claim:
        """See Journal."""
        asking = Claimant(index=index, slots=slots, holding=holding, name=claimant or None, memory=memory)
        patient = False
        while True:
            with self._joined(search_id) as (connection, row):
                if row.state != SearchState.RUNNING.value:
                    return Claim(next=Next.NOTHING)
                claims = Claims(connection, row)
                if row.walk is not None:
                    unit = claims.next_unit(asking, patient=patient)
                    if unit is not None:
                        return Claim(next=Next.EVALUATE, unit=unit)
                    if patient and not claims.has_freed:
                        return Claim(next=self._after_the_last(connection, row, index))
            if row.walk is None:
                self._cut(search_id)
            elif not claims.has_freed:
                patient = True

    def _after_the_last(self, connection: Connection, row: Row[Any], index: int) -> Next:
        """Nothing is left to be claimed: whether finishing falls to this index."""
        if row.done < row.candidates * row.splits or row.finisher not in {None, index}:
            return Next.NOTHING
        return Next.FINISH if self._may_finish(connection, row.id, index) else Next.NOTHING

    def _cut(self, search_id: str) -> None:
        """Have the regions cut: in a transaction of its own, for it locks the search before them."""
        with self._locked(search_id) as (connection, row):
            if row.walk is None:
                Claims(connection, row).cut()

    def _may_finish(self, connection: Connection, search_id: str, index: int) -> bool:
        row = _locked_row(connection, search_id)
        if row is None or row.finisher not in {None, index} or row.state != SearchState.RUNNING.value:
            return False
        if row.finisher is None:
            self._update(connection, search_id, finisher=index)
        return True

    def leave(self, search_id: str, *, index: int) -> None:
        """See Journal."""
        self._free(search_id, index, index)

    def give_back(self, search_id: str, *, first: int) -> None:
        """See Journal."""
        self._free(search_id, first, MAX_INDEX)

    def _free(self, search_id: str, first: int, last: int) -> None:
        """These indexes hold nothing any more."""
        with self._joined(search_id) as (connection, row):
            if row.state != SearchState.RUNNING.value:
                return
            held = Claims(connection, row).free(first, last)
            finishing = searches.c.finisher.between(first, last) & (searches.c.state == SearchState.RUNNING.value)
            mine = searches.update().where(searches.c.id == search_id)
            connection.execute(mine.where(finishing).values(finisher=None, revision=searches.c.revision + 1))
            if held:
                self._update(connection, search_id)

    def pardon(self, search_id: str, claimants: Sequence[str]) -> None:
        """See Journal."""
        with self._joined(search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                Claims(connection, row).pardon(frozenset(claimants))

    # --- cells

    def take_in(self, search_id: str, *, index: int, results: Sequence[CellResult]) -> list[CellResult]:
        """See Journal."""
        with self._joined(search_id) as (connection, row):
            by_ordinal: dict[int, CellResult] = {}
            for result in results:
                by_ordinal.setdefault(_ordinal(row, result.candidate, result.split), result)
            mine = Cells(connection, search_id)
            new = mine.insert(by_ordinal, index=index, now=self._clock())
            mine.report_again(sorted(by_ordinal.keys() - new.keys()))
            if new:
                failed = _count(connection, row, new, reused=0)
                errors = (result.error for result in new.values() if result.error is not None)
                error = next(errors, None)
                if error is not None:
                    self._end_if_too_many_failed(connection, search_id, failed, error)
            return list(new.values())

    def _end_if_too_many_failed(self, connection: Connection, search_id: str, failed: int, error: str) -> None:
        """After ``_count``: its lock on the search's row is held. ``error``: one that was reported just now."""
        running = (searches.c.id == search_id) & (searches.c.state == SearchState.RUNNING.value)
        spec = connection.execute(select(searches.c.spec).where(running)).scalar_one_or_none()
        most = None if spec is None else (json.loads(spec).get("limits") or {}).get("maxFailedFits")
        if most is not None and failed > most:
            told = f"{failed} fits failed, and spec.limits.maxFailedFits is {most}. One of them ended with:\n{error}"
            self._update(
                connection,
                search_id,
                state=SearchState.FAILED.value,
                finished_at=self._clock(),
                failure=storable(f"{TOO_MANY_FAILED_FITS}: {told}"),
                ended_by=EndedBy.JOURNAL.value,
                end_reason=TOO_MANY_FAILED_FITS,
            )

    def reuse(self, search_id: str, *, index: int, cells: Sequence[CellIdentity]) -> tuple[Cell, ...]:
        """See Journal. What is known is looked up before anything is locked: it may take its time."""
        with self._database.reading() as connection:
            namespace = self._row(connection, search_id).namespace
            known = Cells(connection, search_id).known(namespace, {each.identity for each in cells})
        with self._joined(search_id) as (connection, row):
            wanted: dict[int, CellIdentity] = {}
            for each in cells:
                wanted.setdefault(_ordinal(row, each.candidate, each.split), each)
            mine = Cells(connection, search_id)
            found = {
                ordinal: (each, *known[each.identity]) for ordinal, each in wanted.items() if each.identity in known
            }
            new = mine.insert(
                {
                    ordinal: replace(result, candidate=each.candidate, split=each.split)
                    for ordinal, (each, _, result) in found.items()
                },
                index=index,
                now=self._clock(),
                sources={ordinal: source for ordinal, (_, source, _) in found.items()},
            )
            if new:
                _count(connection, row, new, reused=len(new))
            return tuple(Cell(*divmod(ordinal, row.splits)) for ordinal in sorted(mine.finished(list(wanted))))

    def reused_from(self, search_id: str) -> dict[str, int]:
        """See Journal."""
        with self._database.reading() as connection:
            self._row(connection, search_id)
            return Cells(connection, search_id).sources()

    def results(self, search_id: str, *, start: int = 0, limit: int | None = None) -> Iterator[CellResult]:
        """See Journal."""
        with self._database.reading() as connection, self._found(connection, search_id, start, limit, _PAGE) as rows:
            for result, _ in rows:
                yield result

    def page(self, search_id: str, *, start: int, limit: int, max_bytes: int) -> list[CellResult]:
        """See Journal."""
        page: list[CellResult] = []
        size = 0
        with self._database.reading() as connection, self._found(connection, search_id, start, limit, _FEW) as rows:
            for result, length in rows:
                size += length
                if page and size > max_bytes:
                    break
                page.append(result)
        return page

    @contextmanager
    def _found(
        self, connection: Connection, search_id: str, start: int, limit: int | None, at_once: int
    ) -> Iterator[Iterator[tuple[CellResult, int]]]:
        """Results, each with its size."""
        row = self._row(connection, search_id)
        text = readable(cells.c.result, _MAX_CELL)
        query = select(cells.c.ordinal, text).where(cells.c.search_id == search_id).order_by(cells.c.ordinal)
        # Once every cell is in, the start-th one is that of ordinal `start`: a seek, where OFFSET would read all before it.
        gapless = row.done == row.candidates * row.splits
        query = query.where(cells.c.ordinal >= start) if gapless else query.offset(start)
        # closed by whoever stops reading early, too: Postgres keeps the cursor as long as it is open
        with connection.execution_options(yield_per=at_once).execute(query.limit(limit)) as rows:
            yield ((_result_of(*each, row.splits), len(each[1] or "")) for each in rows)

    # --- the end

    def complete(self, search_id: str, answer: Answer) -> int:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            if row.state == SearchState.COMPLETE.value:
                return int(row.model_version)
            if row.state != SearchState.RUNNING.value:
                raise JournalMismatch(f"the search must be running, but got {row.state}")
            total = row.candidates * row.splits
            if row.done != total:
                raise JournalMismatch(f"a search must have all its {total} cells to be complete, but got {row.done}")
            now = self._clock()
            placed = files.settled(connection, row.id, now)
            version = remember(connection, row, answer, now, preflight=_load(Preflight, row.preflight), placed=placed)
            self._update(
                connection,
                row.id,
                state=SearchState.COMPLETE.value,
                finished_at=now,
                answer=_dump(answer),
                ended_by=EndedBy.WORKER.value,
                model_version=version,
            )
            return version

    def check_room(self, search_id: str, name: str, size_bytes: int, shares: Shares = NO_SHARES) -> None:
        """See Journal."""
        with self._database.reading() as connection:
            files.check(connection, self._row(connection, search_id), name, size_bytes, shares)

    @contextmanager
    def placing(self, search_id: str, file: Artifact, shares: Shares = NO_SHARES) -> Iterator[None]:
        """See Journal."""
        with self._locked(search_id) as (connection, row):
            files.check(connection, row, file.name, file.size_bytes, shares)
            files.begin(connection, row, file, self._clock())
        is_placed = False
        try:
            yield
            is_placed = True
        finally:
            with self._database.writing() as connection:
                files.end(connection, search_id, file, is_placed=is_placed)

    def fail(self, search_id: str, text: str, *, by: EndedBy = EndedBy.WORKER, reason: str = "") -> None:
        """See Journal."""
        if reason and by is EndedBy.WORKER:
            raise ValueError("reason: must be empty of a worker, which ends a search for no reason of the operator's")
        self._end(search_id, SearchState.FAILED, failure=storable(text), ended_by=by.value, end_reason=reason)

    def refuse(self, search_id: str, refusal: Refusal) -> None:
        """See Journal."""
        self._end(search_id, SearchState.REFUSED, refusal=_dump(refusal), ended_by=EndedBy.WORKER.value)

    def _end(self, search_id: str, state: SearchState, **why: str) -> None:
        with self._locked(search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                self._update(connection, row.id, state=state.value, finished_at=self._clock(), **why)

    def delete(self, search_id: str) -> None:
        """See Journal."""
        with self._database.writing() as connection:
            mine = searches.c.id == search_id
            connection.execute(select(searches.c.id).where(mine).with_for_update())
            for table in (units, regions):
                connection.execute(table.delete().where(table.c.search_id == search_id))
            there = mine & searches.c.deleted_at.is_(None)
            connection.execute(searches.update().where(there).values(deleted_at=self._clock()))
            if not is_kept(connection, search_id):
                files.forget(connection, search_id)

    def purge(self, deleted_before: dt.datetime) -> int:
        """See Journal."""
        return Purge(self._database).run(deleted_before)

    # --- what tests and people ask

    def report_counts(self, search_id: str) -> dict[int, int]:
        """See Journal."""
        return self._cells_by(search_id, cells.c.reports)

    def reporters(self, search_id: str) -> dict[int, int]:
        """See Journal."""
        return self._cells_by(search_id, cells.c.reported_by)

    def _cells_by(self, search_id: str, column: Any) -> dict[int, int]:  # noqa: ANN401  one of the cells' columns
        there = select(searches.c.id).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
        query = select(column, func.count()).where(cells.c.search_id.in_(there)).group_by(column)
        with self._database.reading() as connection:
            return {int(value): int(count) for value, count in connection.execute(query)}


def _answer_of(row: Row[Any]) -> Answer | None:
    """The answer; of one that an older release has taken in and nobody can read, what the journal knows by itself."""
    if row.state != SearchState.COMPLETE.value:
        return None
    unknown = Answer(
        best_index=row.best_index or 0,
        best_score=math.nan if row.best_score is None else row.best_score,
        best_std=math.nan,
        best_params={},
        metric="",
        failed_fits=row.failed,
        refit_seconds=0.0,
        fit_seconds_total=0.0,
    )
    return _load(Answer, row.answer) or unknown


def _result_of(ordinal: int, text: str | None, splits: int) -> CellResult:
    found = _load(CellResult, text)
    if found is not None:
        return found
    candidate, split = divmod(ordinal, splits)
    error = "The result that an older release took in is too long to be read, or is none."
    return CellResult(
        candidate=candidate,
        split=split,
        test_scores={},
        fit_seconds=0.0,
        score_seconds=0.0,
        test_samples=0,
        error=error,
    )


def _locked_row(connection: Connection, search_id: str) -> Row[Any] | None:
    columns: list[Any] = [*_ROW, searches.c.walk]
    query = select(*columns).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
    return connection.execute(query.with_for_update(key_share=True)).one_or_none()


def _ordinal(row: Row[Any], candidate: int, split: int) -> int:
    """A cell's place in the order of results. Raises JournalMismatch for one that the search has not."""
    if not (candidate < row.candidates and split < row.splits):
        raise JournalMismatch(f"a reported cell must be one that was claimed, but got {Cell(candidate, split)}")
    return int(candidate * row.splits + split)


def _count(connection: Connection, row: Row[Any], new: Mapping[int, CellResult], *, reused: int) -> int:
    """What new cells change: their units, what their regions are known to cost, and the search. In this order.

    Returns how many cells of the search have failed by now.
    """
    walk, claims = walk_of(row), Claims(connection, row)
    places = {walk.place(result.cell): result for result in new.values()}
    claims.finished(list(places))
    if not reused:
        claims.measured({place: result.fit_seconds + result.score_seconds for place, result in places.items()})
    failed = sum(result.error is not None for result in new.values())
    counts = {"search": row.id, "new": len(new), "more_failed": failed, "more_reused": reused}
    found = connection.execute(_COUNT, counts).one()
    # from here on the search's row is ours: what others brought before is seen
    before = None if found.best_index is None else Best(index=found.best_index, score=found.best_score)
    best = Cells(connection, row.id).best({result.candidate for result in new.values()}, row.splits, before)
    if best is not None:
        mine = searches.update().where(searches.c.id == row.id)
        connection.execute(mine.values(best_index=best.index, best_score=best.score))
    return int(found.failed)
