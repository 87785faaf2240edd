"""uvicorn's protocol with bounds on silent connections, on unread answers, and on the number of connections.

uvicorn itself waits for a request's head without limit, keeps an answer until its client has read it, and takes as many
connections as there are descriptors. Its ``limit_concurrency`` would answer the kubelet's probes with 503, too.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# How long a request's head may take, from the connection on, or from its first byte on a connection that is kept open.
HEAD_SECONDS: Final = 10.0
# Each takes some 20 KiB, and up to 100 with a body that waits for its turn.
MAX_CONNECTIONS: Final = 1_000
# A pod has an address of its own; behind an ingress all people share one.
MAX_OF_A_PEER: Final = 250
# How long an answer may wait without a byte of it being read.
READ_SECONDS: Final = 30.0
# The most bytes of answers that are read more slowly than written; what is prepared behind them takes some three times as much.
MAX_UNREAD_BYTES: Final = 16 * 2**20
# What a buffer may hold although no client is slow: asyncio's own limit, beyond which it asks for a pause.
_UNREMARKABLE_BYTES: Final = 64 * 2**10


@dataclass(kw_only=True)
class Crowd:
    """The connections of one server, and how many of them each peer has.

    ``silent`` have never sent a whole request, the oldest first. ``unread`` have an answer that is not read, the longest
    wait first.
    """

    head_seconds: float = HEAD_SECONDS
    most: int = MAX_CONNECTIONS
    most_of_a_peer: int = MAX_OF_A_PEER
    silent: OrderedDict[H11Protocol, None] = field(default_factory=OrderedDict)
    peers: Counter[str] = field(default_factory=Counter)
    read_seconds: float = READ_SECONDS
    most_unread: int = MAX_UNREAD_BYTES
    unread: "OrderedDict[Guarded, None]" = field(default_factory=OrderedDict)


class Guarded(H11Protocol):
    """One connection. With too many open, the oldest silent one is closed; if there is none, the new one is.

    With too many bytes of unread answers, the connection is closed that has waited for its reader longest.
    """

    crowd: ClassVar[Crowd]
    _peer = ""
    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count a new connection, close one if there are too many, and wait for a request's head (asyncio calls this)."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self.crowd.peers[self._peer] += 1
        self.crowd.silent[self] = None
        if self.crowd.peers[self._peer] > self.crowd.most_of_a_peer:
            transport.abort()
            return
        if len(self.connections) > self.crowd.most:
            oldest, _ = self.crowd.silent.popitem(last=False)  # itself, if no other is silent
            oldest.transport.abort()
        self._expect_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that is closed (asyncio calls this)."""
        self._expect_nothing()
        self._expect_no_reading()
        self.crowd.silent.pop(self, None)
        self.crowd.peers[self._peer] -= 1
        if self.crowd.peers[self._peer] <= 0:
            del self.crowd.peers[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and stop waiting for a head that is whole (asyncio calls this)."""
        super().data_received(data)
        if self._is_at_work():
            self.crowd.silent.pop(self, None)
            self._expect_nothing()
        elif self._deadline is None and not self.transport.is_closing():
            self._expect_a_head()

    def on_response_complete(self) -> None:
        """Wait for the answer to be read, and for what the client still sends to end (uvicorn calls this)."""
        super().on_response_complete()
        # TLS asks for no pause when it is given everything at once
        if self.unsent_bytes > _UNREMARKABLE_BYTES:
            self._expect_reading()
        # a client must not send for ever a body that is not read any more, nor the rest of a head that has begun
        is_unread = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if is_unread and self._deadline is None and not self.transport.is_closing():
            self._expect_a_head()

    def shutdown(self) -> None:
        """Close an idle connection at once when the service ends (uvicorn calls this).

        TLS would wait for the client's farewell, which a client may send only with its next request, hours later.
        """
        super().shutdown()
        if not self._is_at_work() and not self.unsent_bytes:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the client to read (asyncio calls this when its buffer is full)."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Stop waiting for the client to read (asyncio calls this when its buffer has room)."""
        self._expect_no_reading()
        super().resume_writing()

    @property
    def unsent_bytes(self) -> int:
        """How many written bytes the kernel has not taken yet."""
        transport: Any = self.transport
        # asyncio's TLS has a transport below, without a public way to it
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        return sum(each.get_write_buffer_size() for each in (transport, below) if each is not None)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP (uvicorn calls this); if an answer has begun already, end the connection."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()  # an answer has begun, so a 400 cannot be sent
            return
        super().send_400_response(msg)
        if self._is_at_work():
            cycle: Any = self.cycle
            cycle.disconnected = True
            cycle.message_event.set()

    def _is_at_work(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _expect_reading(self) -> None:
        if self._reading is None and not self.transport.is_closing():
            self.crowd.unread[self] = None
            self._look_again(self.unsent_bytes)
            self._make_room()

    def _expect_no_reading(self) -> None:
        self.crowd.unread.pop(self, None)
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look_again(self, unsent_bytes: int) -> None:
        self._reading = self.loop.call_later(self.crowd.read_seconds, self._has_read, unsent_bytes)

    def _has_read(self, before: int) -> None:
        unsent_bytes = self.unsent_bytes
        if not unsent_bytes:
            self._expect_no_reading()
        elif unsent_bytes < before:
            self._look_again(unsent_bytes)
        else:
            self.leave()

    def _make_room(self) -> None:
        waiting = {each: each.unsent_bytes for each in self.crowd.unread}
        too_many = sum(waiting.values()) - self.crowd.most_unread
        for each, unsent_bytes in waiting.items():
            if too_many <= 0:
                return
            each.leave()
            too_many -= unsent_bytes

    def leave(self) -> None:
        """Close the connection at once, and drop what was not sent."""
        self._expect_no_reading()
        self.transport.abort()

    def _expect_a_head(self) -> None:
        self._deadline = self.loop.call_later(self.crowd.head_seconds, self._end)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if not self._is_at_work():
            self.transport.abort()


def guarded(crowd: Crowd | None = None) -> type[H11Protocol]:
    """The protocol of one server (``uvicorn.Config.http``)."""
    return type("GuardedHere", (Guarded,), {"crowd": crowd or Crowd()})
