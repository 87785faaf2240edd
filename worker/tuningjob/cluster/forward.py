"""A port of this machine whose connections end at the results service, through the API server, like `kubectl port-forward`."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from tuningjob.aliases import Anything
from tuningjob.errors import TuningJobError

_BLOCK: Final = 2**16
_BACKLOG: Final = 16


class PortForward:
    """Listens on the loopback until it is closed. ``dial`` opens a connection to the other end for each connection here."""

    def __init__(self, dial: Callable[[], Anything]) -> None:
        self._dial = dial
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port = int(self._listener.getsockname()[1])
        self._open: set[Anything] = set()
        self._threads: list[threading.Thread] = []
        self.error: TuningJobError | None = None
        self._begin(self._accept)

    def close(self) -> None:
        """End all connections; when it returns, no thread is left."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else the thread that waits for a connection waits on
        self._listener.close()
        for each in list(self._open):
            end(each)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            try:
                there = self._dial()
            except TuningJobError as error:
                self.error = error
                here.close()
                continue
            self._open |= {here, there}
            self._begin(partial(self._pump, here, there))
            self._begin(partial(self._pump, there, here))

    def _begin(self, work: Callable[[], None]) -> None:
        self._threads = [each for each in self._threads if each.is_alive()]
        thread = threading.Thread(target=work, daemon=True, name="tuningjob port-forward")
        self._threads.append(thread)
        thread.start()

    def _pump(self, source: Anything, target: Anything) -> None:
        try:
            while block := source.recv(_BLOCK):
                target.sendall(block)
        except OSError:
            pass  # one end is gone, so the other is closed, too
        finally:
            for each in (source, target):
                end(each)
                self._open.discard(each)


def end(each: Anything) -> None:
    """Close one end of a connection in any state, which closes the other."""
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        each.close()
