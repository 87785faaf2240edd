"""Requests to stop a worker: SIGTERM in a pod, Ctrl-C on a laptop."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# A pod has 30 seconds between SIGTERM and SIGKILL, in which a worker goes on sending finished cells to a silent service.
GRACE_SECONDS: Final = 20.0
_NAP_SECONDS: Final = 0.5
# A worker that must stop has no time for long pauses between two attempts.
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Terminated(BaseException):
    """Raised when this worker is asked to stop: finished cells are reported, and other workers do the rest.

    ``signal`` is the number of the signal (0: none). For a search on this machine, ``kept`` of its ``fits`` are in the journal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal = 0
        self.kept: int | None = None
        self.fits = 0


class Stop:
    """The state of a request to stop the worker.

    The loop checks ``requested`` between two reports, so that no report is cut in two. A long fit in this process runs within
    ``interruptible`` and ends at once, by Terminated. Requests come in the main thread; any thread may ``sleep``.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.requested = False
        self._interruptible = False
        self._deadline: float | None = None
        self._clock = clock
        self._sleep = sleep

    def request(self) -> None:
        """Ask the worker to stop; raises Terminated if it may be interrupted now."""
        self.requested = True
        if self._deadline is None:
            self._deadline = self._clock() + GRACE_SECONDS
        if self._interruptible:
            raise Terminated

    @property
    def is_overdue(self) -> bool:
        """Whether a request to stop is older than its grace."""
        return self._deadline is not None and self._clock() >= self._deadline

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Have a request raise Terminated at once within this block, also one that came before."""
        self._interruptible = True
        try:
            if self.requested:
                raise Terminated
            yield
        finally:
            self._interruptible = False

    def sleep(self, seconds: float) -> None:
        """Sleep between two attempts, but only shortly after a request to stop. Raises Terminated once that is overdue."""
        began = self._clock()
        while True:
            if self.is_overdue:
                raise Terminated
            pause = min(seconds, _LONGEST_PAUSE_SECONDS) if self.requested else seconds
            left = began + pause - self._clock()
            if left <= 0:
                return
            self._sleep(min(left, _NAP_SECONDS))

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Make SIGTERM and Ctrl-C requests to stop within this block; Terminated has the first signal."""
        came: list[int] = []

        def handle(number: int, _frame: FrameType | None) -> None:
            came.append(number)
            self.request()

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        except Terminated as terminated:
            terminated.signal = came[0] if came else 0
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
