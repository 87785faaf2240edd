"""The results service as its container starts it: a process that can be killed and started again on the same data."""

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Running(Protocol):
    """What a test wants of a process, as ``subprocess.Popen`` has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...


class Process(AbstractContextManager["Process"]):
    """``python -m tuningjob_operator.service`` on a SQLite file in ``data``, always on the same port.

    ``has_many_lives`` is for a test that kills it again and again: each start is a fork of a process that has imported all that it
    needs, which takes longer than all else that a start does, and touches none of the data.
    """

    def __init__(self, data: Path, *, database_url: str = "", has_many_lives: bool = False) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._environment = os.environ | {
            "TUNINGJOB_DATA_DIR": str(data),
            "TUNINGJOB_RESULTS_PORT": str(self.port),
            "TUNINGJOB_DATABASE_URL": database_url,
        }
        self._log = data / "service.log"
        self._has_many_lives = has_many_lives
        self._lives: Lives | None = None
        self._process: Running | None = None

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
        with self._log.open("ab") as log:
            if self._has_many_lives:
                self._lives = self._lives or Lives(self._spawn("tests.service.lives", log.fileno(), is_asked=True))
                self._process = self._lives.begin()
            else:
                self._process = self._spawn("tuningjob_operator.service", log.fileno())

    def _spawn(self, module: str, log: int, *, is_asked: bool = False) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE if is_asked else None
        command = [sys.executable, "-m", module]
        return subprocess.Popen(command, env=self._environment, stdin=pipe, stdout=pipe or log, stderr=log, bufsize=0)

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(self._process)
        if self._lives is not None:
            self._lives.close()

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"it died by itself: {self.log[-3000:]}"
        self._end(self._process)

    @staticmethod
    def _end(process: Running) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)


class Lives:
    """``tests.service.lives`` as a process: one life after the other."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._asks, self._tells = process, process.stdin, process.stdout
        self.pid = 0
        self._exit_code: int | None = None

    def begin(self) -> Running:
        self._asks.write(b"begin\n")
        self.pid, self._exit_code = self._told(), None
        return self

    def poll(self) -> int | None:
        if self._exit_code is None and self._tells_within(0):
            self._exit_code = self._told()
        return self._exit_code

    def wait(self, timeout: float) -> int:
        if self._exit_code is None:
            assert self._tells_within(timeout), f"it still runs after {timeout} s"
            self._exit_code = self._told()
        return self._exit_code

    def close(self) -> None:
        """Once its last life has ended."""
        self._process.communicate()

    def _told(self) -> int:
        return int(self._tells.readline())

    def _tells_within(self, seconds: float) -> bool:
        return bool(select.select([self._tells], [], [], seconds)[0])
