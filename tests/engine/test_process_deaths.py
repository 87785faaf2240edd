"""Forked processes that are killed at any time, that run out of time, and that end. Real ones, real signals."""

import contextlib
import gc
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.fresh import ROOT, command, in_a_fresh_process
from tests.engine.pools import (
    all_events,
    busy_in_c,
    descriptors,
    endings,
    first_items,
    spin,
    tell_and_hang,
    values_of,
)
from tuningjob.engine.processes import (
    Died,
    Finished,
    Item,
    Processes,
    deadline,
    flush,
    may_fork,
)
from tuningjob.errors import WorkerDied

# ---- deaths ----


@in_a_fresh_process
def test_a_killed_worker_loses_only_the_task_that_it_was_at() -> None:
    with Processes(tell_and_hang, 1) as pool:
        lost, behind = pool.submit("hang"), pool.submit(None)
        (killed,) = first_items(pool, 1)
        os.kill(killed, signal.SIGKILL)
        events = all_events(pool)
    assert endings(events) == {lost: Died(lost, -signal.SIGKILL), behind: Finished(behind)}
    assert str(endings(events)[lost]) == "was killed by SIGKILL, mostly for lack of memory"
    assert values_of(events, behind) != [killed]


@in_a_fresh_process
def test_the_others_go_on_while_one_is_replaced() -> None:
    with Processes(tell_and_hang, 2) as pool:
        lost = pool.submit("hang")
        (killed,) = first_items(pool, 1)
        before = [pool.submit(None) for _ in range(10)]
        os.kill(killed, signal.SIGKILL)
        after = [pool.submit(None) for _ in range(10)]
        ended = endings(all_events(pool))
    assert ended == {lost: Died(lost, -signal.SIGKILL)} | {ticket: Finished(ticket) for ticket in before + after}


@in_a_fresh_process
def test_what_was_yielded_is_told_before_the_death() -> None:
    def run(_task: None) -> Iterator[int]:
        yield from range(5)
        flush()
        os._exit(7)

    with Processes(run, 1) as pool:
        ticket = pool.submit(None)
        assert all_events(pool) == [*(Item(ticket, value) for value in range(5)), Died(ticket, 7)]


@in_a_fresh_process
def test_a_worker_that_is_killed_amid_a_message_has_died() -> None:
    def run(_task: None) -> Iterator[bytes]:
        yield b"small"
        flush()
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            yield bytes(50_000_000)

    with Processes(run, 1) as pool:
        ticket = pool.submit(None)
        events = all_events(pool)
    assert events[0] == Item(ticket, b"small")
    assert events[-1] == Died(ticket, -signal.SIGKILL)


@in_a_fresh_process
def test_a_worker_that_is_killed_when_it_has_nothing_to_do_is_replaced_silently() -> None:
    with Processes(tell_and_hang, 1) as pool:
        pool.submit(None)
        (first,) = values_of(all_events(pool), 1)
        with awaited_end(first):
            os.kill(first, signal.SIGKILL)
        ticket = pool.submit(None)
        events = all_events(pool)
    assert endings(events) == {ticket: Finished(ticket)}
    assert values_of(events, ticket) != [first]


@in_a_fresh_process
def test_a_process_that_a_task_has_forked_does_not_hide_its_death() -> None:
    def run(_task: None) -> Iterator[int]:
        child = os.fork()
        if not child:
            while True:
                signal.pause()
        yield child
        flush()
        os.kill(os.getpid(), signal.SIGKILL)

    with Processes(run, 1) as pool:
        ticket = pool.submit(None)
        item, died = all_events(pool)
        assert isinstance(item, Item)
        os.kill(item.value, signal.SIGKILL)
    assert died == Died(ticket, -signal.SIGKILL)


@in_a_fresh_process
def test_any_number_of_tasks_may_kill_their_workers() -> None:
    def run(task: int) -> Iterator[int]:
        yield task
        os._exit(task)

    with Processes(run, 2) as pool:
        tickets = [pool.submit(task) for task in range(10)]
        ended = endings(all_events(pool))
    assert ended == {ticket: Died(ticket, task) for task, ticket in enumerate(tickets)}


