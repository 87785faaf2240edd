"""The pool as the process sees it that submits tasks: the zygote (a fork server) and the workers."""

import contextlib
import heapq
import math
import mmap
import os
import pickle
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Generic, Self

from tuningjob.engine.interrupts import to_the_end
from tuningjob.engine.processes.protocol import (
    ANSWER,
    REQUEST,
    Died,
    Error,
    Event,
    Finished,
    Item,
    ParentsEnd,
    Raised,
    RemoteTraceback,
    Request,
    Task,
    TaskT,
    ValueT,
    WorkOf,
    how,
)
from tuningjob.engine.processes.worker import do_tasks
from tuningjob.engine.processes.zygote import fork, fork_workers
from tuningjob.errors import WorkerDied

# A task is sent to a busy worker only if it surely fits into the socket, because the worker reads only when it is done.
_AHEAD_BYTES: Final = 32 * 1024
_AT_ONE_WORKER: Final = 2  # the task at work, and the next
_STILLBIRTHS: Final = 3
# jemalloc, which comes with pyarrow, which comes with pandas, stops its thread around a fork by itself (pthread_atfork).
_SAFE_THREADS: Final = frozenset({"jemalloc_bg_thd"})
_TICKET_BYTES: Final = 8
# By how many: the fewest seconds that it took to have workers and to end them. It depends on what is in memory here.
_fewest_seconds: dict[int, float] = {}


class Processes(Generic[TaskT, ValueT]):
    """``count`` forked workers that call ``run`` for each task; they are there when the constructor returns.

    ``run`` is inherited, never pickled: what it refers to is shared copy-on-write. Tasks, values and exceptions are pickled.
    Raises RuntimeError where ``may_fork`` is false. To be used in one thread; once it is made, the parent may have as many
    threads as it likes.
    """

    def __init__(self, run: Callable[[TaskT], Iterator[ValueT]], count: int) -> None:
        if not may_fork():
            raise RuntimeError("a process that has threads (or is not on Linux) must not be forked: see may_fork()")
        began = time.monotonic()
        self._seconds_to_make: float | None = None
        self.outstanding = 0
        self._count = count
        self._tickets = 0
        self._waiting: list[Task] = []  # a heap: what comes back from a dead worker is older than the rest
        self._workers: list[_Worker] = []
        self._missing = [_Missing(slot) for slot in range(count)]
        # The ticket that each worker has begun, written by the worker: shared memory does not die with it.
        self._begun = memoryview(mmap.mmap(-1, count * _TICKET_BYTES)).cast("q")
        self._selector = selectors.PollSelector()  # unlike epoll it has no descriptor to be inherited
        self._zygote = _Zygote(lambda slot, connection: do_tasks(connection, run, self._begun[slot : slot + 1], slot))
        try:
            self._fill_up()
        except BaseException:
            self.close()
            raise
        self._seconds_to_make = time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def idle(self) -> int:
        """How many workers have nothing to do: so many tasks, if submitted now, would be begun at once."""
        busy = sum(1 for worker in self._workers if worker.tasks)
        return max(self._count - busy - len(self._waiting), 0)

    def submit(self, task: TaskT) -> int:
        """Submit a task; returns the ticket that its events carry. Tasks are begun in the order of submission.

        Workers that are all busy are given one task more each, so that none waits for the parent. A caller that prefers the
        first free worker to take a task submits while ``idle``.
        """
        payload = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        self._tickets += 1
        heapq.heappush(self._waiting, (self._tickets, payload))
        self.outstanding += 1
        self._feed()
        return self._tickets

    def events(self, timeout: float | None = None) -> "list[Event[ValueT]]":
        """Wait until workers have said something; [] when the time is up, or when nothing is outstanding.

        A task's items come in their order, then one Finished, Raised or Died. A worker that died is replaced, and a task that
        waited behind the lost one is given to another. Raises WorkerDied when workers cannot be replaced.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        events: list[Event[ValueT]] = []
        while self.outstanding and not events:
            self._fill_up()
            left = max(until - time.monotonic(), 0)
            ready = self._selector.select(None if left == math.inf else left)
            if not ready:
                break
            for key, _ in ready:
                events += self._hear(key.data)
            self._feed()
        return events

    def close(self) -> None:
        """End all processes at once. None of them is left when this returns, or when it raises Ctrl-C."""
        to_the_end(self._close)

    def _close(self) -> None:
        began = time.monotonic()
        self._zygote.close()
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._missing.clear()
        self._waiting.clear()
        self.outstanding = 0
        self._selector.close()
        if self._seconds_to_make is not None:
            seconds = self._seconds_to_make + time.monotonic() - began
            _fewest_seconds[self._count] = min(seconds, _fewest_seconds.get(self._count, seconds))
            self._seconds_to_make = None

    def _feed(self) -> None:
        while self._waiting and self._workers:
            worker = min(self._workers, key=lambda worker: len(worker.tasks))
            _, payload = self._waiting[0]
            if len(worker.tasks) >= _AT_ONE_WORKER or (worker.tasks and len(payload) > _AHEAD_BYTES):
                return
            worker.give(heapq.heappop(self._waiting))

    def _hear(self, worker: "_Worker") -> "Iterator[Event[ValueT]]":
        try:
            ticket, values, ended, error = worker.connection.recv()
        except (EOFError, OSError):  # between two messages, or amid one
            yield from self._bury(worker)
            return
        for value in values:
            yield Item(ticket, pickle.loads(value))  # noqa: S301  our own worker's
        if ended:
            worker.tasks.popleft()
            self.outstanding -= 1
            yield Finished(ticket) if error is None else Raised(ticket, _revived(error))

    def _bury(self, worker: "_Worker") -> Iterator[Died]:
        self._selector.unregister(worker.connection)
        worker.connection.close()
        self._workers.remove(worker)
        exitcode = self._zygote.reap(worker.pid)
        begun = self._begun[worker.slot]
        stillbirths = 0 if begun else worker.stillbirths + 1
        # Replaced only when the caller comes back: should that fail, it has been told all else before.
        self._missing.append(_Missing(worker.slot, stillbirths, exitcode))
        for task in worker.tasks:
            if task[0] == begun:
                self.outstanding -= 1
                yield Died(begun, exitcode)
            else:
                heapq.heappush(self._waiting, task)

    def _fill_up(self) -> None:
        while self._missing:
            missing = self._missing[-1]
            if missing.stillbirths >= _STILLBIRTHS:
                raise WorkerDied(
                    f"{_STILLBIRTHS} worker processes, each in the place of the one before, died before they had begun "
                    f"a task; the last one {how(missing.exitcode)}"
                )
            self._begun[missing.slot] = 0
            pid, connection = self._zygote.birth(missing.slot)
            worker = _Worker(pid, connection, missing.slot, missing.stillbirths)
            self._workers.append(worker)
            self._selector.register(connection, selectors.EVENT_READ, worker)
            self._missing.pop()
        self._feed()


def seconds_to_fork(count: int) -> float:
    """The fewest seconds that it took this process so far to have ``count`` workers and to end them; 0 if it never had."""
    return _fewest_seconds.get(count, 0.0)


def may_fork() -> bool:
    """Whether this process has a single thread, on Linux: a child forked from any other can hang or crash.

    Counts the kernel's threads: those of an OpenMP or BLAS library that has started count as well.
    """
    return sys.platform == "linux" and len(threads()) == 1


def threads() -> dict[int, str]:
    """The kernel's threads of this process by their numbers, with their names, without those that a fork can bear.

    Without /proc there are none to be seen, not even the main thread.
    """
    found = {}
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[int(thread.name)] = (thread / "comm").read_text().strip()
    return {number: name for number, name in found.items() if name not in _SAFE_THREADS}


@dataclass(frozen=True)
class _Missing:
    """A worker's empty slot: how many in a row have died in it without having begun a task, and how the last one did."""

    slot: int
    stillbirths: int = 0
    exitcode: int = 0


