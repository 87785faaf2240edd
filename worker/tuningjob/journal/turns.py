"""Turns for a bounded number at a time. Waiting ones take turns by lane, so that a long lane does not delay another.

``Turns`` decides and knows no threads; ``FairLock`` is a lock that uses it. The results service's lanes are namespaces.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# The lane in which the thread waits; the results service sets it for each request.
behalf: Final[ContextVar[str]] = ContextVar("behalf", default="")


class Turns(Generic[T]):
    """At most ``at_once`` turns at a time, ``per_lane`` of them of one lane; a lane is first come, first served.

    A ticket stands for one that asks.
    """

    def __init__(self, *, at_once: int, per_lane: int) -> None:
        self._free = at_once
        self._per_lane = per_lane
        self._at_work: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[T]] = OrderedDict()  # none is empty; the first one's turn is next

    def __len__(self) -> int:
        """How many tickets wait."""
        return sum(map(len, self._waiting.values()))

    def at_work(self, lane: Hashable) -> int:
        """How many tickets of a lane have their turn."""
        return self._at_work[lane]

    def ask(self, lane: Hashable, ticket: T) -> bool:
        """Ask for a turn for the ticket; returns whether it is its turn now. Else ``leave`` will return it."""
        if self._free and self._may_begin(lane) and lane not in self._waiting:
            self._begin(lane)
            return True
        self._waiting.setdefault(lane, deque()).append(ticket)
        return False

    def leave(self, lane: Hashable) -> T | None:
        """Note that a ticket of the lane is done; returns the ticket whose turn it is now, if any."""
        self._free += 1
        self._at_work[lane] -= 1
        if not self._at_work[lane]:
            del self._at_work[lane]
        following = next((each for each in self._waiting if self._may_begin(each)), None)
        if following is None:
            return None
        tickets = self._waiting.pop(following)
        ticket = tickets.popleft()
        if tickets:
            self._waiting[following] = tickets  # behind the others
        self._begin(following)
        return ticket

    def forget(self, lane: Hashable, ticket: T) -> bool:
        """Let a ticket wait no longer; returns False if it has been given its turn already."""
        tickets = self._waiting.get(lane, deque())
        if ticket not in tickets:
            return False
        tickets.remove(ticket)
        if not tickets:
            del self._waiting[lane]
        return True

    def _may_begin(self, lane: Hashable) -> bool:
        return self._at_work[lane] < self._per_lane

    def _begin(self, lane: Hashable) -> None:
        self._free -= 1
        self._at_work[lane] += 1


class FairLock:
    """A lock that threads get in turns, by their lane (``behalf``). One thread must not take it twice."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._turns: Turns[threading.Lock] = Turns(at_once=1, per_lane=1)
        self._lane = ""  # of the thread that has the lock

    def __enter__(self) -> None:
        lane, mine = behalf.get(), threading.Lock()
        mine.acquire()
        with self._mutex:
            is_ours = self._turns.ask(lane, mine)
        if not is_ours:
            self._wait(lane, mine)
        self._lane = lane

    def _wait(self, lane: str, mine: threading.Lock) -> None:
        try:
            mine.acquire()  # the thread that hands the lock on releases it
        except BaseException:  # the user's Ctrl-C
            with self._mutex:
                is_given = not self._turns.forget(lane, mine)
            if is_given:
                self._hand_on(lane)
            raise

    def __exit__(self, *_: object) -> None:
        self._hand_on(self._lane)

    def _hand_on(self, lane: str) -> None:
        with self._mutex:
            following = self._turns.leave(lane)
        if following is not None:
            following.release()
