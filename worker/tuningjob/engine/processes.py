"""A pool of forked processes in which any worker may be killed at any time.

A fit in C cannot be asked to stop: one that takes too long is killed, and the pool goes on. ProcessPoolExecutor breaks when a
worker dies, and it would fork the next one from a parent that has threads by then; a child of such a parent hangs or crashes.
Here a *zygote* does the forking: a child with a single thread, made together with the pool, that holds what the workers inherit
and does nothing else.

::

    parent ── requests: a birth, a death's reason ──▶ zygote
       ▲                                                │ forks
       └──────── tasks, and what came of them ──────▶ worker, worker, …

A worker's death is the end of its connection: nobody but the worker itself has the other end open. The zygote dies with the
parent and the workers with the zygote, by the kernel (PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import gc
import heapq
import math
import mmap
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Final, Generic, NoReturn, Self, TypeAlias, TypeVar

from tuningjob.errors import WorkerDied

TaskT = TypeVar("TaskT")
ValueT = TypeVar("ValueT")

# So long a value may wait for others: a message for each that took a millisecond would cost the parent a twentieth of a core.
_COMPANY_SECONDS: Final = 0.02
# A task waits at a busy worker only if it surely fits into the socket: the worker does not read before it is done.
_AHEAD_BYTES: Final = 32 * 1024
_AT_ONE_WORKER: Final = 2  # one at work, and the next
_STILLBIRTHS: Final = 3
_SHORTEST_SECONDS: Final = 1e-6  # setitimer takes 0 for "never"
_PR_SET_PDEATHSIG: Final = 1
# jemalloc, which comes with pyarrow, which comes with pandas, stops its thread around a fork by itself (pthread_atfork).
_SAFE_THREADS: Final = frozenset({"jemalloc_bg_thd"})
_TICKET_BYTES: Final = 8
# A request is a place in which a worker is to be born, negated: answered by its process id or a negated errno; or the process id
# of a dead one: answered by its exit code.
_NUMBER: Final = struct.Struct("=i")

_Task = tuple[int, bytes]  # ticket, pickled task
_Error = tuple[bytes, str]  # pickled exception, its traceback as text
_Message = tuple[int, list[bytes], bool, _Error | None]  # ticket, pickled values, whether it has ended, why it failed
_Work: TypeAlias = "Callable[[int, _WorkersEnd], None]"  # what a worker does, given its place
_ParentsEnd: TypeAlias = "Connection[_Task, _Message]"
_WorkersEnd: TypeAlias = "Connection[_Message, _Task]"


@dataclass(frozen=True)
class Item(Generic[ValueT]):
    """A task has yielded this."""

    ticket: int
    value: ValueT


@dataclass(frozen=True)
class Finished:
    """A task is done: all its items have been told."""

    ticket: int


@dataclass(frozen=True)
class Raised:
    """A task has ended by an exception. Its ``__cause__`` shows the traceback in the worker."""

    ticket: int
    exception: BaseException


@dataclass(frozen=True)
class Died:
    """The worker died that was at this task. ``exitcode`` is negative for a signal, as in subprocess."""

    ticket: int
    exitcode: int

    @property
    def timed_out(self) -> bool:
        """It was killed by a ``deadline``."""
        return self.exitcode == -signal.SIGALRM

    def __str__(self) -> str:
        return how(self.exitcode)


Event = Item[ValueT] | Finished | Raised | Died


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a worker: its traceback there, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class Processes(Generic[TaskT, ValueT]):
    """``count`` forked workers that call ``run`` for each task; they are there when the constructor returns.

    ``run`` is inherited, never pickled: what it refers to is shared copy-on-write. Tasks, values and exceptions are pickled.
    Raises RuntimeError where ``may_fork`` is false. To be used in one thread; once it is made, the parent may have as many
    threads as it likes.
    """

    def __init__(self, run: Callable[[TaskT], Iterator[ValueT]], count: int) -> None:
        if not may_fork():
            raise RuntimeError("a process that has threads (or is not on Linux) must not be forked: see may_fork()")
        self.outstanding = 0
        self._count = count
        self._tickets = 0
        self._waiting: list[_Task] = []  # a heap: what comes back from a dead worker is older than the rest
        self._workers: list[_Worker] = []
        self._missing = [_Missing(place) for place in range(count)]
        # The ticket that each worker has begun, written by the worker: shared memory does not die with it.
        self._begun = memoryview(mmap.mmap(-1, count * _TICKET_BYTES)).cast("q")
        self._selector = selectors.PollSelector()  # unlike epoll it has no descriptor to be inherited
        self._zygote = _Zygote(lambda place, connection: _work(connection, run, self._begun[place : place + 1]))
        try:
            self._fill_up()
        except BaseException:
            self.close()
            raise

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
        """Have a task done; returns the ticket that its events carry. Tasks are begun in the order of submission.

        Workers that are all busy are given one task more each, so that none waits for the parent. Whoever would rather see a
        task taken by the first that is free submits while ``idle``.
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
        """End all processes now, whatever they are at. Nothing of them is left when this returns."""
        self._zygote.close()
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._missing.clear()
        self._waiting.clear()
        self.outstanding = 0
        self._selector.close()

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
        begun = self._begun[worker.place]
        stillbirths = 0 if begun else worker.stillbirths + 1
        # Replaced only when the caller comes back: should that fail, it has been told all else before.
        self._missing.append(_Missing(worker.place, stillbirths, exitcode))
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
            self._begun[missing.place] = 0
            pid, connection = self._zygote.birth(missing.place)
            worker = _Worker(pid, connection, missing.place, missing.stillbirths)
            self._workers.append(worker)
            self._selector.register(connection, selectors.EVENT_READ, worker)
            self._missing.pop()
        self._feed()


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


