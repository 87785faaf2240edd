"""Being asked to stop: SIGTERM in a pod, Ctrl-C on a laptop."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Terminated(BaseException):
    """Somebody asked this worker to stop: what was finished is reported, the rest is another's."""


class Stop:
    """Whether the worker has been asked to stop.

    The loop looks at ``requested`` between two reports, so that no report is cut in two; a long fit in this very process is
    put into ``interruptible`` and ends at once, by Terminated.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interruptible = False

    def request(self) -> None:
        """Ask it to stop."""
        self.requested = True
        if self._interruptible:
            raise Terminated

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """In here a request raises Terminated at once; so does one that came before."""
        self._interruptible = True
        try:
            if self.requested:
                raise Terminated
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """In here SIGTERM and Ctrl-C are requests to stop."""

        def handle(_signal: int, _frame: FrameType | None) -> None:
            self.request()

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
