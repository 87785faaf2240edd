"""The pool in the process that submits tasks: it has a zygote (a fork server) and workers."""

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

# A task is sent to a busy worker only if it surely fits into the socket, because a busy worker does not read.
_AHEAD_BYTES: Final = 32 * 1024
_AT_ONE_WORKER: Final = 2  # the task at work, and the next
_STILLBIRTHS: Final = 3
# jemalloc, which pandas brings in with pyarrow, stops its own thread around a fork (pthread_atfork).
_SAFE_THREADS: Final = frozenset({"jemalloc_bg_thd"})
_TICKET_BYTES: Final = 8
# By the number of workers: the fewest seconds that it took to fork and end them. They depend on this process' memory.
_fewest_seconds: dict[int, float] = {}


class Processes(Generic[TaskT, ValueT]):
    """A pool of ``count`` forked workers that call ``run`` for each task; they exist when the constructor returns.

    ``run`` is inherited, never pickled, and its objects are shared copy-on-write. Tasks, values and exceptions are pickled.
    Raises RuntimeError if ``may_fork`` is false. Only one thread may use the pool; once it is made, the parent may have others.
    """

    def __init__(self, run: Callable[[TaskT], Iterator[ValueT]], count: int) -> None:
        if not may_fork():
            raise RuntimeError("a process that has threads (or is not on Linux) must not be forked: see may_fork()")
        began = time.monotonic()
        self._seconds_to_make: float | None = None
        self.outstanding = 0
        self._count = count
        self._tickets = 0
        self._waiting: list[Task] = []  # a heap: a dead worker's task is older than the rest
        self._workers: list[_Worker] = []
        self._missing = [_Missing(slot) for slot in range(count)]
        # Each worker writes the ticket that it has begun here, because shared memory outlives the worker.
        self._begun = memoryview(mmap.mmap(-1, count * _TICKET_BYTES)).cast("q")
        self._selector = selectors.PollSelector()  # unlike epoll it has no descriptor that children inherit
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
        """The number of workers that would begin a task at once if it were submitted now."""
        busy = sum(1 for worker in self._workers if worker.tasks)
        return max(self._count - busy - len(self._waiting), 0)

    def submit(self, task: TaskT) -> int:
        """Submit a task; returns the ticket that its events carry. Tasks are begun in the order of submission.

        If all workers are busy, each is given one more task, so that none waits for the parent. A caller that wants the first
        free worker to take a task submits only while ``idle`` is above 0.
        """
        payload = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        self._tickets += 1
        heapq.heappush(self._waiting, (self._tickets, payload))
        self.outstanding += 1
        self._feed()
        return self._tickets

    def events(self, timeout: float | None = None) -> "list[Event[ValueT]]":
        """Wait for events from workers; [] if none came within ``timeout`` seconds, or if no task is outstanding.

        A task's items come in their order, then one Finished, Raised or Died. A dead worker is replaced, and a task that waited
        behind the lost one goes to another worker. Raises WorkerDied if workers cannot be replaced.
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
        """End all processes at once; none is left when this returns, or when it raises KeyboardInterrupt."""
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
        except (EOFError, OSError):  # it died between two messages, or in the middle of one
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
        # The worker is replaced at the next call: if that fails, the caller already has all other events.
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
    """The fewest seconds in which this process has forked and ended ``count`` workers; 0 if it never has."""
    return _fewest_seconds.get(count, 0.0)


def may_fork() -> bool:
    """Whether this process runs on Linux with a single thread: a child of any other process can hang or crash.

    The kernel's threads count, also those that an OpenMP or BLAS library has started.
    """
    return sys.platform == "linux" and len(threads()) == 1


def threads() -> dict[int, str]:
    """The names of this process' kernel threads by their numbers, without threads that are harmless in a fork.

    Without /proc the result is empty: not even the main thread is found.
    """
    found = {}
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            found[int(thread.name)] = (thread / "comm").read_text().strip()
    return {number: name for number, name in found.items() if name not in _SAFE_THREADS}


@dataclass(frozen=True)
class _Missing:
    """A worker's empty slot: how many workers in a row died in it before they began a task, and how the last one died."""

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
        # a worker that has just died is noticed by the end of its connection
        with contextlib.suppress(OSError):
            self.connection.send(task)


class _Zygote:
    def __init__(self, work: WorkOf) -> None:
        # packets, because a stream could cut or join messages
        self._control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()

        def zygote() -> None:
            self._control.close()
            fork_workers(its_end, work, parent)

        # each child would write buffered output once more
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._pid = fork(zygote)
        its_end.close()

    def birth(self, slot: int) -> tuple[int, ParentsEnd]:
        """Have the zygote fork a worker; returns its process id and the connection to it."""
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
        """Have the zygote reap a worker whose connection has ended; returns its exit code."""
        try:
            self._control.send(REQUEST.pack(Request.REAP, pid))
            answer = self._control.recv(ANSWER.size)
        except OSError:
            answer = b""
        # without a zygote the kernel has killed the worker
        return int(ANSWER.unpack(answer)[0]) if answer else -signal.SIGKILL

    def close(self) -> None:
        """End the zygote and all workers, and wait for them."""
        # close() alone is not enough: another pool's zygote may have inherited this end, and would keep it open.
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        with contextlib.suppress(ChildProcessError):  # already waited for, here or by code that waits for every child
            os.waitpid(self._pid, 0)


def _revived(error: Error) -> BaseException:
    pickled, text = error
    exception: BaseException = pickle.loads(pickled)  # noqa: S301  our own worker's
    exception.__cause__ = RemoteTraceback(text)
    return exception
