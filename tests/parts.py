"""All tests, in several pytest processes at once: ``python -m tests.parts [--deps] [--at-once 2] [PART …] [-- pytest's options]``.

Processes, and not pytest-xdist, whose workers have threads: the engine forks, which a process with threads does not do. A part is
some folders of ``tests/`` (``"service pod"``); what no part names is the last one, so nothing is left out. The longest are named
first, so that none is left alone at the end. More may run at once than there are CPUs, because most of them wait for much of
their time: for pods, for servers that are killed and come back, for deadlines.

With ``--deps``, what the test cluster and the servers of ``tests/servers`` need is built beside the parts that need none of it,
because that takes a quarter of an hour on a new machine; the others begin when it is there.

Each part's output goes to ``build/tests/NAME.log``, and is printed whole, at its end, if the part failed.

With ``--again``, a few tests that failed are run once more when nothing runs beside them. Many tests wait a bounded time for real
servers, and on two busy cores a bound can pass without a fault. A test that fails by itself, too, is a failure; one that passes is
named at the end, so that its bound is mended.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
LOGS: Final = ROOT / "build" / "tests"
OTHERS: Final = "others"
DEPS: Final = (sys.executable, "-m", "tests.cluster.harness", "deps")
# They start no server but Postgres, which is a Debian package, and no cluster.
WITHOUT_DEPS: Final = frozenset({"engine", "journal", "local", "search"})
# What there is already is found in so many seconds, and then the parts begin in their order.
_A_MOMENT: Final = 10
_NOTHING_COLLECTED: Final = 5
_TESTS_FAILED: Final = 1
# More failures than these are no matter of a busy machine.
_MOST_AGAIN: Final = 12


@dataclass(frozen=True)
class Ended:
    """A part that has ended. ``cpu_seconds`` are its own and its children's, as far as it has waited for them."""

    name: str
    exit_code: int
    wall_seconds: float
    cpu_seconds: float
    output: str

    @property
    def is_well(self) -> bool:
        """Whether nothing failed; a choice of tests (-m, -k) may leave nothing of a part."""
        return self.exit_code in {0, _NOTHING_COLLECTED}

    def __str__(self) -> str:
        last = self.output.rstrip().rpartition("\n")[2].strip("= ") or f"ended with {self.exit_code}"
        return f"{self.name}: {last} ({self.wall_seconds:.0f} s, of which {self.cpu_seconds:.0f} s of CPU)"


