"""The journal in SQL: SQLite on a laptop and by default, Postgres if a team needs more, through SQLAlchemy Core.

``tuningjob.protocol.contract`` says what holds for every search, ``journal.rows`` in which order rows are locked.
"""

import datetime as dt
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, select

from tuningjob.aliases import Anything
from tuningjob.errors import JournalError, JournalMismatch, UnknownSearch
from tuningjob.journal import again, files, rows
from tuningjob.journal.audit import SqlAudit, is_kept
from tuningjob.journal.cells import Cells
from tuningjob.journal.claims import Claims
from tuningjob.journal.database import Database
from tuningjob.journal.live import SqlLive
from tuningjob.journal.migrations import migrate
from tuningjob.journal.purge import Purge, remove
from tuningjob.journal.records import Best, EndedBy, NewSearch, Progress, Shares, Whereabouts
from tuningjob.journal.schema import cells, deaths, regions, schema_version, searches, units
from tuningjob.journal.search import SqlSearch
from tuningjob.journal.values import storable
from tuningjob.protocol.records import MAX_INDEX, Answer, Artifact, Preflight, Refusal, SearchState
from tuningjob.protocol.uploads import sent_by

# How long an ended search stays among `revisions`: long enough for the operator to see its end. An operator that was away for
# longer looks, when it starts, at all TuningJobs that have not ended.
_RECENT: Final = dt.timedelta(hours=1)
NO_SHARES: Final = Shares()


def utc_now() -> dt.datetime:
    """The wall clock's time, in UTC."""
    return dt.datetime.now(dt.UTC)


