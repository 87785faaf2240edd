"""One stream of server-sent events for each page that watches; pages that watch the same share each part."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fastapi import HTTPException
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tuningjob.live.pages import security_headers, stream_event

PAUSE_SECONDS: Final = 2.0
# A stream ends after this long, and the browser comes again with a token that is checked again. It is less than a request may
# take while the service ends.
STREAM_SECONDS: Final = 15.0
MOST_STREAMS: Final = 200
MOST_OF_A_NAMESPACE: Final = 100
_MOST_PARTS: Final = 200
_KEPT_SECONDS: Final = 10.0
# what a page shows now, and whether that is the last of it
Part: TypeAlias = tuple[str, bool]


@dataclass
class Feed:
    """The parts for pages that watch, each made once for all of them. Belongs to one event loop."""

    pause_seconds: float = PAUSE_SECONDS
    clock: Callable[[], float] = time.monotonic
    watching: Counter[str] = field(default_factory=Counter)
    _made: "OrderedDict[str, tuple[float, asyncio.Task[Part]]]" = field(default_factory=OrderedDict)

    async def part(self, key: str, make: Callable[[], Part]) -> Part:
        """What a page shows now, no older than a pause, and whether it is the last part."""
        found = self._made.get(key)
        if found is None or self.clock() - found[0] >= self.pause_seconds:
            found = self.clock(), asyncio.create_task(run_in_threadpool(make))
            self._made[key] = found
            self._made.move_to_end(key)
            self._forget()
        return await asyncio.shield(found[1])

    def _forget(self) -> None:
        """Drop parts that no page has had for a while, because each may be half a megabyte."""
        while len(self._made) > _MOST_PARTS or self.clock() - next(iter(self._made.values()))[0] >= _KEPT_SECONDS:
            self._made.popitem(last=False)

    @contextmanager
    def watched(self, namespace: str) -> Iterator[None]:
        """Count one stream more while the context is open. Raises HTTPException if there are too many."""
        self.check(namespace)
        self.watching[namespace] += 1
        try:
            yield
        finally:
            self.watching[namespace] -= 1
            self.watching += Counter()  # without zeros

    def check(self, namespace: str) -> None:
        """Raise HTTPException if there are too many streams."""
        if self.watching.total() >= MOST_STREAMS or self.watching[namespace] >= MOST_OF_A_NAMESPACE:
            raise HTTPException(503, "Too many pages watch just now: load this one again later.", {"Retry-After": "30"})

    async def stream(self, namespace: str, look: Callable[[], Awaitable[Part]]) -> Response:
        """The answer to a page that watches: what ``look`` finds, each time that this changes."""
        self.check(namespace)
        part, is_over = await look()  # a refusal must come before the answer begins

        async def events(part: str, is_over: bool) -> AsyncIterator[bytes]:  # noqa: FBT001
            with self.watched(namespace):
                told, until = "", self.clock() + STREAM_SECONDS
                yield b"retry: 1000\n\n"
                while True:
                    yield stream_event(part) if part != told else b": still there\n\n"
                    if is_over:
                        yield b"event: over\ndata: 1\n\n"
                        return
                    told = part
                    await asyncio.sleep(self.pause_seconds)
                    if self.clock() >= until:
                        return
                    part, is_over = await look()

        headers = {**security_headers(), "X-Accel-Buffering": "no"}
        return StreamingResponse(events(part, is_over), media_type="text/event-stream", headers=headers)
