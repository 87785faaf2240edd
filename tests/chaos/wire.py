"""Requests as bytes, from addresses of the loopback that are the hostile tenant's pods; and connections that are kept waiting."""

import contextlib
import itertools
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# The honest tenant comes from 127.0.0.1. A pod has an address of its own, and a tenant many pods.
_ADDRESSES: Final = [f"127.0.0.{number}" for number in range(66, 72)]
# Beyond any honest answer: the service itself gives up a body after 30 s.
TIMEOUT: Final = 60.0
_MOST_READ: Final = 32 * 2**20


@dataclass(frozen=True)
class Answer:
    """``status`` 0: none came."""

    status: int
    text: bytes


@dataclass(frozen=True)
class Request:
    """Not whole: its sender leaves before there is an answer."""

    pieces: tuple[bytes, ...]
    is_whole: bool = True

    @property
    def title(self) -> str:
        """For people."""
        return repr(self.pieces[0][:200])


def head_of(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: results", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


class Wire:
    """To one port. Not safe for two threads, but for ``exchange``."""

    def __init__(self, port: int, *, most_held: int = 30) -> None:
        self._port = port
        self._most_held = most_held
        self._next = itertools.cycle(_ADDRESSES)
        self._held: deque[tuple[socket.socket, bytes]] = deque()

    def connect(self) -> socket.socket:
        return socket.create_connection(
            ("127.0.0.1", self._port), timeout=TIMEOUT, source_address=(next(self._next), 0)
        )

    def exchange(self, request: Request) -> Answer:
        """Send, and read the answer to its end (``Connection: close`` is the caller's)."""
        with contextlib.suppress(OSError), self.connect() as connection:
            with contextlib.suppress(OSError):  # it may have been answered and closed already
                for piece in request.pieces:
                    connection.sendall(piece)
            if request.is_whole:
                return read_answer(connection)
        return Answer(0, b"")

    def begin(self, text: bytes, rest: bytes, *, read: int = 0) -> None:
        """Send ``text``, read so much of an answer, and keep the connection, for a byte of ``rest`` at a time."""
        with contextlib.suppress(OSError):
            connection = self.connect()
            self._held.append((connection, rest))
            connection.settimeout(2)
            connection.sendall(text)
            if read:
                connection.recv(read)
        while len(self._held) > self._most_held:
            self._held.popleft()[0].close()

    def drip(self) -> None:
        """One more byte on each."""
        for _ in range(len(self._held)):
            connection, rest = self._held.popleft()
            connection.settimeout(0)
            try:
                connection.send(rest[:1])
            except OSError:
                connection.close()
                continue
            self._held.append((connection, rest[1:] or b"x"))

    def close(self) -> None:
        for connection, _ in self._held:
            connection.close()
        self._held.clear()


def read_answer(connection: socket.socket) -> Answer:
    """Until its end, or as much as anybody wants to read."""
    found = bytearray()
    with contextlib.suppress(OSError):
        while len(found) < _MOST_READ and (part := connection.recv(65_536)):
            found += part
    words = bytes(found[:32]).split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0
    return Answer(status, bytes(found))
