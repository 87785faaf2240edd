"""The work queue: its state machine against a model, and a few stories."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tuningjob_operator.control.loops import work_on
from tuningjob_operator.control.queue import BASE_SECONDS, CAP_SECONDS, Backlog, WorkQueue
from tuningjob_operator.objects import Key

KEYS = st.sampled_from("abcd")
SECONDS = st.floats(0.0, 200.0)


class BacklogMachine(RuleBasedStateMachine):
    """The queue keeps the promises of its docstring: nothing is lost, and nothing is handed out twice at a time."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.backlog: Backlog[str] = Backlog(jitter=lambda: 0.5)
        self.now = 0.0
        self.working: set[str] = set()
        self.owed: set[str] = set()  # keys that must be handed out, as soon as no worker has them
        self.owed_by: dict[str, float] = {}  # keys that must be handed out once this time has come
        self.failures: dict[str, int] = {}

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.backlog.add(key, self.now)
        self.owed.add(key)

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        self.backlog.add_after(key, seconds, self.now)
        self.owed_by[key] = min(self.owed_by.get(key, float("inf")), self.now + seconds)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=taken)
    def take(self) -> Any:
        due = {key for key, at in self.owed_by.items() if at <= self.now}
        for asked in due:
            del self.owed_by[asked]
        self.owed |= due
        key = self.backlog.take(self.now)
        if key is None:
            assert self.owed <= self.working, "a key that is owed is handed out"
            return multiple()
        assert key not in self.working, "never two workers on one key"
        assert key in self.owed, "only what was asked for"
        self.working.add(key)
        self.owed.discard(key)
        self.owed_by.pop(key, None)
        return key

    @rule(key=consumes(taken))
    def done(self, key: str) -> None:
        self.backlog.done(key)
        self.working.discard(key)
        self.failures.pop(key, None)

    @rule(key=consumes(taken))
    def fail(self, key: str) -> None:
        failures = self.failures.get(key, 0)
        delay = self.backlog.failed(key, self.now)
        assert delay == 0.75 * min(CAP_SECONDS, BASE_SECONDS * 2**failures)
        self.working.discard(key)
        self.failures[key] = failures + 1
        self.owed_by[key] = min(self.owed_by.get(key, float("inf")), self.now + delay)

    @invariant()
    def tells_when_to_wake(self) -> None:
        """A worker that sleeps until next_due oversleeps nothing."""
        pending = [at for key, at in self.owed_by.items() if at > self.now]
        due = self.backlog.next_due()
        assert not pending or (due is not None and due <= min(pending))


TestBacklog = pytest.mark.slow(BacklogMachine.TestCase)
TestBacklog.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


async def test_a_worker_is_woken_by_what_is_added() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=lambda: 0.0)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")

    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_each_of_two_workers_gets_a_key_of_its_own() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=lambda: 0.0)
    waiting = [asyncio.create_task(queue.take()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")

    assert sorted(await asyncio.wait_for(asyncio.gather(*waiting), 5)) == ["a", "b"]


async def test_a_delayed_key_wakes_a_worker_in_its_time() -> None:
    loop = asyncio.get_running_loop()
    queue: WorkQueue[str] = WorkQueue(clock=loop.time)
    queue.add_after("later", 0.02)
    start = loop.time()

    assert await asyncio.wait_for(queue.take(), 5) == "later"
    assert loop.time() - start >= 0.02


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=lambda: 0.0)
    queue.add("a")
    assert queue.take_nowait() == "a"
    queue.add("a")
    assert queue.take_nowait() is None
    queue.done("a")

    assert queue.take_nowait() == "a"


async def test_a_bug_in_one_pass_is_logged_and_the_key_comes_back(caplog: Any) -> None:
    seconds = 0.0
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: seconds)
    key = Key("default", "a")

    async def broken(_key: Key) -> float | None:
        raise KeyError("a bug")

    queue.add(key)
    await work_on(queue, queue.take_nowait() or key, broken)
    seconds = 1.0

    assert queue.take_nowait() == key
    assert "the pass failed" in caplog.text


async def test_a_cancelled_pass_hands_its_key_back() -> None:
    seconds = 0.0
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: seconds)
    key = Key("default", "a")

    async def endless(_key: Key) -> float | None:
        await asyncio.Event().wait()
        return None

    queue.add(key)
    task = asyncio.create_task(work_on(queue, queue.take_nowait() or key, endless))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    seconds = 1.0

    assert queue.take_nowait() == key
