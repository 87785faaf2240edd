"""Whose turn it is, decided without a thread, and a lock that real threads have by it."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tuningjob.journal.turns import FairLock, Turns, behalf

AT_ONCE, PER_LANE = 4, 3
LANES = st.sampled_from(["a", "b", "c"])


def test_lanes_take_turns_however_many_wait_in_one() -> None:
    turns: Turns[str] = Turns(at_once=1, per_lane=1)
    assert turns.ask("loud", "loud-0")
    assert not any(turns.ask("loud", f"loud-{number}") for number in range(1, 100))
    assert not turns.ask("quiet", "quiet-0")
    order = [turns.leave(lane) for lane in ("loud", "loud", "quiet", "loud")]
    assert order == ["loud-1", "quiet-0", "loud-2", "loud-3"]


def test_a_lane_that_has_its_most_leaves_what_is_free_to_others() -> None:
    turns: Turns[str] = Turns(at_once=4, per_lane=3)
    assert [turns.ask("loud", str(number)) for number in range(5)] == [True, True, True, False, False]
    assert turns.ask("quiet", "quiet")


class Asked(RuleBasedStateMachine):
    """Any order of coming, leaving and giving up."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[int] = Turns(at_once=AT_ONCE, per_lane=PER_LANE)
        self.count = 0
        self.at_work: list[str] = []
        self.waiting: dict[int, str] = {}

    @rule(lane=LANES)
    def ask(self, lane: str) -> None:
        self.count += 1
        if self.turns.ask(lane, self.count):
            self.at_work.append(lane)
        else:
            self.waiting[self.count] = lane

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.at_work.remove(lane := data.draw(st.sampled_from(self.at_work)))
        ticket = self.turns.leave(lane)
        if ticket is not None:
            following = self.waiting.pop(ticket)
            assert ticket < min(
                (each for each, other in self.waiting.items() if other == following), default=ticket + 1
            )
            self.at_work.append(following)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.waiting)))
        lane = self.waiting.pop(ticket)
        assert self.turns.forget(lane, ticket)
        assert not self.turns.forget(lane, ticket)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        counts = Counter(self.at_work)
        assert len(self.at_work) <= AT_ONCE
        assert max(counts.values(), default=0) <= PER_LANE
        assert len(self.turns) == len(self.waiting)
        if len(self.at_work) < AT_ONCE:
            assert not [lane for lane in self.waiting.values() if counts[lane] < PER_LANE]


TestAsked = pytest.mark.slow(Asked.TestCase)


def test_a_lock_is_had_by_one_thread_at_a_time_and_by_lanes_in_turn() -> None:
    lock, order, at_once = FairLock(), list[str](), list[int]()
    inside, arrived = Counter[None](), threading.Semaphore(0)

    def work(lane: str) -> None:
        behalf.set(lane)
        arrived.release()
        with lock:
            inside[None] += 1
            at_once.append(inside[None])
            order.append(lane)
            inside[None] -= 1

    with ThreadPoolExecutor(9) as threads, lock:
        for lane in (*["loud"] * 8, "quiet"):
            threads.submit(copy_context().run, work, lane)
        for _ in range(9):
            assert arrived.acquire(timeout=30)
        while len(lock._turns) < 9:
            threading.Event().wait(0.001)
    assert set(at_once) == {1}
    assert len(order) == 9
    assert order.index("quiet") <= 1
    with lock:
        pass


def test_a_thread_that_is_interrupted_while_it_waits_leaves_the_lock_to_the_others() -> None:
    class Interrupting(FairLock):
        def _wait(self, lane: str, mine: threading.Lock) -> None:
            class Interrupted:
                def acquire(self) -> None:
                    raise KeyboardInterrupt

            mine.release()  # as if the turn had come at that moment, or had not
            with self._mutex:
                self._turns.forget(lane, mine)
                stand_in: threading.Lock = Interrupted()  # type: ignore[assignment]
                assert not self._turns.ask(lane, stand_in)
            super()._wait(lane, stand_in)

    lock = Interrupting()
    seen: list[BaseException] = []

    def work() -> None:
        try:
            with lock:
                pass
        except KeyboardInterrupt as error:
            seen.append(error)

    with lock:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    assert len(seen) == 1
    with lock:
        pass
