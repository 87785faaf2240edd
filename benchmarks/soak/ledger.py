"""Hears of each fit that begins (``counted``), on a thread of its own."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """One that began: when, in which pod, and of what."""

    moment: float
    pod: str
    leaves: int
    rows: int


class Ledger:
    """``fits`` as they were heard."""

    def __init__(self, host: str) -> None:
        self.fits: list[Fit] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        while said := self._socket.recv(4096):
            with contextlib.suppress(ValueError):
                pod, leaves, rows = json.loads(said)
                self.fits.append(Fit(time.time(), pod, leaves, rows))

    @classmethod
    @contextlib.contextmanager
    def listening(cls, host: str) -> Iterator["Ledger"]:
        """One that listens, and ends at the end."""
        ledger = cls(host)
        ledger._thread.start()
        try:
            yield ledger
        finally:
            host, _, port = ledger.address.rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.sendto(b"", (host, int(port)))
            ledger._thread.join(5)
            ledger._socket.close()