def flush() -> None:
    """Have what the task has yielded so far sent to the parent now. Outside of a worker: nothing.

    For use in ``run``, before a step that may take long or be fatal. Values are collected otherwise: they are sent with the
    first one that comes later than 20 ms after the last sending, and when the task ends.
    """
    if _outbox is not None:
        _outbox.flush()


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """The block, a step that may take long, must not take longer than this; None: as long as it likes.

    In a worker the kernel kills the process, since code in C does not listen; what was yielded before is sent first, so the
    parent sees it, and then Died with ``timed_out``. Elsewhere nobody may be killed: in the main thread Python code is
    interrupted by TimeoutError, in another thread there is no deadline. Deadlines nest: the earlier one holds.
    """
    if _outbox is not None:
        _outbox.step()
    if seconds is None or (_outbox is None and threading.current_thread() is not threading.main_thread()):
        yield
        return
    flush()
    before = signal.signal(signal.SIGALRM, _raise_timeout if _outbox is None else signal.SIG_DFL)
    try:
        with _alarm(seconds):
            yield
    finally:
        # None: a handler that is not Python's, which signal() cannot put back
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """SIGALRM if the block takes too long. One that was on its way already comes at its time, or right after the block."""
    began = time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_REAL, max(min(seconds, outer or math.inf), _SHORTEST_SECONDS))
    try:
        yield
    finally:
        left = max(outer - (time.monotonic() - began), _SHORTEST_SECONDS) if outer else 0
        signal.setitimer(signal.ITIMER_REAL, left)


def _raise_timeout(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError("the deadline has passed")


def how(exitcode: int) -> str:
    """How a process ended. Only SIGKILL comes from outside: mostly from a kernel that is short of memory."""
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    if exitcode == -signal.SIGKILL:
        return "was killed by SIGKILL, mostly for lack of memory"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-exitcode}"


# ---- in the parent: its view of the others ----


@dataclass(frozen=True)
class _Missing:
    """A worker's empty place: how many in a row have died in it without having begun a task, and how the last one did."""

    place: int
    stillbirths: int = 0
    exitcode: int = 0


@dataclass(eq=False)
class _Worker:
    pid: int
    connection: _ParentsEnd
    place: int
    stillbirths: int
    tasks: deque[_Task] = field(default_factory=deque)

    def give(self, task: _Task) -> None:
        self.tasks.append(task)
        # one that has just died is found out by the end of its connection
        with contextlib.suppress(OSError):
            self.connection.send(task)


