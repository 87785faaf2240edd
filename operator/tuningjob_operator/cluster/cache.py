"""The newest body that we know of each TuningJob and of its Job, from kopf's events, the resync and our own writes.

Tenants may make any number of either, so the room is bounded (``room``), and a Job is known only while its TuningJob is.

A hint, never a lock: what is decided from a stale body is caught by AlreadyExists or Conflict at the API server. A body
never replaces a newer one, because our own write is often back before its event.
"""

import json
import logging
import zlib
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from tuningjob_operator import names
from tuningjob_operator.ceilings import DEFAULT_BOUNDS, Bounds
from tuningjob_operator.cluster.room import Rank, TuningJobRoom, Waiting
from tuningjob_operator.objects import Body, Key, key_of, uid_of
from tuningjob_operator.reading import slots_of

logger = logging.getLogger(__name__)


# The bytes that a Job may have for each slot of its TuningJob, and once more. Our Jobs are smaller, so a larger one is not ours.
JOB_BYTES: Final = 16 * 2**10


class _Kept(NamedTuple):
    """One body as compressed text, because as a dict it would take twenty times the memory."""

    version: int
    uid: str
    text: bytes

    @property
    def body(self) -> Body:
        read: Body = json.loads(zlib.decompress(self.text))
        return read


def _keep(body: Body, most_bytes: int | None) -> _Kept:
    text = json.dumps(_slim(body), separators=(",", ":"), ensure_ascii=False).encode()
    if most_bytes is not None and len(text) > most_bytes:
        text = json.dumps(_identity(body), separators=(",", ":")).encode()
    return _Kept(_version(body), uid_of(body), zlib.compress(text, 1))


class Store:
    """Bodies of one kind by key."""

    def __init__(self) -> None:
        self._bodies: dict[Key, _Kept] = {}
        self._newest = 0  # the highest version of an object or a listing so far
        self._floor = 0  # what _newest was when the listing that is being read was asked for

    def __len__(self) -> int:
        return len(self._bodies)

    def get(self, key: Key) -> Body | None:
        """The newest known body, as a new dict that the caller may keep."""
        known = self._bodies.get(key)
        return None if known is None else known.body

    def knows(self, body: Body) -> bool:
        """Whether this very version of an object is known already: our own write is often back before its event."""
        known = self._bodies.get(key_of(body))
        return known is not None and known.version == _version(body) and known.uid == uid_of(body)

    def uid(self, key: Key) -> str | None:
        """The uid of the newest known body."""
        known = self._bodies.get(key)
        return None if known is None else known.uid

    def keys(self) -> tuple[Key, ...]:
        """A copy of all keys."""
        return tuple(self._bodies)

    def put(self, body: Body, *, most_bytes: int | None = None, listing: str = "") -> Body | None:
        """Keep ``body`` unless a newer one is known. Returns an object of another uid that it replaced.

        A body of more than ``most_bytes`` as JSON is kept only as an object without an owner. ``listing`` is the version of the
        full listing that has it, if one has.
        """
        key = key_of(body)
        if self.is_older(body, listing=listing):
            return None
        known = self._bodies.get(key)
        self._bodies[key] = _keep(body, most_bytes)
        self._newest = max(self._newest, _version(body))
        return known.body if known is not None and known.uid != uid_of(body) else None

    def is_older(self, body: Body, *, listing: str = "") -> bool:
        """Whether a newer version of the object is known.

        A listing of version 9 shows each object as it was at 9. If it shows an object at 3 that we know at 7, 7 is of a future
        that was taken back (``listed``), so the object at 3 is the newest one.
        """
        known = self._bodies.get(key_of(body))
        return known is not None and _version(body) < known.version and not known.version <= _number(listing)

    def remove(self, body: Body) -> Body | None:
        """Forget the object that was deleted as ``body``, unless a newer one of its name is known. Returns it."""
        key = key_of(body)
        known = self._bodies.get(key)
        if known is None or _version(body) < known.version:
            return None
        return self._bodies.pop(key).body

    def forget(self, key: Key) -> None:
        """Forget everything that is known under the key."""
        self._bodies.pop(key, None)

    def asks(self) -> None:
        """Note that a full listing is about to be asked for."""
        self._floor = self._newest

    def listed(self, resource_version: str) -> None:
        """Note that the listing has this version, and is about to be taken in.

        It is never older than what was known when it was asked for, unless the cluster was restored from a backup. Then our
        bodies are of a future that was taken back, and the listing counts.
        """
        version = _number(resource_version)
        if 0 < version < self._floor:
            logger.warning(
                "the API server has gone back in time (its etcd was restored?): what was known of it is forgotten",
                extra={"from_version": self._floor, "to_version": version},
            )
            self._bodies = {key: kept._replace(version=0) for key, kept in self._bodies.items()}
            self._newest = version
        self._newest = max(self._newest, version)

    def vanished(
        self, present: Collection[Key], *, resource_version: str, covers: Callable[[Key], bool] = lambda _: True
    ) -> list[Body]:
        """Forget, and return, the objects that a full listing has no longer (kopf emits no DELETED after a relist)."""
        version = _number(resource_version)
        gone: list[Body] = []
        for key in self.keys():
            known = self._bodies[key]
            if key not in present and covers(key) and version >= known.version:
                gone.append(self._bodies.pop(key).body)
        return gone