@dataclass(eq=False)
class _Worker:
    pid: int
    connection: ParentsEnd
    slot: int
    stillbirths: int
    tasks: deque[Task] = field(default_factory=deque)

    def give(self, task: Task) -> None:
        self.tasks.append(task)
        # one that has just died is found out by the end of its connection
        with contextlib.suppress(OSError):
            self.connection.send(task)


class _Zygote:
    def __init__(self, work: WorkOf) -> None:
        # packets: nothing to be cut or joined
        self._control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()

        def zygote() -> None:
            self._control.close()
            fork_workers(its_end, work, parent)

        # each child would write what is buffered here once more
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._pid = fork(zygote)
        its_end.close()

    def birth(self, slot: int) -> tuple[int, ParentsEnd]:
        """Have a worker forked; returns its process id and the connection to it."""
        try:
            self._control.send(REQUEST.pack(Request.FORK, slot))
            answer, fds, _, _ = socket.recv_fds(self._control, ANSWER.size, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            answer = b""
        if not answer:
            raise WorkerDied("the process that forks the worker processes was killed from outside")
        (pid,) = ANSWER.unpack(answer)
        if pid < 0:
            raise WorkerDied(f"no worker process could be forked: {os.strerror(-pid)}")
        return pid, Connection(fds[0])

    def reap(self, pid: int) -> int:
        """The exit code of a worker whose connection has ended."""
        try:
            self._control.send(REQUEST.pack(Request.REAP, pid))
            answer = self._control.recv(ANSWER.size)
        except OSError:
            answer = b""
        # without a zygote it was the kernel that killed the worker
        return int(ANSWER.unpack(answer)[0]) if answer else -signal.SIGKILL

    def close(self) -> None:
        """End the zygote and all workers; wait for them."""
        # Not only close(): another pool's zygote may have inherited this end, and would keep it open.
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        with contextlib.suppress(ChildProcessError):  # waited for already, here or by code that waits for every child
            os.waitpid(self._pid, 0)


def _revived(error: Error) -> BaseException:
    pickled, text = error
    exception: BaseException = pickle.loads(pickled)  # noqa: S301  our own worker's
    exception.__cause__ = RemoteTraceback(text)
    return exception
