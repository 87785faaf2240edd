"""The journal's record of the files of searches, with their sizes and digests. Within one transaction.

The process that has a file puts it in its place between ``begin_placing`` and ``end_placing``. Meanwhile the search cannot
complete, and no placing begins after it has completed, so a version has the files that its row in the audit lists. On a laptop
one process alone writes the files and completes the search, so it needs neither (``replace_all``).
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from tuningjob.errors import ArtifactRefused, ArtifactsUnavailable, JournalMismatch, NoRoom
from tuningjob.journal.records import Shares
from tuningjob.journal.schema import files
from tuningjob.protocol.records import Artifact, SearchState

# A process that takes longer to put a file in its place was killed, or lost its database at the end: others wait no longer.
_PLACED_WITHIN: Final = dt.timedelta(seconds=60)
_LEAST_BYTES_PER_SECOND: Final = 1_000_000  # to a bucket


def check(connection: Connection, row: Row[Any], name: str, size_bytes: int, shares: Shares) -> None:
    """Check whether a file may begin to come in, as far as is known now. Raises JournalMismatch, ArtifactRefused, NoRoom."""
    if row.state != SearchState.RUNNING.value:
        raise JournalMismatch(f"the search must be running to take files in, but got {row.state}")
    others = (files.c.search_id != row.id) | (files.c.name != name)
    sums = select(
        func.coalesce(func.sum(files.c.size_bytes).filter(files.c.search_id == row.id), 0).label("search"),
        func.coalesce(func.sum(files.c.size_bytes), 0).label("namespace"),
    ).where(files.c.namespace == row.namespace, others)
    used = connection.execute(sums).one()
    if shares.search_bytes and used.search + size_bytes > shares.search_bytes:
        raise ArtifactRefused(
            f"{name}: must leave the files of its search at {shares.search_bytes:,} bytes at most, but they would be "
            f"{used.search + size_bytes:,}. A smaller estimator, a compression (spec.artifacts) or a higher "
            "limits.maxArtifactBytes is needed."
        )
    if shares.namespace_bytes and used.namespace + size_bytes > shares.namespace_bytes:
        raise NoRoom(
            f"{name}: must leave the files of namespace {row.namespace} at {shares.namespace_bytes:,} bytes at most, but they "
            f"would be {used.namespace + size_bytes:,}. Delete TuningJobs of it, or raise limits.maxNamespaceBytes."
        )


def begin_placing(connection: Connection, row: Row[Any], file: Artifact, now: dt.datetime) -> None:
    """Note that a file is about to be put in its place. Raises ArtifactsUnavailable while another of its name is."""
    mine = (files.c.search_id == row.id) & (files.c.name == file.name)
    found = connection.execute(select(files).where(mine)).one_or_none()
    if found is not None and is_being_placed(found, now):
        raise ArtifactsUnavailable(
            f"{file.name}: must be brought once at a time, but another is being put in its place."
        )
    told = {"size_bytes": file.size_bytes, "sha256": file.sha256, "placing_since": now}
    if found is not None:
        connection.execute(files.update().where(mine).values(**told))
    else:
        connection.execute(
            files.insert().values(search_id=row.id, name=file.name, namespace=row.namespace, **told),
        )


def end_placing(connection: Connection, search_id: str, file: Artifact, since: dt.datetime, *, is_placed: bool) -> None:
    """Note that the file is in its place, or will not be; ``since`` is when its placing began.

    Raises ArtifactsUnavailable if that took so long that another file of its name may be on its way.
    """
    mine = (files.c.search_id == search_id) & (files.c.name == file.name) & (files.c.placing_since == since)
    if not is_placed:
        # only the store knows whether the file before is still whole: the next upload finds out
        connection.execute(files.delete().where(mine))
    elif not connection.execute(files.update().where(mine).values(placing_since=None)).rowcount:
        raise ArtifactsUnavailable(f"{file.name}: took so long that another was begun in its place. Bring it again.")


def replace_all(connection: Connection, row: Row[Any], there: Sequence[Artifact]) -> None:
    """Record these as the files of a search, all in their place."""
    forget(connection, row.id)
    told = [
        {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256, "placing_since": None}
        for file in there
    ]
    if told:
        connection.execute(files.insert().values(search_id=row.id, namespace=row.namespace), told)


def is_being_placed(row: Row[Any], now: dt.datetime) -> bool:
    """Whether a process may still be about to put the file in its place."""
    within = _PLACED_WITHIN + dt.timedelta(seconds=row.size_bytes / _LEAST_BYTES_PER_SECOND)
    return row.placing_since is not None and now - row.placing_since < within


def settled(connection: Connection, search_id: str, now: dt.datetime) -> tuple[Artifact, ...]:
    """The files of a search that is about to be complete. Raises ArtifactsUnavailable while one is being put in its place."""
    rows = connection.execute(select(files).where(files.c.search_id == search_id).order_by(files.c.name)).all()
    if busy := [row.name for row in rows if is_being_placed(row, now)]:
        raise ArtifactsUnavailable(f"{busy[0]}: must be in its place before its search is complete. Try again.")
    return tuple(Artifact(row.name, row.size_bytes, row.sha256) for row in rows if row.placing_since is None)


def forget(connection: Connection, search_id: str) -> None:
    """Note that a search's files are to be deleted, so that they count in no share any more."""
    connection.execute(files.delete().where(files.c.search_id == search_id))
