"""Conditions and Events of a TuningJob, read with the token of the person who looks: the service has no right to read them.

A page never waits long for them, and shows the last ones until newer ones have come.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from pydantic_core import from_json

from tuningjob.aliases import Json
from tuningjob.live.story import ObjectStory, story_of
from tuningjob.manifest.wellknown import GROUP, PLURAL, VERSION
from tuningjob_operator.reading import slim
from tuningjob_operator.service.api_server import ApiConnection, ApiServerAway

# How old a story may be before it is read again, and how long a page waits for its first one.
PAUSE_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 1.0
_AT_ONCE: Final = 4
_MOST_KEPT: Final = 256
# The most bytes of a TuningJob's text; etcd takes objects of 1.5 MiB.
_MOST_BYTES: Final = 4 * 2**20
# Events have a few hundred bytes each, and take some eight times as much when decoded.
_MOST_EVENTS_BYTES: Final = 2**20
_MOST_EVENTS: Final = 200
_GONE: Final = ObjectStory(missing=("The TuningJob is no longer on the cluster.",))


@dataclass(frozen=True)
class ObjectName:
    """One TuningJob: a later one of the same name has another uid."""

    namespace: str
    name: str
    uid: str


@dataclass
class _Kept:
    at: float
    reading: "asyncio.Task[ObjectStory]"
    last: ObjectStory | None


class Stories:
    """Stories of TuningJobs, each as one token may see it. Belongs to one event loop."""

    def __init__(self, connection: ApiConnection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[tuple[bytes, str], _Kept] = OrderedDict()

    async def of(self, token: str, name: ObjectName) -> ObjectStory | None:
        """The story as it is now; None if it has not come yet. Never raises for an answer of the API server."""
        key = (hashlib.sha256(token.encode()).digest(), name.uid)
        kept = self._kept.get(key)
        if kept is None or self._clock() - kept.at >= PAUSE_SECONDS:
            reading = asyncio.create_task(self._read(token, name))
            kept = _Kept(self._clock(), reading, None if kept is None else kept.last)
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                kept.last = await asyncio.shield(kept.reading)
        except TimeoutError:
            pass
        return kept.last

    async def _read(self, token: str, name: ObjectName) -> ObjectStory:
        async with self._room:
            try:
                return await self._told(token, name)
            except ApiServerAway as away:
                return ObjectStory(
                    missing=(f"Conditions and Events are not shown, because the API server said: {away}.",)
                )

    async def _told(self, token: str, name: ObjectName) -> ObjectStory:
        where = f"/apis/{GROUP}/{VERSION}/namespaces/{name.namespace}/{PLURAL}/{quote(name.name, safe='')}"
        status, tuningjob = await self._get(where, token, most_bytes=_MOST_BYTES, read=tuningjob_of)
        if status == HTTPStatus.NOT_FOUND:
            return _GONE
        if status != HTTPStatus.OK:
            return ObjectStory(missing=(_refused("Conditions", status, "get tuningjobs.tuningjob.dev", name),))
        if _uid_of(tuningjob) != name.uid:
            return _GONE
        query = {"fieldSelector": f"involvedObject.uid={name.uid}", "limit": _MOST_EVENTS}
        where = f"/api/v1/namespaces/{name.namespace}/events?{urlencode(query)}"
        status, events = await self._get(where, token, most_bytes=_MOST_EVENTS_BYTES, read=from_json)
        if status == HTTPStatus.OK:
            return story_of(tuningjob, events)
        return story_of(tuningjob, None, [_refused("Events", status, "list events", name)])

    async def _get(self, path: str, token: str, *, most_bytes: int, read: Callable[[bytes], Json]) -> tuple[int, Json]:
        status, text = await self._connection.call("GET", path, token=token, most_bytes=most_bytes)
        if status != HTTPStatus.OK:
            return status, None
        try:
            # on a thread, so that the loop does not wait for a long text; pydantic's parser bounds the depth
            return status, await asyncio.to_thread(read, text)
        except ValueError:
            raise ApiServerAway("an object that is too deep to be read") from None


def tuningjob_of(text: bytes) -> Json:
    """A TuningJob without its spec, which may take thirty times its text when decoded. Raises ValueError."""
    found: Json = from_json(slim(text, spec_bytes=0))
    return found


def _uid_of(tuningjob: Json) -> str:
    metadata = tuningjob.get("metadata") if isinstance(tuningjob, dict) else None
    return str(metadata.get("uid", "")) if isinstance(metadata, dict) else ""


def _refused(what: str, status: int, right: str, name: ObjectName) -> str:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"{what} are not shown, because you may not {right} in namespace {name.namespace}."
    return f"{what} are not shown, because the API server answered with status {status}."


def elsewhere(name: ObjectName) -> ObjectStory:
    """The story for a token that the API server refuses, because it is for the results service alone."""
    how = f"`kubectl describe tj {name.name} -n {name.namespace}` has them"
    return ObjectStory(
        missing=(f"Conditions and Events are not shown, because your token is for this service alone: {how}.",)
    )
