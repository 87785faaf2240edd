"""Bounds by namespace on what is in memory and at work at a time: bodies are counted before they are read, and take turns.

A body that has no room yet is not read, so it takes only the kernel's buffers. Namespaces take turns, and none may have all of
the room, so that a storm of requests from one delays another by a few requests only.
"""

import asyncio
import functools
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from tuningjob.journal.turns import Turns, behalf

P = ParamSpec("P")
R = TypeVar("R")

# The bytes of all long bodies together; a body's records take some three times its bytes.
MAX_LONG_BYTES: Final = 32 * 2**20
# The share of that which the bodies of one namespace may have.
SHARE: Final = 0.75
# A body of up to this many bytes is not counted, so that claims and everyday reports pass the long ones.
SHORT_BYTES: Final = 64 * 2**10
# Requests of one search that are worked on at once, and bodies of files. Its others wait in order; other searches do not wait.
PER_SEARCH: Final = 8
# Requests that are worked on at once on threads, in all and of one namespace. More are not faster on one processor.
AT_WORK: Final = 16
PER_NAMESPACE: Final = 4
# Blocks of files that are written or read at once, in all and of one namespace: a slow disk or bucket holds no other thread.
FILES_AT_WORK: Final = 8
FILES_PER_NAMESPACE: Final = 3
# A file that has waited this long between two of its chunks has to be sent again.
FILES_PATIENCE_SECONDS: Final = 60.0
# How long a request waits for its turn before it is asked to come again.
PATIENCE_SECONDS: Final = 10.0

COME_AGAIN: Final = "The service must work on a few requests at a time, and this one has waited. Send it again."


class NoTurn(Exception):
    """A request has waited too long for its turn."""


class RequestRoom:
    """Turns by search, and bytes by namespace. Belongs to one event loop."""

    def __init__(self, *, max_bytes: int = MAX_LONG_BYTES, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._free = max_bytes
        self._most_of_one = int(max_bytes * SHARE)
        self._patience_seconds = patience_seconds
        self._taken: Counter[str] = Counter()
        # none is empty; the first one's turn is next
        self._waiting: OrderedDict[str, deque[tuple[int, asyncio.Future[None]]]] = OrderedDict()
        self._turns: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def taken(self, who: str, body_bytes: int, *, namespace: str = "") -> AsyncIterator[None]:
        """Hold a turn of ``who``, and room for a body of ``body_bytes``. Raises NoTurn."""
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
                await self._take(namespace, size)
                try:
                    yield
                finally:
                    self._give_back(namespace, size)
            finally:
                turns.release()
        finally:
            users.pop()
            if not users:
                self._turns.pop(who, None)

    async def _take(self, namespace: str, size: int) -> None:
        if not size:
            return
        mine = (size, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(namespace, deque()).append(mine)
        self._let_in()
        try:
            async with asyncio.timeout(self._patience_seconds):
                await mine[1]
        except BaseException as error:
            queue = self._waiting.get(namespace, deque())
            if mine in queue:
                queue.remove(mine)
                if not queue:
                    del self._waiting[namespace]
                self._let_in()  # those behind it may fit
            elif mine[1].done() and not mine[1].cancelled():
                self._give_back(namespace, size)  # it was given at the last moment
            if isinstance(error, TimeoutError):
                raise NoTurn from None
            raise

    def _give_back(self, namespace: str, size: int) -> None:
        self._free += size
        self._taken[namespace] -= size
        if self._taken[namespace] <= 0:
            del self._taken[namespace]
        self._let_in()

    def _let_in(self) -> None:
        """Let those in for which there is room. A long body that is next is waited for, even if short ones would fit."""
        while (namespace := self._next()) is not None and self._waiting[namespace][0][0] <= self._free:
            queue = self._waiting.pop(namespace)
            wanted, turn = queue.popleft()
            if queue:
                self._waiting[namespace] = queue
            if not turn.done():
                self._free -= wanted
                self._taken[namespace] += wanted
                turn.set_result(None)

    def _next(self) -> str | None:
        """The namespace whose turn it is, among those that do not have their whole share."""
        return next((each for each in self._waiting if self._is_within_share(each)), None)

    def _is_within_share(self, namespace: str) -> bool:
        return (
            self._taken[namespace] + self._waiting[namespace][0][0] <= self._most_of_one or not self._taken[namespace]
        )


class Desk:
    """Bounds the requests that are worked on at once; namespaces take turns. Belongs to one event loop."""

    def __init__(
        self,
        *,
        at_once: int = AT_WORK,
        per_namespace: int = PER_NAMESPACE,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._turns: Turns[asyncio.Future[None]] = Turns(at_once=at_once, per_lane=per_namespace)
        self._patience_seconds = patience_seconds

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._turns)

    def at_work(self, namespace: str) -> int:
        """How many requests of a namespace have their turn."""
        return self._turns.at_work(namespace)

    async def enter(self, namespace: str) -> None:
        """Wait until it is this namespace's turn. Raises NoTurn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._turns.ask(namespace, turn):
            return
        try:
            async with asyncio.timeout(self._patience_seconds):
                await turn
        except BaseException as error:
            if not self._turns.forget(namespace, turn):
                self.leave(namespace)  # it was given at the last moment
            if isinstance(error, TimeoutError):
                raise NoTurn from None
            raise

    def leave(self, namespace: str) -> None:
        """Note that a request of this namespace is done."""
        turn = self._turns.leave(namespace)
        # a turn that is done was cancelled a moment ago: its request will find that it was given the turn, and hand it on
        if turn is not None and not turn.done():
            turn.set_result(None)


class Threads:
    """Threads for one kind of work, in which namespaces take turns, apart from the threads of everyday requests.

    So no claim waits for the slow steps in them. Belongs to one event loop.
    """

    def __init__(self, *, at_once: int, per_namespace: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._desk = Desk(at_once=at_once, per_namespace=per_namespace, patience_seconds=patience_seconds)
        self._at_once = at_once
        self._limiter: CapacityLimiter | None = None

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``work`` on a thread; returns or raises what it does. Raises NoTurn."""
        namespace = behalf.get()
        await self._desk.enter(namespace)
        try:
            self._limiter = self._limiter or CapacityLimiter(self._at_once)
            return await to_thread.run_sync(functools.partial(work, *args, **kwargs), limiter=self._limiter)
        finally:
            self._desk.leave(namespace)

    async def stream(self, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the blocks. No thread is held while the consumer does not take the next one."""
        while (block := await self.run(next, blocks, None)) is not None:
            yield block


class Turn:
    """The turn of one request at a desk: taken at most once; given back any number of times."""

    def __init__(self, desk: Desk, namespace: str) -> None:
        self._desk = desk
        self._namespace = namespace
        self._is_taken = self._is_over = False

    async def take(self) -> None:
        """Wait for the turn. Raises NoTurn."""
        if not self._is_taken and not self._is_over:
            await self._desk.enter(self._namespace)
            self._is_taken = True

    def give_back(self) -> None:
        """Give the turn back, because the rest of the work needs no thread, or has one of its own."""
        self._is_over = True
        if self._is_taken:
            self._is_taken = False
            self._desk.leave(self._namespace)
