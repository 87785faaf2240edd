"""Tests that fork. Nobody knows what threads pytest's process has by then: they run in forks of an interpreter without any.

One such interpreter is enough: a test costs it a fork, not a second for importing scikit-learn.
"""

import atexit
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_LONGEST_SECONDS = 6 * int(os.environ.get("TUNINGJOB_EXAMPLES", "40"))  # what the property tests here take at the most


def command(module: str, function: str) -> list[str]:
    """The command line that calls a function; warnings are errors."""
    return [sys.executable, "-W", "error", "-c", f"from {module} import {function}; {function}()"]


def in_a_fresh_process(scenario: Callable[[], None]) -> Callable[[], None]:
    """Make this test run in a process with a single thread. It fails by what it raises, and by what it prints."""

    @functools.wraps(scenario)
    def test() -> None:
        interpreter = _interpreter()
        assert interpreter.stdin is not None
        assert interpreter.stdout is not None
        interpreter.stdin.write(f"{scenario.__module__} {scenario.__name__}\n")
        interpreter.stdin.flush()
        exit_code, output = json.loads(interpreter.stdout.readline())
        assert (exit_code, output) == (0, ""), output

    return test


@functools.cache
def _interpreter() -> subprocess.Popen[str]:
    interpreter = subprocess.Popen(
        command(__name__, "serve"), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(interpreter.__exit__, None, None, None)  # the end of its input is the end of it
    return interpreter


def serve() -> None:
    """In the fresh interpreter: run the tests that are named on stdin, each in a fork."""
    for line in sys.stdin:
        module, name = line.split()
        scenario = getattr(importlib.import_module(module), name).__wrapped__
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if not pid:
                _run(scenario, output.fileno())
            exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            output.seek(0)
            sys.stdout.write(json.dumps([exit_code, output.read().decode()]) + "\n")
            sys.stdout.flush()


def _run(scenario: Callable[[], None], output: int) -> None:
    exit_code = 1
    try:
        signal.alarm(_LONGEST_SECONDS)
        for stream in (1, 2):
            os.dup2(output, stream)
        scenario()
        exit_code = 0
    except BaseException:  # noqa: BLE001  this is the outermost frame
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(exit_code)
