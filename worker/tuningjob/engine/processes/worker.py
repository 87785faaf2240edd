"""The worker, which runs task after task and sends what they yield, and the functions that a running task may call."""

import contextlib
import math
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

from tuningjob.engine.processes.protocol import Error, TaskT, ValueT, WorkersEnd

# The longest that values wait for a batch: a message for each task of a millisecond would cost the parent 5 % of a core.
_BATCH_SECONDS: Final = 0.02
_SHORTEST_SECONDS: Final = 1e-6  # setitimer takes 0 for "never"


class _Outbox:
    """The values of the current task that have not been sent yet."""

    def __init__(self, connection: WorkersEnd) -> None:
        self._connection = connection
        self._ticket = 0
        self._values: list[bytes] = []
        self._sent = 0.0
        self._stepped = 0.0

    def begin(self, ticket: int) -> None:
        self._ticket = ticket
        self._sent = self._stepped = time.monotonic()

    def step(self) -> None:
        """Begin another step. If the last one was long, this may be, too, so waiting values are sent now."""
        now = time.monotonic()
        if now - self._stepped >= _BATCH_SECONDS:
            self.flush()
        self._stepped = now

    def add(self, value: object) -> None:
        self._values.append(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        if time.monotonic() - self._sent >= _BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._values:
            self._send(ended=False)

    def end(self, error: Error | None) -> None:
        self._send(ended=True, error=error)

    def _send(self, *, ended: bool, error: Error | None = None) -> None:
        try:
            self._connection.send((self._ticket, self._values, ended, error))
        except OSError:  # the parent has ended, and the kernel is about to kill this process
            os._exit(1)
        self._values = []
        self._sent = time.monotonic()


_outbox: _Outbox | None = None  # None outside of a worker
_slot = 0


def do_tasks(connection: WorkersEnd, run: Callable[[TaskT], Iterator[ValueT]], begun: memoryview, slot: int) -> None:
    """Run tasks as they come, until the parent has closed its end; the ticket of each is written into ``begun``.

    ``slot`` is the number of this worker.
    """
    global _outbox, _slot  # flush() and deadline() are called from deep inside of run
    _outbox, _slot = _Outbox(connection), slot
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
        # the worker will be killed one day, and buffered output would be lost
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _outbox.end(error)


def _packed(exception: BaseException) -> Error:
    text = "".join(traceback.format_exception(exception))
    try:
        pickled = pickle.dumps(exception)
        pickle.loads(pickled)  # noqa: S301  some exceptions can be pickled, but not unpickled
    except Exception:  # noqa: BLE001  pickling calls the exception's own code, which may raise anything
        pickled = pickle.dumps(RuntimeError(repr(exception)))
    return pickled, text


def current_slot() -> int:
    """The number of this worker, from 0; a replacement has the number of its dead worker. 0 outside of a worker."""
    return _slot


def flush() -> None:
    """Send the parent what the task has yielded so far. Outside of a worker this does nothing.

    ``run`` calls it before a step that may take long or be fatal. Else values are collected: they are sent with the first one
    that comes later than 20 ms after the last sending, and when the task ends.
    """
    if _outbox is not None:
        _outbox.flush()


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Bound the time of the block, a step that may take long; with None there is no bound.

    In a worker the kernel kills the process, because code in C cannot be interrupted. Values yielded before are sent first: the
    parent gets them, and then Died with ``timed_out``. No other process may be killed: in its main thread TimeoutError
    interrupts Python code, and in another thread there is no deadline. If deadlines are nested, the earliest one holds.
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
        # None is a handler that is not Python's, which signal() cannot restore
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise SIGALRM if the block takes too long. An alarm set before comes at its time, or right after the block."""
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