def parts(tests: Path, named: Sequence[str]) -> dict[str, list[Path]]:
    """What each part runs: together everything that pytest would find in ``tests``, each once."""
    found = {name: [tests / folder for folder in name.split()] for name in named}
    holding = {tests / path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    others = sorted(holding.difference(*found.values()))
    return {**found, **({OTHERS: others} if others else {})}


def commands(
    chosen: Mapping[str, Sequence[Path]], options: Sequence[str] = (), *, logs: Path = LOGS
) -> dict[str, Sequence[str]]:
    """The pytest that runs each part, and keeps the names of what failed in a folder of the part's own below ``logs``."""
    pytest = (sys.executable, "-m", "pytest", "-q", *options)
    return {
        name: (*pytest, "-o", f"cache_dir={_cache(logs, name)}", *map(str, paths)) for name, paths in chosen.items()
    }


def _cache(logs: Path, name: str) -> Path:
    return logs / f"{name.replace(' ', '-')}.cache"


def failed_tests(logs: Path, name: str) -> list[str]:
    """The tests of a part that failed in its last run, as pytest names them."""
    try:
        return sorted(json.loads((_cache(logs, name) / "v" / "cache" / "lastfailed").read_text()))
    except FileNotFoundError:
        return []


class Runner:
    """Runs parts, and ends them when it is ended."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_ended = False

    def run(self, name: str, command: Sequence[str]) -> Ended | None:
        """None if the runner was ended before it began."""
        log = self._logs / f"{name.replace(' ', '-')}.log"
        began = time.monotonic()
        with log.open("wb") as output:
            with self._lock:
                if self._is_ended:
                    return None
                # a group of its own, so that Ctrl-C reaches it once, through `end`: the second would cut its teardown short
                process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, process_group=0)
                self._running.add(process.pid)
            say(f"{name}: begun, {log}")
            _, status, used = os.wait4(process.pid, 0)
            with self._lock:
                self._running.discard(process.pid)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime
        ended = Ended(name, code, time.monotonic() - began, cpu, log.read_text(errors="replace"))
        say(str(ended) if ended.is_well else f"{ended.output}\nFAILED {ended}")
        return ended

    def end(self) -> None:
        """Ask every part to end, as Ctrl-C does: its servers, and the cluster, are taken down."""
        with self._lock:
            self._is_ended = True
            for pid in self._running:
                os.kill(pid, signal.SIGINT)


def run(
    commands: Mapping[str, Sequence[str]],
    *,
    at_once: int,
    deps: Sequence[str] = (),
    without_deps: Collection[str] = WITHOUT_DEPS,
    within: float | None = None,
    again: bool = False,
    logs: Path = LOGS,
) -> int:
    """Run the parts, so many at once and besides ``deps``; returns an exit code, 1 if one of them failed or did not run.

    ``commands``: by the name of a part. ``within``: seconds after which those that still run are ended, and their output shown.
    ``again``: whether a few tests that failed are run once more, with nothing beside them, and count as that run says.
    """
    logs.mkdir(parents=True, exist_ok=True)
    for name in commands:
        shutil.rmtree(_cache(logs, name), ignore_errors=True)
    runner = Runner(logs)
    before = {number: signal.signal(number, lambda *_: runner.end()) for number in (signal.SIGINT, signal.SIGTERM)}
    alarm = None if within is None else threading.Timer(within, runner.end)
    began = time.monotonic()
    try:
        if alarm is not None:
            alarm.start()
        ended = _run_all(runner, commands, at_once, deps, without_deps)
        passed = _run_failed_again(runner, commands, ended, logs) if again else []
    finally:
        if alarm is not None:
            alarm.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    bad = [name for name in commands if (end := ended.get(name)) is None or not end.is_well]
    verdict = f"FAILED: {', '.join(bad)}" if bad else "all well"
    for test in passed:
        say(f"failed beside others, passed by itself: {test}")
    say(f"{len(commands)} parts in {time.monotonic() - began:.0f} s, {verdict}")
    return 1 if bad else 0


def _run_all(
    runner: Runner,
    commands: Mapping[str, Sequence[str]],
    at_once: int,
    deps: Sequence[str],
    without_deps: Collection[str],
) -> dict[str, Ended | None]:
    """Each part as soon as there is room, in their order; those that need ``deps`` only when these are there."""
    waiting = list(commands)
    ended: dict[str, Ended | None] = {}
    with ThreadPoolExecutor(at_once + 1) as threads:
        making = threads.submit(runner.run, "deps", deps) if deps else None
        if making is not None:
            wait((making,), timeout=_A_MOMENT)
        running: dict[Future[Ended | None], str] = {}
        while waiting or running:
            made = making is None or making.done()
            if making is not None and made and ((end := making.result()) is None or not end.is_well):
                waiting = [name for name in waiting if name in without_deps]
            for name in [name for name in waiting if made or name in without_deps][: at_once - len(running)]:
                waiting.remove(name)
                running[threads.submit(runner.run, name, commands[name])] = name
            done, _ = wait({*running, *(() if making is None or made else (making,))}, return_when=FIRST_COMPLETED)
            for future in done - {making}:
                ended[running.pop(future)] = future.result()
    return ended


def _run_failed_again(
    runner: Runner, commands: Mapping[str, Sequence[str]], ended: dict[str, Ended | None], logs: Path
) -> list[str]:
    """Replace in ``ended`` the end of each part in which tests failed by that of these tests alone; returns those that passed now."""
    failed = {
        name: failed_tests(logs, name)
        for name, end in ended.items()
        if end is not None and end.exit_code == _TESTS_FAILED
    }
    if sum(map(len, failed.values())) > _MOST_AGAIN:
        return []
    for name in failed:
        # of no failure that it knows (a module that cannot be imported), pytest would run all tests
        only = ("--last-failed", "--last-failed-no-failures=none")
        ended[name] = runner.run(f"{name} again", (*commands[name], *only))
    return [test for name, tests in failed.items() for test in tests if test not in failed_tests(logs, name)]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parts", description=__doc__)
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="processes at a time (2)")
    parser.add_argument("--deps", action="store_true", help="build what the cluster and the servers need, meanwhile")
    parser.add_argument("--within", type=float, metavar="SECONDS", help="end what still runs then, and show its output")
    parser.add_argument("--again", action="store_true", help="run a few tests that failed once more, by themselves")
    parser.add_argument("parts", nargs="*", metavar="PART", help="folders of tests/ that one process runs")
    # argparse would take what comes after -- for parts
    own, options = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, ())
    arguments = parser.parse_args(own)
    return run(
        commands(parts(ROOT / "tests", arguments.parts), options),
        at_once=arguments.at_once,
        deps=DEPS if arguments.deps else (),
        within=arguments.within,
        again=arguments.again,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
