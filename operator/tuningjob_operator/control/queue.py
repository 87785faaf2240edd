"""The work queue: which keys are to be reconciled, and when. client-go's workqueue, for one event loop.

Promises: a waiting key is there once, however often it was added; a key is never handed to two workers at a time; a key that is
added while it is worked on is worked on again afterwards; a key whose work failed comes back after a delay that grows up to a
cap, with jitter; nothing that was added is lost. Keys wait in lanes, and the lanes take turns, so that a long lane does not delay
the first key of another.

``Backlog`` is the state machine, without a clock or an event loop: the time is an argument. ``WorkQueue`` lets workers wait on
it. Neither knows what a key means, and neither runs any work.
"""

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from tuningjob_operator.objects import ignore

K = TypeVar("K", bound=Hashable)

BASE_SECONDS: Final = 0.2
CAP_SECONDS: Final = 120.0


def _one_lane(_key: Hashable) -> Hashable:
    """The lane of every key, if there is only one."""
    return None


class Backlog(Generic[K]):
    """The keys that wait, that are delayed, and that are being worked on. ``now`` is any clock that does not go backwards.

    ``on_take`` is called with the seconds that a taken key has waited since it was added, or since its delay was over.
    ``lane`` says in which lane a key waits.
    """

    def __init__(
        self,
        *,
        jitter: Callable[[], float] = random.random,
        on_take: Callable[[float], None] = ignore,
        lane: Callable[[K], Hashable] = _one_lane,
    ) -> None:
        self._jitter = jitter  # in [0, 1)
        self._on_take = on_take
        self._lane = lane
        self._lanes: OrderedDict[Hashable, deque[K]] = OrderedDict()  # none is empty, the first has its turn
        self._waiting: set[K] = set()  # the keys in _lanes
        self._working: set[K] = set()
        self._dirty: set[K] = set()  # added while being worked on
        self._since: dict[K, float] = {}  # when a waiting or dirty key was first added
        self._due: dict[K, float] = {}  # the time that counts; _heap may hold older ones of the same key
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Keys that wait for a worker now."""
        return len(self._waiting)

    def add(self, key: K, now: float) -> None:
        """Work on the key as soon as may be."""
        self._since.setdefault(key, now)
        if key in self._working:
            self._dirty.add(key)
        else:
            self._queue(key)

    def add_after(self, key: K, seconds: float, now: float) -> None:
        """Work on the key in ``seconds``, unless it is added before. The earlier of two delays counts."""
        if seconds <= 0:
            self.add(key, now)
            return
        due = now + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._pushed += 1
            heapq.heappush(self._heap, (due, self._pushed, key))

    def take(self, now: float) -> K | None:
        """Take a key to work on; None if none waits. Its delays end here: the work says when it wants to come again."""
        self._promote(now)
        if not self._lanes:
            return None
        lane, ready = self._lanes.popitem(last=False)
        key = ready.popleft()
        if ready:
            self._lanes[lane] = ready
        self._waiting.discard(key)
        self._working.add(key)
        self._due.pop(key, None)
        self._on_take(max(0.0, now - self._since.pop(key)))
        return key

    def done(self, key: K) -> None:
        """Note that the work on the key ended well, and forget its failures."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: K, now: float) -> float:
        """The work on the key failed: it comes back after the seconds that are returned."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures, 32))
        # "equal jitter": at least half, so that a failing key is never hot, and two of them drift apart
        delay = ceiling * (0.5 + 0.5 * self._jitter())
        self._release(key)
        self.add_after(key, delay, now)
        return delay

    def failures(self, key: K) -> int:
        """How often in a row the work on the key has failed."""
        return self._failures.get(key, 0)

    def next_due(self) -> float | None:
        """When the next delayed key becomes ready; None if none is delayed."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def _release(self, key: K) -> None:
        self._working.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self._queue(key)

    def _queue(self, key: K) -> None:
        if key not in self._waiting:
            self._waiting.add(key)
            self._lanes.setdefault(self._lane(key), deque()).append(key)

    def _promote(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._due[key]
            self.add(key, due)

    def _drop_stale(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)


class WorkQueue(Generic[K]):
    """A Backlog that workers of one event loop wait on."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
        on_take: Callable[[float], None] = ignore,
        lane: Callable[[K], Hashable] = _one_lane,
    ) -> None:
        self._backlog: Backlog[K] = Backlog(jitter=jitter, on_take=on_take, lane=lane)
        self._clock = clock
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait for a worker now."""
        return len(self._backlog)

    def add(self, key: K) -> None:
        """Work on the key as soon as may be."""
        self._backlog.add(key, self._clock())
        self._changed.set()

    def add_all(self, keys: Iterable[K]) -> None:
        """Add each of the keys."""
        for key in keys:
            self.add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Work on the key in ``seconds``, unless it is added before."""
        self._backlog.add_after(key, seconds, self._clock())
        self._changed.set()

    def done(self, key: K, *, again_after: float | None = None) -> None:
        """Note that the work on the key ended well; it may ask to come again."""
        self._backlog.done(key)
        if again_after is not None:
            self._backlog.add_after(key, again_after, self._clock())
        self._changed.set()

    def failed(self, key: K) -> float:
        """The work on the key failed: it comes back after the seconds that are returned."""
        delay = self._backlog.failed(key, self._clock())
        self._changed.set()
        return delay

    def failures(self, key: K) -> int:
        """How often in a row the work on the key has failed."""
        return self._backlog.failures(key)

    def take_nowait(self) -> K | None:
        """Take a key to work on; None if none is ready now."""
        return self._backlog.take(self._clock())

    async def take(self) -> K:
        """Take a key to work on, as soon as there is one."""
        while True:
            key = self.take_nowait()
            if key is not None:
                return key
            self._changed.clear()
            due = self._backlog.next_due()
            timeout = None if due is None else max(0.0, due - self._clock())
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue
