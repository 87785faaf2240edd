"""Connections that say nothing, and too many of them: uvicorn's protocol with an end to both.

uvicorn waits for a request's head for as long as its sender likes, and takes as many connections as there are descriptors. Its
own ``limit_concurrency`` would answer the kubelet's probes with 503, too.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# How long a request's head may take from the connection, or from its first byte on one that is kept.
HEAD_SECONDS: Final = 10.0
# Some 20 KiB each, and up to 100 with a body that waits for its turn.
MAX_CONNECTIONS: Final = 1_000
# A pod has an address of its own; behind an ingress all people have one.
MAX_OF_A_PEER: Final = 250


@dataclass(kw_only=True)
class Crowd:
    """The connections of one server: the ones that have never sent a whole request, the oldest first, and how many of whom."""

    head_seconds: float = HEAD_SECONDS
    most: int = MAX_CONNECTIONS
    most_of_a_peer: int = MAX_OF_A_PEER
    silent: OrderedDict[H11Protocol, None] = field(default_factory=OrderedDict)
    peers: Counter[str] = field(default_factory=Counter)


class Guarded(H11Protocol):
    """One connection. With too many open, the oldest silent one makes room; if there is none, the new one is closed."""

    crowd: ClassVar[Crowd]
    _peer = ""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio."""
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
        """Of asyncio."""
        self._expect_nothing()
        self.crowd.silent.pop(self, None)
        self.crowd.peers[self._peer] -= 1
        if self.crowd.peers[self._peer] <= 0:
            del self.crowd.peers[self._peer]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        super().data_received(data)
        if self._is_at_work():
            self.crowd.silent.pop(self, None)
            self._expect_nothing()
        elif self._deadline is None and not self.transport.is_closing():
            self._expect_a_head()

    def on_response_complete(self) -> None:
        """Of uvicorn."""
        super().on_response_complete()
        # a body that nobody reads any more must not be sent for ever, nor the rest of a head that has begun
        is_unread = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if is_unread and self._deadline is None and not self.transport.is_closing():
            self._expect_a_head()

    def send_400_response(self, msg: str) -> None:
        """Of uvicorn, for what is no HTTP; here it is also an end of what is being answered, where there is such."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.abort()  # an answer has begun, and this can be none
            return
        super().send_400_response(msg)
        if self._is_at_work():
            cycle: Any = self.cycle
            cycle.disconnected = True
            cycle.message_event.set()

    def _is_at_work(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

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