@in_a_fresh_process
def test_the_pool_gives_up_when_workers_die_at_birth() -> None:
    zygote_is_made = False
    parent = os.getpid()

    def die_at_birth() -> None:
        if zygote_is_made and os.getppid() != parent:
            os._exit(5)

    os.register_at_fork(before=lambda: None, after_in_child=die_at_birth)
    zygote_is_made = True
    with Processes(tell_and_hang, 1) as pool:
        pool.submit(None)
        with pytest.raises(WorkerDied, match=r"3 worker processes.* exited with code 5"):
            all_events(pool)


@in_a_fresh_process
def test_the_pool_says_so_when_the_process_that_forks_was_killed() -> None:
    def run(_task: None) -> Iterator[int]:
        yield os.getppid()
        flush()
        signal.pause()

    with Processes(run, 1) as pool:
        ticket = pool.submit(None)
        (zygote,) = first_items(pool, 1)
        os.kill(zygote, signal.SIGKILL)
        assert pool.events() == [Died(ticket, -signal.SIGKILL)]
        pool.submit(None)
        with pytest.raises(WorkerDied, match="was killed from outside"):
            pool.events()


@in_a_fresh_process
def test_ctrl_c_is_the_parents_alone() -> None:
    def run(_task: None) -> Iterator[str]:
        for pid in (os.getpid(), os.getppid()):
            os.kill(pid, signal.SIGINT)
        yield "goes on"

    with Processes(run, 1) as pool:
        ticket = pool.submit(None)
        assert all_events(pool) == [Item(ticket, "goes on"), Finished(ticket)]


# ---- deadlines ----


@in_a_fresh_process
def test_a_deadline_ends_what_does_not_listen_and_what_was_yielded_is_told() -> None:
    ends_at_the_deadline(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1))


@in_a_fresh_process
def test_a_deadline_ends_what_does_not_let_go_of_the_interpreter() -> None:
    ends_at_the_deadline(lambda: sum(range(10**15)))


def ends_at_the_deadline(block: Callable[[], object]) -> None:
    def run(task: str) -> Iterator[str]:
        yield task
        if task == "long":
            with deadline(0.05):
                block()

    with Processes(run, 1) as pool:
        long, short = pool.submit("long"), pool.submit("short")
        events = all_events(pool)
    assert events == [Item(long, "long"), Died(long, -signal.SIGALRM), Item(short, "short"), Finished(short)]
    assert [event.timed_out for event in events if isinstance(event, Died)] == [True]


@in_a_fresh_process
def test_what_is_in_time_leaves_no_alarm_behind() -> None:
    def run(seconds: float | None) -> Iterator[float]:
        with deadline(seconds):
            yield signal.getitimer(signal.ITIMER_REAL)[0]
        yield signal.getitimer(signal.ITIMER_REAL)[0]

    with Processes(run, 1) as pool:
        timed, free = pool.submit(100), pool.submit(None)
        events = all_events(pool)
    within, after = values_of(events, timed)
    assert 0 < within <= 100
    assert after == 0
    assert values_of(events, free) == [0, 0]


@in_a_fresh_process
def test_an_outer_deadline_holds_within_and_after_an_inner_one() -> None:
    def run(task: str) -> Iterator[str]:
        with deadline(0.05):
            with deadline(1000):
                if task == "within":
                    busy_in_c()
            yield task
            busy_in_c()

    with Processes(run, 2) as pool:
        within, after = pool.submit("within"), pool.submit("after")
        events = all_events(pool)
    assert endings(events) == {ticket: Died(ticket, -signal.SIGALRM) for ticket in (within, after)}


def test_without_a_pool_a_deadline_interrupts_python_and_puts_everything_back() -> None:
    def mine(*_: object) -> None:
        raise AssertionError("the alarm of somebody else came too early")

    before = signal.signal(signal.SIGALRM, mine)
    timer = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with pytest.raises(TimeoutError), deadline(0.01):
            spin()
        assert signal.getsignal(signal.SIGALRM) is mine
        assert 990 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def test_without_a_pool_no_time_at_all_is_a_deadline_as_well() -> None:
    with pytest.raises(TimeoutError), deadline(0):
        spin()


