"""A side of the comparison as the command sees it: a process that is started when first asked and lives to the end."""

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.answers import Answer, Failed

_ROOT = Path(__file__).parents[1]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Beyond any search here by an order of magnitude: a side that hangs is a cell of the table, not the end of the run.
_LIMIT_SECONDS = 900.0
_GRACE_SECONDS = 20.0
# Often enough for a search of a second, and far too seldom to slow it.
_MEMORY_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Side:
    """A way of searching (one of the kinds in `searches`), the interpreter it runs in and its heading in the table."""

    heading: str
    kind: str
    interpreter: Path = Path(sys.executable)


class SideProcess:
    """The process of a side, and all that it starts, in a group of their own."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, workload: str) -> tuple[Answer, int]:
        """Have it run that workload once; the second value is the peak of the resident bytes of its processes together."""
        process = self._process or self._start()
        requests, answers = _pipes(process)
        peak_bytes = 0
        deadline = time.monotonic() + _LIMIT_SECONDS
        try:
            pickle.dump(workload, requests)
            requests.flush()
            while not select.select([answers], [], [], _MEMORY_SAMPLE_SECONDS)[0]:
                peak_bytes = max(peak_bytes, _resident_bytes(process.pid))
                if time.monotonic() > deadline:
                    self._kill()
                    return Failed(reason=f"not done after {_LIMIT_SECONDS:.0f} s"), peak_bytes
            answer: Answer = pickle.load(answers)
        except (EOFError, BrokenPipeError):
            self._kill()
            return Failed(reason=f"its process ended with {process.returncode}"), peak_bytes
        return answer, peak_bytes

    def stop(self) -> None:
        """Let the process end by itself, so that it tidies up after itself; the next run starts it anew."""
        if self._process is None:
            return
        _pipes(self._process)[0].close()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            with self._process as process:
                # before it is waited for: until then its id, and so its group's, belongs to nobody else
                os.killpg(process.pid, signal.SIGKILL)
        self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [self.side.interpreter, "-m", "benchmarks.serve", self.side.kind],
            cwd=_ROOT,
            env=os.environ | _ONE_THREAD | {"PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self._process


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("started without pipes")
    return process.stdin, process.stdout


def _resident_bytes(pid: int) -> int:
    """Of a process and its descendants; memory that forked processes share is counted in each. 0 for one that ended."""
    proc = Path("/proc") / str(pid)
    try:
        pages = int((proc / "statm").read_text().split()[1])
        children = [
            int(child) for task in (proc / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident_bytes(child) for child in children)
