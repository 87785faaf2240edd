"""The results service as it is, on a port of this machine: uvicorn, a SQLite file, and a clock that a test can turn."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from tests.journal.makers import Clock
from tuningjob.client import HttpSearchJournal
from tuningjob.journal.artifacts import ArtifactStore
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob_operator import tokens
from tuningjob_operator.service import make_app

KEY = bytes(range(32))


class Service:
    """Started and stopped at will, always on the same port and the same files."""

    def __init__(self, root: Path, *, max_artifact_bytes: int = 1000) -> None:
        self._root = root
        self.clock = Clock()
        self.artifacts = ArtifactStore(root / "artifacts", max_bytes=max_artifact_bytes)
        self.journal: SqlJournal = self._open()
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _open(self) -> SqlJournal:
        return open_sqlite(self._root / "tuning.db", clock=self.clock)

    def start(self) -> None:
        # Bound and listening before the server's thread runs: whoever connects is kept waiting, not refused.
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = make_app(self.journal, self.artifacts, KEY, self.clock)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
        self._thread = threading.Thread(target=self._serve, args=(self._server, listener))
        self._thread.start()

    @staticmethod
    def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
        with listener:
            server.run(sockets=[listener])

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None

    def restart(self) -> None:
        """A new process would see no more than the files: neither does this one."""
        self.stop()
        self.journal.close()
        self.journal = self._open()
        self.start()

    def close(self) -> None:
        self.stop()
        self.journal.close()

    def token(self, search: str = "search-a") -> str:
        return tokens.issue(KEY, search, self.clock.now.replace(year=self.clock.now.year + 1))

    def client(
        self, search: str = "search-a", *, token: str | None = None, sleep: Callable[[float], None] | None = None
    ) -> HttpSearchJournal:
        """By default one that fails a test rather than waits."""
        return HttpSearchJournal(self.url, token or self.token(search), sleep=sleep or _never)


def _never(seconds: float) -> None:
    raise AssertionError(f"the client wanted to wait {seconds} seconds")
