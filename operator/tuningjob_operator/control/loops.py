"""The operator's own tasks, beside kopf's: workers on the queue, the journal's poller, the resync.

Each runs until it is cancelled, and survives any exception of a single pass. None of them decides anything about a
TuningJob: they add keys, and the reconcile looks.

A journal belongs to one operator: the resync deletes searches whose TuningJob is gone from the namespaces that it watches,
because a TuningJob may be deleted while the operator is down.
"""

import asyncio
import bisect
import datetime as dt
import logging
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from tuningjob.errors import JournalError
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.contract import ApiError, ClusterApi, Conflict
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.logs import current_tuningjob
from tuningjob_operator.objects import Body, Clock, Key, ignore, key_of, uid_of

logger = logging.getLogger(__name__)

WORKERS: Final = 16
POLL_SECONDS: Final = 1.0
PURGE_SECONDS: Final = 3_600.0
RESYNC_SECONDS: Final = 300.0
AUTHORITY_SECONDS: Final = 30.0
# The probe fails when this many resyncs in a row did not succeed.
STALE_RESYNCS: Final = 3
_TURN: Final = 20  # how many objects are taken in at a time
_PLACES: Final = 1_000  # how many searches of the journal are looked at together
_MOST_ORPHANS: Final = 10_000
# This many conflicts in a row do not come from other writers: what is known of the object is wrong.
MANY_CONFLICTS: Final = 5

Reconcile = Callable[[Key], Awaitable[float | None]]
PassOutcome = Literal["done", "conflict", "failed"]
OnPass = Callable[[PassOutcome, float], None]


async def work_on_keys(queue: WorkQueue[Key], reconcile: Reconcile, *, on_pass: OnPass = ignore) -> None:
    """Work on keys, one at a time, for ever."""
    while True:
        await work_on(queue, await queue.take(), reconcile, on_pass=on_pass)


async def work_on(queue: WorkQueue[Key], key: Key, reconcile: Reconcile, *, on_pass: OnPass = ignore) -> None:
    """One pass over one key. The key goes back to the queue even if the pass fails.

    ``on_pass`` is called with how the pass ended, and how many seconds it took; not if it was cancelled.
    """
    name = current_tuningjob.set(str(key))
    began = time.monotonic()
    outcome: PassOutcome | None = "failed"
    try:
        again_after = await reconcile(key)
    except Conflict:
        # another client wrote in between; the event of that is on its way
        outcome = "conflict"
        delay = queue.failed(key)
        if queue.failures(key) >= MANY_CONFLICTS:
            logger.warning(
                "the pass met a conflict again and again",
                extra={"conflicts": queue.failures(key), "again_in_seconds": round(delay, 1)},
            )
    except (ApiError, JournalError) as error:
        delay = queue.failed(key)
        logger.warning("the pass failed", extra={"error": str(error), "again_in_seconds": round(delay, 1)})
    except asyncio.CancelledError:
        outcome = None
        queue.failed(key)
        raise
    except Exception:  # a bug, or the database is away: this key waits, the others go on
        delay = queue.failed(key)
        logger.exception("the pass failed", extra={"again_in_seconds": round(delay, 1)})
    else:
        outcome = "done"
        queue.done(key, again_after=again_after)
    finally:
        if outcome is not None:
            seconds = time.monotonic() - began
            logger.debug("the pass ended", extra={"outcome": outcome, "seconds": round(seconds, 4)})
            on_pass(outcome, seconds)
        current_tuningjob.reset(name)


class JournalPoller:
    """Adds the keys of searches that changed in the journal."""

    def __init__(self, *, journal: SqlJournal, cache: Cache, queue: WorkQueue[Key]) -> None:
        self._journal = journal
        self._cache = cache
        self._queue = queue
        self._seen: dict[str, int] = {}

    async def poll(self) -> None:
        """Look once. A revision counts as seen only once its key is known and was added."""
        revisions = await asyncio.to_thread(self._journal.revisions)
        self._seen = {uid: revision for uid, revision in self._seen.items() if uid in revisions}
        for uid, revision in revisions.items():
            key = self._cache.key_of_uid(uid)
            if key is not None and self._seen.get(uid) != revision:
                self._seen[uid] = revision
                self._queue.add(key)

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                await self.poll()
            except Exception as error:  # noqa: BLE001  the database is away: it will be back
                logger.warning("the journal was not read", extra={"error": str(error)})
            await asyncio.sleep(POLL_SECONDS)


