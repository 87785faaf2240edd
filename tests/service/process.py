"""The results service as its container starts it: a process that can be killed and started again on the same data."""

import os
import signal
import socket
from contextlib import AbstractContextManager
from pathlib import Path

from tests.warm import SERVING, Program, warm


class Process(AbstractContextManager["Process"]):
    """``python -m tuningjob_operator.service`` on a SQLite file in ``data``, always on the same port."""

    def __init__(self, data: Path, *, database_url: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._environment = os.environ | {
            "TUNINGJOB_DATA_DIR": str(data),
            "TUNINGJOB_RESULTS_PORT": str(self.port),
            "TUNINGJOB_DATABASE_URL": database_url,
        }
        self._log = data / "service.log"
        self._process: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def peak_bytes(self) -> int:
        """The most that it has had resident."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024

    def start(self) -> None:
        self._process = warm(SERVING).begin("tuningjob_operator.service", env=self._environment, log=self._log)

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(self._process)

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it died by itself: {self.log[-3000:]}"
        self._end(self._process)

    @staticmethod
    def _end(process: Program) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
