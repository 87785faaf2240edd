"""How much is in memory at a time, and whose: bodies are counted before they are read, and wait for their turn.

Who waits has sent no more than the kernel keeps: a body that has no room yet is not read.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

# Long bodies in all; what is made of one in memory is some three times of it.
MAX_LONG_BYTES: Final = 32 * 2**20
# A body of so many bytes is not counted: claims and everyday reports pass by the long ones.
SHORT_BYTES: Final = 64 * 2**10
# Requests of one search that are worked on at once, and bodies of files: its others wait in order, and its neighbours do not.
PER_SEARCH: Final = 8
# How long a request waits for its turn, before it is asked to come again.
PATIENCE_SECONDS: Final = 10.0


class NoTurn(Exception):
    """A request has waited for as long as it may."""


class Room:
    """Turns by search, and bytes in all; first come, first served. Belongs to one event loop."""

    def __init__(self, *, max_bytes: int = MAX_LONG_BYTES, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._free = max_bytes
        self._patience_seconds = patience_seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._turns: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def taken(self, who: str, body_bytes: int) -> AsyncIterator[None]:
        """A turn of ``who``, and room for a body of so many bytes. Raises NoTurn."""
        size = body_bytes if body_bytes > SHORT_BYTES else 0
        turns, users = self._turns.setdefault(who, (asyncio.Semaphore(PER_SEARCH), []))
        users.append(None)
        try:
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await turns.acquire()
            except TimeoutError:
                raise NoTurn from None
            try:
                await self._take(size)
                try:
                    yield
                finally:
                    self._give_back(size)
            finally:
                turns.release()
        finally:
            users.pop()
            if not users:
                self._turns.pop(who, None)

    async def _take(self, size: int) -> None:
        if not size or (not self._waiting and size <= self._free):
            self._free -= size
            return
        mine = (size, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await mine[1]
        except BaseException as error:
            if mine in self._waiting:
                self._waiting.remove(mine)
                self._give_back(0)  # who waits behind may fit
            elif mine[1].done() and not mine[1].cancelled():
                self._give_back(size)  # it was given at the last moment
            if isinstance(error, TimeoutError):
                raise NoTurn from None
            raise

    def _give_back(self, size: int) -> None:
        self._free += size
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
