"""Processes that evaluate cells.

Forked, early: a worker pod and the CLI own their process, X is shared copy-on-write, and two workers are there in 15 ms (loky
takes 1.1 s). Never forked after a thread or an OpenMP region has started: a child of such a parent segfaults. Processes and
not threads: liblinear and libsvm share one random generator, so threads are not exact.
"""

import ctypes
import multiprocessing as mp
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from tuningjob.journal.records import Cell, CellResult
from tuningjob.search.evaluate import evaluate
from tuningjob.search.problem import SearchProblem

_PR_SET_PDEATHSIG: Final = 1
_problem: SearchProblem | None = None


def make_pool(problem: SearchProblem, processes: int) -> ProcessPoolExecutor:
    """``processes`` workers, started before this returns: nothing may be forked once the caller has threads."""
    # macOS and Windows cannot fork safely: there each worker is sent the problem, once
    method = "fork" if sys.platform == "linux" else "spawn"
    pool = ProcessPoolExecutor(
        processes, mp_context=mp.get_context(method), initializer=_start, initargs=(problem, os.getpid())
    )
    # with fork the executor starts all its processes at the first submission
    pool.submit(_nothing).result()
    return pool


def submit(pool: ProcessPoolExecutor, cells: Sequence[Cell]) -> Future[tuple[list[CellResult], Counter[str]]]:
    """Have cells evaluated by one of the workers."""
    return pool.submit(_evaluate, tuple(cells))


def end_pool(pool: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are at: a fit cannot be asked to stop."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def _start(problem: SearchProblem, parent: int) -> None:
    global _problem  # noqa: PLW0603  what a forked process was given at its start
    _problem = problem
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)


def _die_with(parent: int) -> None:
    """A parent that is killed takes its workers along: nobody would take their results."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _nothing() -> None:
    """The first task: it makes the executor start its processes."""


def _evaluate(cells: tuple[Cell, ...]) -> tuple[list[CellResult], Counter[str]]:
    if _problem is None:
        raise RuntimeError("a worker process without a problem")
    return evaluate(_problem, cells)