class _Zygote:
    def __init__(self, work: _Work) -> None:
        # each request and each answer is a packet: nothing to be cut or joined
        self._control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()

        def zygote() -> None:
            self._control.close()
            _serve(its_end, work, parent)

        # what is buffered here would be written by every child once more
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._pid = _fork(zygote)
        its_end.close()

    def birth(self, place: int) -> tuple[int, _ParentsEnd]:
        """Have a worker forked: its process id and the way to it."""
        try:
            self._control.send(_NUMBER.pack(-place))
            answer, fds, _, _ = socket.recv_fds(self._control, _NUMBER.size, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            answer = b""
        if not answer:
            raise WorkerDied("the process that forks the worker processes was killed from outside")
        (pid,) = _NUMBER.unpack(answer)
        if pid < 0:
            raise WorkerDied(f"no worker process could be forked: {os.strerror(-pid)}")
        return pid, Connection(fds[0])

    def reap(self, pid: int) -> int:
        """The exit code of a worker whose connection has ended."""
        try:
            self._control.send(_NUMBER.pack(pid))
            answer = self._control.recv(_NUMBER.size)
        except OSError:
            answer = b""
        # without a zygote it was the kernel that killed the worker
        return int(_NUMBER.unpack(answer)[0]) if answer else -signal.SIGKILL

    def close(self) -> None:
        """End the zygote and all workers; wait for them."""
        # Not only close(): another pool's zygote may have inherited this end, and would keep it open.
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        with contextlib.suppress(ChildProcessError):  # waited for already, here or by one who waits for all
            os.waitpid(self._pid, 0)


def _revived(error: _Error) -> BaseException:
    pickled, text = error
    exception: BaseException = pickle.loads(pickled)  # noqa: S301  our own worker's
    exception.__cause__ = RemoteTraceback(text)
    return exception


# ---- in the zygote ----


def _fork(child: Callable[[], None]) -> int:
    """Fork a process that does this and nothing else: it never comes back into its parent's frames."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        child()
        code = 0
    except BaseException:  # noqa: BLE001  this is the outermost frame
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(control: socket.socket, work: _Work, parent: int) -> None:
    """Fork workers and tell of their deaths, as the parent asks; at its end, end them all."""
    _die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)  # an event loop's, in the parent
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  open as long as the process lives
    gc.freeze()  # the workers' collector would write to every object, and so copy every page
    workers: set[int] = set()
    while request := control.recv(_NUMBER.size):
        (number,) = _NUMBER.unpack(request)
        if number <= 0:
            workers |= _give_birth(control, work, -number)
        else:
            control.send(_NUMBER.pack(_end(number)))
            workers.remove(number)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        os.waitpid(pid, 0)


def _give_birth(control: socket.socket, work: _Work, place: int) -> set[int]:
    """The worker that was forked, if one could be."""
    parents_end, its_end = socket.socketpair()
    zygote = os.getpid()

    def worker() -> None:
        _die_with(zygote)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        control.close()
        parents_end.close()
        connection: _WorkersEnd = Connection(its_end.detach())
        # a process that an estimator forks must not keep it open beyond the worker's death
        os.register_at_fork(after_in_child=connection.close)
        work(place, connection)

    with parents_end, its_end:
        try:
            pid = _fork(worker)
        except OSError as error:
            control.send(_NUMBER.pack(-(error.errno or 1)))
            return set()
        socket.send_fds(control, [_NUMBER.pack(pid)], [parents_end.fileno()])
        return {pid}


def _end(pid: int) -> int:
    """Wait for a worker whose connection has ended: its exit code."""
    # It has its exit code by now, which a signal does not change; one that has only lost its connection is of no use.
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _die_with(parent: int) -> None:
    """A parent that is killed takes this process along: nobody would take its results."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# ---- in a worker ----


class _Outbox:
    """What a worker has to tell about the task it is at."""

    def __init__(self, connection: _WorkersEnd) -> None:
        self._connection = connection
        self._ticket = 0
        self._values: list[bytes] = []
        self._sent = 0.0
        self._stepped = 0.0

    def begin(self, ticket: int) -> None:
        self._ticket = ticket
        self._sent = self._stepped = time.monotonic()

    def step(self) -> None:
        """Another step begins. If the one before was long, this may be, too: what has come is not to wait for it."""
        now = time.monotonic()
        if now - self._stepped >= _COMPANY_SECONDS:
            self.flush()
        self._stepped = now

    def add(self, value: object) -> None:
        self._values.append(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        if time.monotonic() - self._sent >= _COMPANY_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._values:
            self._send(ended=False)

    def end(self, error: _Error | None) -> None:
        self._send(ended=True, error=error)

    def _send(self, *, ended: bool, error: _Error | None = None) -> None:
        try:
            self._connection.send((self._ticket, self._values, ended, error))
        except OSError:  # the parent has gone, and this process is about to be killed
            os._exit(1)
        self._values = []
        self._sent = time.monotonic()


_outbox: _Outbox | None = None  # there is one in a worker only


def _work(connection: _WorkersEnd, run: Callable[[TaskT], Iterator[ValueT]], begun: memoryview) -> None:
    global _outbox  # noqa: PLW0603  flush() and deadline() are called from deep inside of run
    _outbox = _Outbox(connection)
    while True:
        try:
            ticket, payload = connection.recv()
        except (EOFError, OSError):
            return
        begun[0] = ticket
        _outbox.begin(ticket)
        error = None
        try:
            for value in run(pickle.loads(payload)):  # noqa: S301  our own parent's
                _outbox.add(value)
        except BaseException as exception:  # noqa: BLE001  a task that calls sys.exit() has failed; the worker goes on
            error = _packed(exception)
        # it will be killed one day, and what is still buffered would be lost
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _outbox.end(error)


def _packed(exception: BaseException) -> _Error:
    text = "".join(traceback.format_exception(exception))
    try:
        pickled = pickle.dumps(exception)
        pickle.loads(pickled)  # noqa: S301  some can be pickled, but not made again
    except Exception:  # noqa: BLE001  pickling calls the exception's own code, which may raise anything
        pickled = pickle.dumps(RuntimeError(repr(exception)))
    return pickled, text
