"""Tests that fork. Nobody knows what threads pytest's process has by then: they run in forks of an interpreter without any.

One such interpreter is enough: a test costs it a fork, not a second for importing scikit-learn. Another one has scikit-learn and
nothing of tuningjob's, for tests of what happens when that is imported.
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


def ended_beside_scikit_learn(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process that has imported what a search of scikit-learn's own imports, and nothing of tuningjob's."""
    interpreter = _interpreter_of_scikit_learn()
    assert interpreter.stdin is not None
    assert interpreter.stdout is not None
    interpreter.stdin.write(json.dumps(code) + "\n")
    interpreter.stdin.flush()
    return subprocess.CompletedProcess(code, *json.loads(interpreter.stdout.readline()))


@functools.cache
def _interpreter_of_scikit_learn() -> subprocess.Popen[str]:
    code = f"from {__name__} import serve_code; serve_code()"
    interpreter = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(interpreter.__exit__, None, None, None)
    return interpreter


def serve_code() -> None:
    """In that interpreter: run each code that comes on stdin in a fork."""
    for module in ("sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection"):
        importlib.import_module(module)
    for line in sys.stdin:
        code = compile(json.loads(line), "<code>", "exec")
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            pid = os.fork()
            if not pid:
                _run(functools.partial(exec, code, {"__name__": "__main__"}), output.fileno(), errors.fileno())
            exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            for file in (output, errors):
                file.seek(0)
            sys.stdout.write(json.dumps([exit_code, output.read().decode(), errors.read().decode()]) + "\n")
            sys.stdout.flush()


def _run(scenario: Callable[[], object], output: int, errors: int | None = None) -> None:
    exit_code = 1
    try:
        signal.alarm(_LONGEST_SECONDS)
        os.dup2(output, 1)
        os.dup2(output if errors is None else errors, 2)
        scenario()
        exit_code = 0
    except BaseException:  # noqa: BLE001  this is the outermost frame
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(exit_code)
