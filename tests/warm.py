"""Python programs that begin at once: forks of an interpreter that has imported what they need.

Importing scikit-learn takes longer than all else that a pod or a command does in most tests, and they begin hundreds of them. A
program begun here is a process of its own as any other, with its own arguments, environment, folder, output and session; it runs
``python -m MODULE`` from the top. What it shares with the others is only what was imported before: no thread, no open file.

``python -m tests.warm MODULE …`` is that interpreter: it begins a program for each line of stdin, and tells on stdout of its
process id, and of its end.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

# What a worker imports once it is at work, and a command once it has been told what to do.
LEARNING: Final = (
    "sklearn.ensemble",
    "sklearn.svm",
    "sklearn.linear_model",
    "sklearn.datasets",
    "tuningjob.pod",
    "tuningjob.cli.command",
    "tuningjob.local",
    "httpcore",
)
SERVING: Final = (
    "tuningjob_operator.service.__main__",
    "psycopg",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)


class Program:
    """A program that was begun, with what ``subprocess.Popen`` has of it. Its stderr is kept for ``communicate``."""

    def __init__(self, warm: "Warm", pid: int, printed: Path, said: Path) -> None:
        self.pid = pid
        self._warm, self._outputs = warm, (printed, said)

    @property
    def returncode(self) -> int | None:
        return self._warm.ended.get(self.pid)

    def poll(self) -> int | None:
        self._warm.listen(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.returncode) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(f"program {self.pid}", timeout)
            self._warm.listen(left)
        return code

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """What it printed and what it said, once it has ended."""
        self.wait(timeout)
        printed, said = self._outputs
        return printed.read_text(encoding="utf-8"), said.read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm:
    """The interpreter that has imported these modules. One thread at a time may use it and its programs."""

    def __init__(self, modules: Sequence[str]) -> None:
        command = [sys.executable, "-m", "tests.warm", *modules]
        # from the top: the test that asks first may be in another folder
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.ended: dict[int, int] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._begun = 0

    def begin(
        self,
        module: str,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        session: bool = False,
    ) -> Program:
        """``python -m MODULE ARGUMENTS``. ``log`` gets both of its outputs; ``session``: it leads one of its own."""
        printed, said = (log or Path(self._folder.name, f"{self._begun}.{name}") for name in ("stdout", "stderr"))
        asked = {
            "module": module,
            "arguments": arguments,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "outputs": [str(printed), str(said)],
            "session": session,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        before = self._begun
        while self._begun == before:
            self.listen(60)
        return Program(self, self._last, printed, said)

    def listen(self, seconds: float) -> None:
        """Take in what it tells within these seconds."""
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], seconds)[0]:
            # lines are short, and written at once
            text = os.read(self._process.stdout.fileno(), 65_536).decode()
            assert text, "the interpreter that begins programs has ended"
            for line in text.splitlines():
                pid, *code = map(int, line.split())
                if code:
                    self.ended[pid] = code[0]
                else:
                    self._begun += 1
                    self._last = pid
                    self.ended.pop(pid, None)  # the kernel has given this number again

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()


@functools.cache
def warm(modules: Sequence[str] = LEARNING) -> Warm:
    """The one of these modules, begun when it is first asked for, and ended with the tests."""
    made = Warm(modules)
    atexit.register(made.close)
    return made


def serve(modules: Sequence[str]) -> dict[str, Any] | None:
    """In the interpreter: fork for each line of stdin, until it ends. In the fork, what was asked for is returned."""
    for name in modules:
        importlib.import_module(name)
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write)
    lines = b""
    while True:
        ready, _, _ = select.select([0, read], [], [])
        if read in ready:
            os.read(read, 65_536)
            _tell_of_the_ended()
        if 0 in ready:
            more = os.read(0, 65_536)
            if not more:
                return None
            *whole, lines = (lines + more).split(b"\n")
            for line in whole:
                if pid := os.fork():
                    _tell(f"{pid}\n")
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(read)
                os.close(write)
                asked: dict[str, Any] = json.loads(line)
                return asked


def _tell_of_the_ended() -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(f"{found[0]} {os.waitstatus_to_exitcode(found[1])}\n")


def _tell(line: str) -> None:
    os.write(1, line.encode())


def become(module: str, arguments: Sequence[str], cwd: str, env: Mapping[str, str], outputs: Sequence[str]) -> None:
    """Run the program in this process, as ``python -m`` does."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in enumerate(outputs, 1):
        output = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, number)
        os.close(output)
    os.close(nothing)
    os.chdir(cwd)
    # the folder of this one's own start, and what its environment added, make room for the program's
    own = _paths(os.environ)
    sys.path[:] = [cwd, *_paths(env), *(path for path in sys.path[1:] if path not in own)]
    importlib.invalidate_caches()
    os.environ.clear()
    os.environ.update(env)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or all of them would draw the same
    sys.argv = [module, *arguments]
    for name in (module, f"{module}.__main__"):
        sys.modules.pop(name, None)  # it is run from the top
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _paths(env: Mapping[str, str]) -> list[str]:
    return [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    if (asked := serve(sys.argv[1:])) is not None:
        if asked.pop("session"):
            os.setsid()
        become(**asked)
