"""A web service that computes: ``python neighbour.py PORT MILLISECONDS [MEGABYTES]``. Needs nothing but Python.

Each request takes so many milliseconds of CPU, in a thread of its own, as a small API in Python does. With megabytes it also
reads through so much memory, so that a neighbour that takes the cache or the memory's bandwidth is felt.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LINE = 64  # bytes of a cache line: one of each is read


class _Handler(BaseHTTPRequestHandler):
    cpu_seconds = 0.005
    memory = b""

    def do_GET(self) -> None:  # the name is http.server's
        until = time.thread_time() + self.cpu_seconds
        sum(self.memory[::_LINE])
        while time.thread_time() < until:
            sum(range(200))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing: a line for each request would be a part of what is measured."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024


def main() -> None:
    """Serve until the process is ended."""
    port, milliseconds, *megabytes = sys.argv[1:]
    _Handler.cpu_seconds = float(milliseconds) / 1000
    _Handler.memory = bytes(int(megabytes[0]) * 2**20) if megabytes else b""
    _Server(("", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main()