class Resync:
    """Lists everything from time to time: what a watch missed is found, what vanished is forgotten.

    It reads page by page, so that the room bounds the memory, not the size of the cluster. ``on_beyond`` is called with each
    TuningJob, and returns whether there was no room for it.
    """

    def __init__(
        self,
        *,
        cluster: ClusterApi,
        journal: SqlJournal,
        cache: Cache,
        queue: WorkQueue[Key],
        clock: Clock,
        namespaces: tuple[str, ...],
        seconds: float = RESYNC_SECONDS,
        on_beyond: Callable[[Body], bool] = lambda _: False,
    ) -> None:
        self._on_beyond = on_beyond
        self.seconds = seconds  # from one resync to the next
        self._cluster = cluster
        self._journal = journal
        self._cache = cache
        self._queue = queue
        self._clock = clock
        self._namespaces = namespaces
        self._succeeded_at = clock.monotonic()

    @property
    def age_seconds(self) -> float:
        """Seconds since the last resync that succeeded."""
        return self._clock.monotonic() - self._succeeded_at

    async def resync(self) -> None:
        """List everything once. Raises ApiError and JournalError."""
        began = self._clock.now()
        present = array("q")
        beyond = 0
        for namespace in self._namespaces or (None,):
            beyond += await self._take_tuningjobs(namespace, present)
            await self._take_jobs(namespace)
        self._cache.beyond = beyond
        await self._mark_orphans(array("q", sorted(present)), began)
        for key in self._cache.tuningjobs.keys():  # noqa: SIM118  a Store is no dict
            self._queue.add(key)
        for key in self._cache.waiting.versions():
            if self._cache.may_enter(key):
                self._queue.add(key)
        self._succeeded_at = self._clock.monotonic()

    async def _take_tuningjobs(self, namespace: str | None, present: "array[int]") -> int:
        """Take all TuningJobs in; returns how many had no room. ``present`` gets the hash of each one's uid, 8 bytes."""
        known: set[Key] = set()
        version, beyond = "", 0
        self._cache.tuningjobs.asks()
        async for page in self._cluster.list_tuningjobs(namespace):
            if not version:
                version = page.resource_version
                self._cache.tuningjobs.listed(version)
            async for body in _in_turns(page.items):
                present.append(hash(uid_of(body)))
                key = self._cache.put_tuningjob(body, listing=version)
                beyond += self._on_beyond(body)
                if self._cache.tuningjobs.uid(key) is not None or key in self._cache.waiting:
                    known.add(key)
        for body in self._cache.vanished(known, resource_version=version, covers=lambda key: _covers(namespace, key)):
            self._queue.add(key_of(body))
        return beyond

    async def _take_jobs(self, namespace: str | None) -> None:
        known: set[Key] = set()
        version = ""
        self._cache.jobs.asks()
        async for page in self._cluster.list_jobs(namespace):
            if not version:
                version = page.resource_version
                self._cache.jobs.listed(version)
            async for body in _in_turns(page.items):
                self._cache.put_job(body, listing=version)
                if self._cache.jobs.uid(key_of(body)) is not None:
                    known.add(key_of(body))
        self._cache.jobs.vanished(known, resource_version=version, covers=lambda key: _covers(namespace, key))

    async def _mark_orphans(self, present: Sequence[int], began: dt.datetime) -> None:
        """Mark the searches whose TuningJob is not in ``present``, which is sorted; those opened since the listing began stay."""
        after, marked = "", 0
        while places := await asyncio.to_thread(self._journal.places, after=after, before=began, most=_PLACES):
            *_, after = places
            for uid, (namespace, name) in places.items():
                if _has(present, hash(uid)) or self._cache.key_of_uid(uid) is not None:
                    continue
                if self._namespaces and namespace not in self._namespaces:
                    continue
                key = Key(namespace, name)
                self._cache.add_tombstone(key, uid)
                self._queue.add(key)
                marked += 1
            if marked >= _MOST_ORPHANS:
                return  # the next resync finds the others

    async def run(self) -> None:
        """Resync for ever, beginning in a while: the first one is part of the start."""
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.resync()
            except Exception as error:  # noqa: BLE001  the probe tells when this goes on for too long
                logger.warning("the resync failed", extra={"error": str(error)})


class AuthorityWatch:
    """Reports a new authority of the results service's certificate, which the kubelet brings while the operator runs."""

    def __init__(self, file: Path, *, known: bytes, on_change: Callable[[bytes], None]) -> None:
        self._file = file
        self._known = known
        self._on_change = on_change

    def look(self) -> None:
        """Read the authority once. A file that cannot be read, or is empty, counts as none."""
        try:
            found = self._file.read_bytes()
        except OSError as error:
            logger.warning("the results service's authority was not read", extra={"error": str(error)})
            return
        if found and found != self._known:
            self._known = found
            logger.info("the results service has another authority")
            self._on_change(found)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(AUTHORITY_SECONDS)


class Purger:
    """Removes the cells of searches that were deleted long ago; until then other searches may reuse them."""

    def __init__(self, *, journal: SqlJournal, clock: Clock, retention: dt.timedelta) -> None:
        self._journal = journal
        self._clock = clock
        self._retention = retention

    async def purge(self) -> int:
        """Purge once; returns how many searches were removed. Raises JournalError."""
        purged = await asyncio.to_thread(self._journal.purge, self._clock.now() - self._retention)
        if purged:
            logger.info("purged deleted searches", extra={"searches": purged})
        return purged

    async def run(self) -> None:
        """Purge for ever."""
        while True:
            try:
                await self.purge()
            except Exception as error:  # noqa: BLE001  the database is away: an hour later is as good
                logger.warning("deleted searches were not purged", extra={"error": str(error)})
            await asyncio.sleep(PURGE_SECONDS)


async def _in_turns(bodies: Sequence[Body]) -> AsyncIterator[Body]:
    """Yield each of them, and let other tasks run in between, because there may be thousands."""
    for number, body in enumerate(bodies):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        yield body


def _has(numbers: Sequence[int], number: int) -> bool:
    at = bisect.bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def _covers(namespace: str | None, key: Key) -> bool:
    return namespace is None or key.namespace == namespace
