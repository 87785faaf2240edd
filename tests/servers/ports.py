"""Ports for the servers that the tests start."""

import contextlib
import random
import socket


def free_port() -> int:
    """One that the kernel gives to nobody by itself: it is still free when the server starts, and after a restart."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
