"""A list of tasks that this process and a few forks of it take from until none is left: for work of some tenths of a second.

A pool costs a zygote, all its workers and their ends before the parent, which only waits, has any result. Here the parent works,
too, so two processes cost one fork. The price is that nobody watches: a task must not hang, print or draw.

A fork that dies, or in which a task raises, loses nothing: this process runs what has no result, and so raises that error itself.
"""

import contextlib
import gc
import os
import pickle
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Generic

from tuningjob.engine.interrupts import to_the_end
from tuningjob.engine.processes.protocol import TaskT, ValueT
from tuningjob.engine.processes.zygote import die_with, fork

# A pipe takes so many bytes whole (PIPE_BUF).
_MOST_BYTES: Final = 4096
_TICKET: Final = struct.Struct("=H")
MOST_TASKS: Final = _MOST_BYTES // _TICKET.size
_A_FORK_SECONDS: Final = 0.005  # of a process of 200 MB
_took_seconds: Final[deque[float]] = deque(maxlen=8)


def run_together(
    run: Callable[[TaskT], ValueT],
    tasks: Sequence[TaskT],
    forks: int,
    *,
    around_fork: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[ValueT]:
    """Run ``tasks`` (at most ``MOST_TASKS``) in this process and so many forks of it; returns the value of each, in order.

    Tasks are inherited, and values are pickled. A fork runs its tasks within ``around_fork``. Raises what ``run`` raises. The
    caller makes sure that this process may be forked (``may_fork``). No fork is left when this returns or raises.
    """
    waiting = _pipe_of(len(tasks))
    others: list[_Fork[ValueT]] = []
    values: dict[int, ValueT] = {}

    def taken() -> Iterator[tuple[int, ValueT]]:
        # a pipe gives every ticket to one reader, and nobody writes to it any more
        while ticket := os.read(waiting, _TICKET.size):
            (number,) = _TICKET.unpack(ticket)
            yield number, run(tasks[number])

    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # each fork would write buffered output once more
        # with too many processes or too little memory there are fewer forks
        with _no_interrupt(), contextlib.suppress(OSError):
            others.extend(_Fork(taken, around_fork) for _ in range(forks))
        values.update(taken())
        for other in others:
            values.update(other.values())
    finally:
        try:
            to_the_end(lambda: _end(others))
        finally:
            os.close(waiting)
    return [values[number] if number in values else run(task) for number, task in enumerate(tasks)]


def seconds_of_a_fork() -> float:
    """The fewest seconds that one of the last forks took; they depend on this process' memory. A guess if there was none."""
    return min(_took_seconds, default=_A_FORK_SECONDS)


def _pipe_of(tickets: int) -> int:
    """The end to read of a pipe that has so many numbers and then ends."""
    if tickets > MOST_TASKS:
        raise ValueError(f"tasks must be at most {MOST_TASKS}, but got {tickets}")
    read, write = os.pipe()
    os.write(write, b"".join(map(_TICKET.pack, range(tickets))))
    os.close(write)
    return read


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Have Ctrl-C wait, because a fork that is not in a list yet would be left behind."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Fork(Generic[ValueT]):
    def __init__(
        self,
        taken: Callable[[], Iterator[tuple[int, ValueT]]],
        around: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._read, write = os.pipe()
        parent = os.getpid()

        def child() -> None:
            die_with(parent)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)  # it belongs to an event loop in the parent
            gc.freeze()  # else the collector would write to every object and copy its page
            values: dict[int, ValueT] = {}
            # the parent runs again what raised here, and so has the error itself
            with contextlib.suppress(Exception), around():
                values.update(taken())
            with os.fdopen(write, "wb") as answer:
                pickle.dump(values, answer, pickle.HIGHEST_PROTOCOL)

        began = time.monotonic()
        try:
            self._pid = fork(child)
        except OSError:
            os.close(self._read)
            raise
        finally:
            os.close(write)
        _took_seconds.append(time.monotonic() - began)

    def values(self) -> dict[int, ValueT]:
        """What the fork has found, once it has ended; nothing if it was killed."""
        with os.fdopen(os.dup(self._read), "rb") as answer:
            try:
                values: dict[int, ValueT] = pickle.load(answer)  # noqa: S301  our own fork's
            except (EOFError, pickle.UnpicklingError):
                return {}
        return values

    def end(self) -> None:
        """End the process, wherever it is, and wait for it. A second call does nothing."""
        if self._read < 0:
            return
        with contextlib.suppress(ChildProcessError):  # code that waits for every child has waited for it
            ended, _ = os.waitpid(self._pid, os.WNOHANG)
            if not ended:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        os.close(self._read)
        self._read = -1


def _end(others: "Sequence[_Fork[ValueT]]") -> None:
    for other in others:
        other.end()