def test_in_a_thread_there_is_no_deadline() -> None:
    passed = []

    def block() -> None:
        with deadline(0):
            passed.append(signal.getitimer(signal.ITIMER_REAL))

    before = signal.getsignal(signal.SIGALRM)
    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert len(passed) == 1
    assert signal.getsignal(signal.SIGALRM) is before


# ---- the end ----


@contextlib.contextmanager
def awaited_end(*pids: int) -> Iterator[None]:
    """Within this block these processes are told to end; wait until they have."""
    fds = [os.pidfd_open(pid) for pid in pids]
    yield
    for fd in fds:
        assert select.select([fd], [], [], 30)[0], "still alive"
        os.close(fd)


@in_a_fresh_process
def test_closing_amid_the_work_leaves_no_process_and_no_descriptor() -> None:
    def run(_task: None) -> Iterator[tuple[int, int]]:
        yield os.getpid(), os.getppid()
        flush()
        busy_in_c()

    gc.collect()
    before = descriptors()
    with Processes(run, 3) as pool:
        for _ in range(9):
            pool.submit(None)
        pids = {pid for pids in first_items(pool, 3) for pid in pids}
        assert len(pids) == 4
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert descriptors() == before
    assert pool.events() == []
    pool.close()


@in_a_fresh_process
def test_pools_may_be_closed_in_any_order() -> None:
    first, second = Processes(tell_and_hang, 1), Processes(tell_and_hang, 1)
    first.submit("hang")
    first.close()
    ticket = second.submit(None)
    assert endings(all_events(second)) == {ticket: Finished(ticket)}
    second.close()


@in_a_fresh_process
def test_deaths_leave_no_descriptor_in_the_parent_nor_in_the_workers() -> None:
    def run(task: str) -> Iterator[int]:
        if task == "die":
            os._exit(1)
        yield len(descriptors())

    with Processes(run, 1) as pool:
        one = pool.submit("count")
        before = values_of(all_events(pool), one), descriptors()
        for _ in range(5):
            pool.submit("die")
        all_events(pool)
        one = pool.submit("count")
        after = values_of(all_events(pool), one), descriptors()
    assert before[0] == after[0]
    assert len(before[1]) == len(after[1])


def hang_until_killed() -> None:
    def run(_task: None) -> Iterator[int]:
        yield from (os.getppid(), os.getpid())

    with Processes(run, 1) as pool:
        pool.submit(None)
        pids = first_items(pool, 2)
        sys.stdout.write(f"{' '.join(map(str, pids))}\n")
        sys.stdout.flush()
        signal.pause()


@pytest.mark.slow
def test_a_parent_that_is_killed_takes_everyone_along() -> None:
    with subprocess.Popen(
        command(__name__, "hang_until_killed"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        with awaited_end(*pids):
            parent.kill()


# ---- forking ----


@pytest.mark.slow
@in_a_fresh_process
def test_what_run_refers_to_is_shared() -> None:
    X = b"1" * 200_000_000

    def private_bytes() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))

    def run(_task: None) -> Iterator[int]:
        yield X.count(b"1")
        gc.collect()
        yield private_bytes()

    with Processes(run, 2) as pool:
        ticket = pool.submit(None)
        total, private = values_of(all_events(pool), ticket)
    assert total == len(X)
    assert private < 20_000_000


@in_a_fresh_process
def test_only_a_process_with_a_single_thread_may_be_forked() -> None:
    assert may_fork()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert not may_fork()
        with pytest.raises(RuntimeError, match="threads"):
            Processes(tell_and_hang, 1)
    finally:
        end.set()
        thread.join()


@in_a_fresh_process
def test_workers_are_replaced_when_the_parent_has_threads() -> None:
    with Processes(tell_and_hang, 1) as pool:
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        try:
            lost, behind = pool.submit("hang"), pool.submit(None)
            os.kill(first_items(pool, 1)[0], signal.SIGKILL)
            assert set(endings(all_events(pool))) == {lost, behind}
        finally:
            end.set()
            thread.join()
