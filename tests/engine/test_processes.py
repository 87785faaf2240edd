"""Forked processes and what their tasks yield and raise. Real ones, real signals."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator

from tests.engine.fresh import in_a_fresh_process
from tests.engine.pools import (
    TwoArguments,
    Unpicklable,
    all_events,
    endings,
    first_items,
    tell_and_hang,
    values_of,
)
from tuningjob.engine.processes import (
    Finished,
    Item,
    Processes,
    Raised,
    RemoteTraceback,
    deadline,
    seconds_to_fork,
)

# ---- what tasks yield ----


@in_a_fresh_process
def test_what_every_task_yields_arrives_in_its_order() -> None:
    def run(task: int) -> Iterator[int]:
        yield from range(task, task + 3)

    with Processes(run, 2) as pool:
        tickets = [pool.submit(task) for task in range(100)]
        events = all_events(pool)
    for task, ticket in enumerate(tickets):
        assert [event for event in events if event.ticket == ticket] == [
            *(Item(ticket, task + step) for step in range(3)),
            Finished(ticket),
        ]


@in_a_fresh_process
def test_tasks_are_begun_in_the_order_of_submission() -> None:
    def run(task: int) -> Iterator[int]:
        yield task

    with Processes(run, 1) as pool:
        for task in range(50):
            pool.submit(task)
        assert [event.value for event in all_events(pool) if isinstance(event, Item)] == list(range(50))


@in_a_fresh_process
def test_a_value_is_sent_while_its_task_goes_on() -> None:
    with Processes(tell_and_hang, 1) as pool:
        ticket = pool.submit("hang")
        (event,) = pool.events()
        assert isinstance(event, Item)
        assert event.ticket == ticket
        assert pool.outstanding == 1


@in_a_fresh_process
def test_values_leave_without_being_flushed_when_they_take_long() -> None:
    def run(_task: None) -> Iterator[int]:
        for value in range(2):
            until = time.monotonic() + 0.03
            while time.monotonic() < until:
                pass
            yield value
        signal.pause()

    with Processes(run, 1) as pool:
        pool.submit(None)
        assert first_items(pool, 2) == [0, 1]


@in_a_fresh_process
def test_what_came_of_a_long_step_does_not_wait_for_the_end_of_the_next() -> None:
    def run(_task: None) -> Iterator[int]:
        with deadline(None):
            until = time.monotonic() + 0.03
            while time.monotonic() < until:
                pass
        yield from range(3)  # as of a fit that serves three candidates
        with deadline(None):
            signal.pause()

    with Processes(run, 1) as pool:
        pool.submit(None)
        assert first_items(pool, 3) == [0, 1, 2]


@in_a_fresh_process
def test_tasks_and_values_larger_than_any_buffer_pass_each_other() -> None:
    def run(task: bytes) -> Iterator[bytes]:
        yield from [task] * 3

    with Processes(run, 2) as pool:
        tickets = [pool.submit(bytes([number]) * 3_000_000) for number in range(8)]
        events = all_events(pool)
    for number, ticket in enumerate(tickets):
        assert values_of(events, ticket) == [bytes([number]) * 3_000_000] * 3


@in_a_fresh_process
def test_what_a_task_prints_is_not_lost() -> None:
    read, write = os.pipe()
    os.dup2(write, 1)  # buffered in blocks, as in a pod

    def run(task: str) -> Iterator[None]:
        print(task)  # noqa: T201  as an estimator that is verbose
        yield None

    with Processes(run, 1) as pool:
        pool.submit("hello")
        all_events(pool)
        assert os.read(read, 100) == b"hello\n"


# ---- how many are at work ----


@in_a_fresh_process
def test_idle_workers_and_outstanding_tasks_are_counted() -> None:
    with Processes(tell_and_hang, 2) as pool:
        counts = [(pool.idle, pool.outstanding)]
        for _ in range(3):
            pool.submit("hang")
            counts.append((pool.idle, pool.outstanding))
    assert counts == [(2, 0), (1, 1), (0, 2), (0, 3)]


@in_a_fresh_process
def test_what_it_takes_to_fork_is_the_least_that_it_took_so_many() -> None:
    def run(task: int) -> Iterator[int]:
        yield task

    told = [seconds_to_fork(2)]
    for _ in range(3):
        with Processes(run, 2):
            pass
        told.append(seconds_to_fork(2))
    assert told[0] == 0 < told[1]
    assert told[1:] == sorted(told[1:], reverse=True)
    assert seconds_to_fork(1) == 0


@in_a_fresh_process
def test_nobody_waits_for_nothing() -> None:
    with Processes(tell_and_hang, 1) as pool:
        assert pool.events() == []


@in_a_fresh_process
def test_waiting_ends_when_the_time_is_up() -> None:
    with Processes(tell_and_hang, 1) as pool:
        pool.submit("hang")
        first_items(pool, 1)
        assert pool.events(0.01) == []


# ---- exceptions ----


@in_a_fresh_process
def test_an_exception_arrives_with_its_traceback_after_what_was_yielded_and_the_worker_goes_on() -> None:
    def run(task: int) -> Iterator[int]:
        yield os.getpid()
        yield 1 // task

    with Processes(run, 1) as pool:
        bad, good = pool.submit(0), pool.submit(1)
        events = all_events(pool)
    raised = endings(events)[bad]
    assert isinstance(raised, Raised)
    assert isinstance(raised.exception, ZeroDivisionError)
    assert isinstance(raised.exception.__cause__, RemoteTraceback)
    assert "yield 1 // task" in str(raised.exception.__cause__)
    assert endings(events)[good] == Finished(good)
    assert values_of(events, good) == [*values_of(events, bad), 1]


@in_a_fresh_process
def test_an_exception_that_cannot_be_sent_arrives_as_its_repr() -> None:
    def run(task: Callable[[], Exception]) -> Iterator[None]:
        yield None
        raise task()

    with Processes(run, 1) as pool:
        tickets = [pool.submit(task) for task in (Unpicklable, one_of_two_arguments)]
        ended = endings(all_events(pool))
    for ticket, text in zip(tickets, ("Unpicklable()", "TwoArguments('1 2')"), strict=True):
        raised = ended[ticket]
        assert isinstance(raised, Raised)
        assert type(raised.exception) is RuntimeError
        assert str(raised.exception) == text
        assert "raise task()" in str(raised.exception.__cause__)


def one_of_two_arguments() -> Exception:
    return TwoArguments(1, 2)


@in_a_fresh_process
def test_a_value_that_cannot_be_sent_is_its_tasks_fault() -> None:
    def run(_task: None) -> Iterator[object]:
        yield lambda: None

    with Processes(run, 1) as pool:
        (event,) = (pool.submit(None), all_events(pool))[1]
    assert isinstance(event, Raised)
    assert isinstance(event.exception, pickle.PicklingError | AttributeError)


@in_a_fresh_process
def test_a_task_that_exits_has_failed_and_the_worker_goes_on() -> None:
    def run(_task: None) -> Iterator[int]:
        yield os.getpid()
        raise SystemExit(3)

    with Processes(run, 1) as pool:
        tickets = [pool.submit(None) for _ in range(2)]
        events = all_events(pool)
    assert all(
        isinstance(event, Raised) and isinstance(event.exception, SystemExit) for event in endings(events).values()
    )
    assert len({*values_of(events, tickets[0]), *values_of(events, tickets[1])}) == 1