def open_sqlite(path: Path, *, clock: Callable[[], dt.datetime] = utc_now) -> "SqlJournal":
    """A journal in a file, made if it is not there. Raises JournalError for a file that is no journal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqlJournal(f"sqlite:///{path}", clock=clock)


_IS_WAITING: Final = units.c.holder.is_(None) & (units.c.starved > 0)
_REGIONS_OF: Final = regions.c.search_id == bindparam("search")
_AT_WORK: Final = select(
    func.max(units.c.holder).label("last_holder"),
    func.count().filter(_IS_WAITING).label("starved"),
    func.max(units.c.starved).filter(_IS_WAITING).label("starved_bytes"),
    select(func.sum(regions.c.seconds)).where(_REGIONS_OF).scalar_subquery().label("cell_seconds"),
    select(func.sum(regions.c.measured)).where(_REGIONS_OF).scalar_subquery().label("measured"),
).where(units.c.search_id == bindparam("search"), units.c.remaining > 0)


class SqlJournal:
    """The journal at a database URL. It makes its tables in an empty database.

    ``cache_kib``: how much each connection to SQLite may cache, in KiB; SQLite's own default is 2 MiB.
    """

    def __init__(self, url: str, *, clock: Callable[[], dt.datetime] = utc_now, cache_kib: int | None = None) -> None:
        self._database = Database(url, cache_kib=cache_kib)
        self._clock = clock
        self._audit = SqlAudit(self._database, clock)
        try:
            migrate(self._database)
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def check(self) -> None:
        """Check that reading works, cheaply. Raises JournalError, with the reason, if nothing could be read now."""
        with self._database.reading() as connection:
            connection.execute(select(schema_version.c.revision)).one()

    def check_writing(self) -> None:
        """Check that writing works, because a full disk still reads. Raises JournalError, with the reason, if it does not."""
        # the one row with the schema's version is written unchanged
        with self._database.writing() as connection:
            connection.execute(schema_version.update().values(revision=schema_version.c.revision))

    @property
    def audit(self) -> SqlAudit:
        """The memory of finished searches, in the same database."""
        return self._audit

    @property
    def live(self) -> SqlLive:
        """The view for people who look at searches while they run."""
        return SqlLive(self._database, self._clock)

    # --- searches

    def open_search(self, new: NewSearch) -> bool:
        """Open a search; returns False if one of this id is there, which then only gets this number of pods."""
        with self._database.writing() as connection:
            row = connection.execute(select(searches).where(searches.c.id == new.id).with_for_update()).one_or_none()
            if row is not None and row.deleted_at is None:
                if row.pods != new.pods:
                    connection.execute(searches.update().where(searches.c.id == new.id).values(pods=new.pods))
                return False
            if row is not None:
                remove(connection, new.id)
            connection.execute(
                searches.insert().values(
                    **vars(new) | {"spec": json.dumps(new.spec)},
                    state=SearchState.RUNNING.value,
                    revision=0,
                    opened_at=self._clock(),
                    done=0,
                    failed=0,
                    reused=0,
                )
            )
        return True

    def named(self, namespace: str, name: str) -> list[str]:
        """The ids of the searches of this name, the newest first."""
        there = (searches.c.namespace == namespace) & (searches.c.name == name) & searches.c.deleted_at.is_(None)
        query = select(searches.c.id).where(there).order_by(searches.c.opened_at.desc(), searches.c.id)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def begin_again(self, search_id: str, new: NewSearch) -> int:
        """Have a search run again without its failed cells; returns how many cells it keeps.

        If ``new`` has another id, it is a new search that begins with these cells. Raises JournalMismatch if a search of that
        id is there, and for a complete search if the id is its own, because its version refers to it.
        """
        with rows.locked(self._database, search_id) as (connection, row):
            if new.id == row.id and row.state == SearchState.COMPLETE.value:
                raise JournalMismatch("a complete search stays as it is: its version means it")
            if new.id != row.id:
                if rows.locked_row(connection, new.id) is not None:
                    raise JournalMismatch(f"the other search must be a new one, but {new.id} is there")
                remove(connection, new.id)  # a deleted search of this id
                again.copy(connection, row.id, new, self._clock())
            to_run = rows.locked_row(connection, new.id)
            if to_run is None:
                raise UnknownSearch(new.id)
            return again.forget_failures(connection, to_run)

    def set_pods(self, search_id: str, pods: int) -> None:
        """Set how many pods share the search from now on, at least one; the sizes of units follow from it.

        Regions, within which costs are learnt, are cut for the number of pods at the first claim, and stay.
        """
        there = (searches.c.id == search_id) & searches.c.deleted_at.is_(None)
        with self._database.writing() as connection:
            if not connection.execute(searches.update().where(there).values(pods=max(1, pods))).rowcount:
                raise UnknownSearch(search_id)

    def progress(self, search_id: str, *, words: bool = True) -> Progress:
        """How far a search is. Cheap enough to be asked at every look at the search. Raises UnknownSearch.

        Without ``words``, what workers wrote is not read: preflight, answer, refusal and failure. A record of an older release
        that is no longer valid is None; an answer of that kind has what the journal knows itself.
        """
        with self._database.reading() as connection:
            row = rows.row_of(connection, search_id, rows.ALL if words else rows.NO_WORDS)
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
            splits=row.splits,
            reused=row.reused,
            pruned=row.pruned,
            deaths=row.deaths,
            cell_seconds=at_work.cell_seconds or 0.0,
            measured=int(at_work.measured or 0),
            last_holder=max(holders, default=None),
            starved=at_work.starved if is_running else 0,
            starved_bytes=at_work.starved_bytes or 0 if is_running else 0,
            preflight=rows.from_column(Preflight, row.preflight) if words else None,
            best=None if row.best_index is None else Best(index=row.best_index, score=row.best_score),
            answer=_answer_of(row) if words else None,
            model_version=row.model_version,
            refusal=rows.from_column(Refusal, row.refusal) if words else None,
            failure=row.failure if words else None,
            ended_by=None if row.ended_by is None else EndedBy(row.ended_by),
            end_reason=row.end_reason,
        )

    def whereabouts(self) -> dict[str, Whereabouts]:
        """The TuningJob of every search that was not deleted, however long ago it ended. What workers wrote is not read."""
        columns = (searches.c[name] for name in ("id", "namespace", "name", "revision"))
        query = select(*columns).where(searches.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            return {row.id: Whereabouts(row.namespace, row.name, row.revision) for row in connection.execute(query)}

    def revisions(self) -> dict[str, int]:
        """The revision of each search that still runs or ended a short while ago, by its id. Cheap enough to be polled."""
        recent = searches.c.finished_at.is_(None) | (searches.c.finished_at > self._clock() - _RECENT)
        query = select(searches.c.id, searches.c.revision).where(recent, searches.c.deleted_at.is_(None))
        with self._database.reading() as connection:
            return {row.id: row.revision for row in connection.execute(query)}

    def places(
        self, *, after: str = "", before: dt.datetime | None = None, most: int | None = None
    ) -> dict[str, tuple[str, str]]:
        """Namespace and name of every search that is not deleted, whenever it ended, in the order of their ids.

        The first ``most`` of those whose id comes after ``after``, and that were opened before ``before``.
        """
        query = select(searches.c.id, searches.c.namespace, searches.c.name).where(
            searches.c.deleted_at.is_(None), searches.c.id > after
        )
        if before is not None:
            query = query.where(searches.c.opened_at < before)
        query = query.order_by(searches.c.id).limit(most)
        with self._database.reading() as connection:
            return {row.id: (row.namespace, row.name) for row in connection.execute(query)}

    def view(self, search_id: str) -> SqlSearch:
        """The search as its workers see it."""
        return SqlSearch(self._database, search_id, self._clock)

    # --- claims

    def give_back(self, search_id: str, *, first: int) -> None:
        """Note that the indexes from ``first`` on have no pods any more, as if each had left."""
        rows.free(self._database, search_id, first, MAX_INDEX)

    def pardon(self, search_id: str, claimants: Sequence[str]) -> None:
        """Note that the pods of these names were not killed by their fits (their node was lost, say), so no death counts.

        For unfinished units, deaths that were counted already are taken back, and with them that a unit is starved or a cell is
        to be lost. None will be counted for what such a pod still holds. A cell that was reported as lost stays lost.
        """
        with rows.joined(self._database, search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                Claims(connection, row).pardon(frozenset(claimants))

    # --- cells

    def reused_from(self, search_id: str) -> dict[str, int]:
        """The searches that evaluated the reused cells, each with its number of cells; the largest number first."""
        with self._database.reading() as connection:
            rows.row_of(connection, search_id)
            return Cells(connection, search_id).sources()

    # --- the end

    def check_room(self, search_id: str, name: str, size_bytes: int, shares: Shares = NO_SHARES) -> None:
        """Check whether a file of the search may begin to come in, before any of it is sent.

        Raises JournalMismatch for a search that has ended, ArtifactRefused and NoRoom for a share that it would exceed.
        """
        with self._database.reading() as connection:
            files.check(connection, rows.row_of(connection, search_id), name, size_bytes, shares)

    @contextmanager
    def placing(self, search_id: str, file: Artifact, shares: Shares = NO_SHARES) -> Iterator[None]:
        """A block in which the caller puts the file in its place. Raises as ``check_room``.

        The file counts as there unless the block ends by an error. Within the block the search cannot complete, and no file of a
        search that has ended is placed.
        """
        with rows.locked(self._database, search_id) as (connection, row):
            files.check(connection, row, file.name, file.size_bytes, shares)
            since = self._clock()
            files.begin_placing(connection, row, file, since)
        is_placed = False
        try:
            yield
            is_placed = True
        finally:
            with self._database.writing() as connection:
                files.end_placing(connection, search_id, file, since, is_placed=is_placed)

    def set_files(self, search_id: str, there: Sequence[Artifact]) -> None:
        """Record that a running search has these files and no others, all in their place. The caller must work on it alone."""
        with rows.locked(self._database, search_id) as (connection, row):
            if row.state == SearchState.RUNNING.value:
                files.replace_all(connection, row, there)

    def fail(self, search_id: str, text: str, *, by: EndedBy = EndedBy.WORKER, reason: str = "") -> None:
        """End without an answer. ``reason`` is the operator's one word, with which ``text`` then begins; a worker gives none."""
        if reason and by is EndedBy.WORKER:
            raise ValueError("reason: must be empty of a worker, which ends a search for no reason of the operator's")
        told = {"failure": storable(text), "ended_by": by.value, "end_reason": reason}
        rows.end_search(self._database, search_id, state=SearchState.FAILED.value, finished_at=self._clock(), **told)

    def delete(self, search_id: str) -> None:
        """Forget a search; its audit row stays, and its cells stay until they are purged."""
        with self._database.writing() as connection:
            mine = searches.c.id == search_id
            connection.execute(select(searches.c.id).where(mine).with_for_update())
            for table in (deaths, units, regions):
                connection.execute(table.delete().where(table.c.search_id == search_id))
            there = mine & searches.c.deleted_at.is_(None)
            connection.execute(searches.update().where(there).values(deleted_at=self._clock()))
            if not is_kept(connection, search_id):
                files.forget(connection, search_id)

    def data_in_use(self) -> set[tuple[str, str]]:
        """Namespace and SHA-256 of all sent data and code that a search names.

        The search is there, or was deleted a short while ago, or a version of it was ever blessed.
        """
        named = searches.c.spec.like('%"uploaded"%')
        found: set[tuple[str, str]] = set()
        with self._database.reading() as connection:
            for namespace, spec in connection.execute(select(searches.c.namespace, searches.c.spec).where(named)):
                found |= {(namespace, digest) for digest in sent_by(json.loads(spec))}
        return found

    def purge(self, deleted_before: dt.datetime) -> int:
        """Remove the cells of searches that were deleted before this time, a slice at a time; returns how many searches went."""
        return Purge(self._database).run(deleted_before)

    # --- what tests and people ask

    def report_counts(self, search_id: str) -> dict[int, int]:
        """How many cells were reported 0 (reused), 1, 2, … times: the proof that no finished cell is fitted again."""
        return self._cells_by(search_id, cells.c.reports)

    def reporters(self, search_id: str) -> dict[int, int]:
        """How many cells each completion index was the first to report."""
        return self._cells_by(search_id, cells.c.reported_by)

    def _cells_by(self, search_id: str, column: Anything) -> dict[int, int]:
        there = select(searches.c.id).where(searches.c.id == search_id, searches.c.deleted_at.is_(None))
        query = select(column, func.count()).where(cells.c.search_id.in_(there)).group_by(column)
        with self._database.reading() as connection:
            return {int(value): int(count) for value, count in connection.execute(query)}


def _answer_of(row: Row[Any]) -> Answer | None:
    """The answer; for an unreadable one of an older release, what the journal knows by itself."""
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
    return rows.from_column(Answer, row.answer) or unknown