class Cache:
    """What the operator knows of the cluster, and the searches that are to be deleted from the journal.

    ``on_room`` is called with a TuningJob for which there was no room, and is now.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self.tuningjobs = Store()
        self.jobs = Store()
        self.waiting = Waiting(bounds)
        self.beyond = 0  # how many TuningJobs of a full listing had no room
        self._room = TuningJobRoom(bounds, on_out=self._put_out)
        self.on_room: Callable[[Key], None] = lambda _: None
        self._keys: dict[str, Key] = {}
        self._tombstones: dict[Key, set[str]] = {}

    def put_tuningjob(self, body: Body, *, listing: str = "") -> Key:
        """Take in a TuningJob as an event, our own write, or a listing of this version shows it.

        If there is no room for it, its key waits.
        """
        key = key_of(body)
        if self.tuningjobs.is_older(body, listing=listing):
            return key
        rank = _rank_of(body)
        if not self._room.enter(key, rank, slots_of(body)):
            self._forget(key)
            if rank is not Rank.ENDED:
                self.waiting.put(key, _version(body))
            return key
        self.waiting.discard(key)
        replaced = self.tuningjobs.put(body, listing=listing)
        if replaced is not None:
            self.add_tombstone(key_of(replaced), uid_of(replaced))
        self._keys[uid_of(body)] = key
        if rank is Rank.ENDED:
            self._call_the_next()
        return key

    def remove_tuningjob(self, body: Body) -> Key:
        """Forget a TuningJob that is gone, and have its search deleted from the journal."""
        key = key_of(body)
        if self.tuningjobs.remove(body) is not None:
            self._room.leave(key)
            self.jobs.forget(key)
        if self.tuningjobs.uid(key) is None:
            self.waiting.discard(key)
        self.add_tombstone(key, uid_of(body))
        self._call_the_next()
        return key

    def vanished(
        self, present: Collection[Key], *, resource_version: str, covers: Callable[[Key], bool] = lambda _: True
    ) -> list[Body]:
        """Remove the TuningJobs that a full listing has no longer."""
        version = _number(resource_version)
        for key, known in self.waiting.versions().items():
            if key not in present and covers(key) and version >= known:
                self.waiting.discard(key)
        gone = self.tuningjobs.vanished(present, resource_version=resource_version, covers=covers)
        for body in gone:
            self._room.leave(key_of(body))
            self.jobs.forget(key_of(body))
            self.add_tombstone(key_of(body), uid_of(body))
            self._call_the_next()
        return gone

    def put_job(self, body: Body, *, listing: str = "") -> None:
        """Take in a Job as an event, our own write, or a listing of this version shows it.

        It is kept only if its TuningJob has room.
        """
        slots = self._room.slots(key_of(body))
        if slots:
            self.jobs.put(body, most_bytes=JOB_BYTES * (slots + 1), listing=listing)

    def is_beyond(self, key: Key) -> bool:
        """Whether there was no room for this TuningJob."""
        return key in self.waiting and key not in self._room

    def may_enter(self, key: Key) -> bool:
        """Whether there is room now for a TuningJob that had none."""
        return self.is_beyond(key) and self._room.could_enter(key.namespace)

    def is_gone(self, key: Key) -> None:
        """Note that a TuningJob without room is gone, so that the next one has its turn."""
        self.waiting.discard(key)
        self._call_the_next()

    def _call_the_next(self) -> None:
        key = self.waiting.first(self._room.could_enter) if len(self.waiting) else None
        if key is not None:
            self.on_room(key)

    def _put_out(self, key: Key) -> None:
        body = self.tuningjobs.get(key)
        self._forget(key)
        if body is not None and _rank_of(body) is not Rank.ENDED:
            self.waiting.put(key, _version(body))

    def _forget(self, key: Key) -> None:
        uid = self.tuningjobs.uid(key)
        if uid is not None:
            self._keys.pop(uid, None)
        self.tuningjobs.forget(key)
        self.jobs.forget(key)

    def key_of_uid(self, uid: str) -> Key | None:
        """The key of a TuningJob that is there."""
        return self._keys.get(uid)

    def add_tombstone(self, key: Key, uid: str) -> None:
        """Note that the search of this uid has no TuningJob any more."""
        self._keys.pop(uid, None)
        self._tombstones.setdefault(key, set()).add(uid)

    def tombstones(self, key: Key) -> tuple[str, ...]:
        """Uids under this key whose searches are to be deleted."""
        return tuple(sorted(self._tombstones.get(key, ())))

    def deleted(self, key: Key, uid: str) -> None:
        """Note that the search with a tombstone is deleted."""
        uids = self._tombstones.get(key, set())
        uids.discard(uid)
        if not uids:
            self._tombstones.pop(key, None)


def _slim(body: Body) -> Body:
    """The body without managedFields, which are half of its bytes and are not read here."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


def _identity(body: Body) -> Body:
    metadata = {name: body["metadata"].get(name) for name in ("namespace", "name", "uid", "resourceVersion")}
    return {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": metadata, "spec": {}}


def _rank_of(body: Body) -> Rank:
    status = body.get("status") or {}
    if any(
        each.get("type") in names.TERMINAL and each.get("status") == "True" for each in status.get("conditions") or ()
    ):
        # a TuningJob whose pods are still ending is looked after until they have gone
        return Rank.ADMITTED if status.get("activePods") else Rank.ENDED
    return Rank.ADMITTED if status.get("startTime") else Rank.NEW


def _version(body: Body) -> int:
    return _number(body["metadata"].get("resourceVersion", ""))


def _number(resource_version: str) -> int:
    """The version as a number: comparable as of KEP-5504 (Kubernetes 1.35), and on etcd in every release before it."""
    return int(resource_version) if resource_version.isdigit() else 0
