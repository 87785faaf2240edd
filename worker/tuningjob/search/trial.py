"""Try a few fits before the search, in a separate process, so that none of their effects reach the caller.

This module chooses the candidates (few that stand for the grid) and the rows (some of a split, each class with its share), and
measures each fit: seconds, memory, or the reason of its failure.
"""

import contextlib
import math
import os
import re
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from tuningjob.aliases import ParamValue
from tuningjob.engine import Work, one_thread
from tuningjob.engine.evaluate import PATCHES, AtWork, Evaluated, Evaluator
from tuningjob.engine.processes import Died, Item, Processes, Raised
from tuningjob.engine.quick import is_quick
from tuningjob.engine.seeds import GlobalGenerators
from tuningjob.search.cells import failed_scorings, result_of, with_warnings, work_of
from tuningjob.search.data import Dataset
from tuningjob.search.problem import SearchProblem
from tuningjob.search.proc import KIB, numbers_of, resident_bytes
from tuningjob.search.reasons import error_text, reason_of
from tuningjob.search.splits import Split

_GOLDEN: Final = 0.6180339887498949
# Errors that may occur only in this process at this time: of memory, processes, networks, clocks.
_BY_CHANCE: Final = re.compile(
    r"MemoryError|bad_alloc|bad allocation|out of memory|[Cc]annot allocate|can't start new thread|Resource temporarily|"
    r"Connection\w*Error|Timeout|URLError|TerminatedWorkerError|BrokenProcessPool|No space left"
)
# scikit-learn's message, which names the metric if there are several.
_NO_NUMBER: Final = re.compile(r"scoring must return a number(?:.*\(scorer=(?P<metric>\w+)\))?", re.DOTALL)
_FEW: Final = 4
_HERE_SECONDS: Final = 0.02  # a small part of what a process costs
_MOST_NUMBERS: Final = 20_000_000


@dataclass(frozen=True)
class MeasuredFit:
    """The measurement of one fit and its scoring: seconds, and the process' peak of private bytes, or the ``error``.

    ``is_certain`` says that it failed by its own exception, not for lack of time, memory or a network, or by its process' death.
    ``in_scoring`` says that the fit itself succeeded, and scoring by the metric with the key ``metric`` failed. ``unscored`` has
    the failed metrics, with their reasons, that do not decide.
    """

    candidate: int
    rows: int
    seconds: float = 0.0
    process_bytes: int = 0
    error: str | None = None
    is_certain: bool = False
    in_scoring: bool = False
    metric: str = ""
    unscored: tuple[tuple[str, str], ...] = ()


# --- candidates and rows


def spread_over(param_grid: Sequence[Mapping[str, Sequence[Any]]], most: int) -> list[dict[str, Any]]:
    """A few candidates that stand for the grid: the most and the least of each large map, then others, evenly spread."""
    sizes = [math.prod(map(len, values.values())) for values in param_grid]
    maps = sorted(range(len(param_grid)), key=lambda i: -sizes[i])
    chosen: list[dict[str, Any]] = []
    for round_ in range(most):
        for i in maps:
            if len(chosen) == most:
                return chosen
            candidate = corner(param_grid[i], round_)
            if not any(is_same(candidate, other) for other in chosen):
                chosen.append(candidate)
    return chosen


def corner(values: Mapping[str, Sequence[Any]], round_: int) -> dict[str, Any]:
    """The candidate of a round: the most of everything in round 0, the least in 1, later evenly spread by a sequence per axis."""
    candidate = {}
    for axis, (name, tried) in enumerate(sorted(values.items())):
        ordered = sorted(tried, key=_magnitude)
        if round_ < 2:
            candidate[name] = ordered[-1 if round_ == 0 else 0]
        else:
            candidate[name] = ordered[
                int(len(ordered) * ((round_ - 1) * _GOLDEN + axis * _GOLDEN**2 % 1) % len(ordered))
            ]
    return candidate


def _magnitude(value: ParamValue) -> float:
    if value is None:
        return math.inf
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if is_number and not math.isnan(value) else 0.0


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two candidates hold the same objects."""
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


def _subsample(problem: SearchProblem, split: int, rows: int, odd: "np.ndarray[Any, Any]") -> Split:
    """A split with so many training rows and the same share of its test rows, in which each class has its share.

    The split's ``odd`` rows are added, because one of them may be the cause of failures on many rows.
    """
    train, test = (np.asarray(side) for side in problem.splits[split])
    share = rows / len(train)
    sampled = (train, rows), (test, max(2, round(share * len(test))))
    fewer_train, fewer_test = (np.union1d(_spaced(problem, side, n), np.intersect1d(side, odd)) for side, n in sampled)
    return (fewer_train if rows < len(train) else train), (fewer_test if rows < len(train) else test)


def _odd_rows(data: Dataset) -> "np.ndarray[Any, Any]":
    """A few rows with an infinite or a missing value; none if the data have too many numbers to check."""
    infinite, missing = np.zeros(data.samples, dtype=bool), np.zeros(data.samples, dtype=bool)
    X, y = data.X, data.y
    if data.samples * data.features <= _MOST_NUMBERS and isinstance(X, pd.DataFrame | np.ndarray) and np.ndim(X) == 2:
        for i in range(data.features):
            column = X.iloc[:, i] if isinstance(X, pd.DataFrame) else X[:, i]
            missing |= np.asarray(pd.isna(column), dtype=bool)
            if column.dtype.kind == "f":
                infinite |= np.isinf(np.asarray(column, dtype=np.float64))
    if np.ndim(y) == 1 and len(y) == data.samples:
        missing |= np.asarray(pd.isna(y), dtype=bool)
    return np.concatenate([np.flatnonzero(mask)[:_FEW] for mask in (infinite, missing)])


def _spaced(problem: SearchProblem, side: "np.ndarray[Any, Any]", rows: int) -> "np.ndarray[Any, Any]":
    if rows >= len(side):
        return side
    if is_classifier(problem.estimator) and np.ndim(problem.data.y) == 1:
        _, label = np.unique(np.asarray(problem.data.y)[side], return_inverse=True)
        side = side[np.argsort(label, kind="stable")]
    return np.sort(side[np.linspace(0, len(side) - 1, rows).astype(int)])


# --- measuring


def succeeds_here(problem: SearchProblem, candidate: Mapping[str, Any], rows: int) -> bool:
    """Whether a fit on so many rows of the first split succeeds in this process; only fits without other effects are tried.

    False proves nothing. A separate process costs more than such a fit and, because this one is large by now, than many fits.
    """
    work = _one_fit(problem, candidate, 0, rows, _odd_rows(problem.data))
    if not is_quick(work, _HERE_SECONDS):
        return False
    generators = GlobalGenerators()
    try:
        with one_thread(), PATCHES.in_force():
            steps = list(with_warnings(Evaluator(work).evaluate(0, [0], plain=True)))
    except Exception:  # noqa: BLE001  a fit in a separate process will report it
        return False
    finally:
        generators.restore()
    metrics = problem.spec.metrics
    return all(
        isinstance(step, AtWork) or (step.outcome["fit_error"] is None and not failed_scorings(step, metrics))
        for step in steps
    )


def _one_fit(
    problem: SearchProblem, candidate: Mapping[str, Any], split: int, rows: int, odd: "np.ndarray[Any, Any]"
) -> Work:
    return replace(work_of(problem), candidates=[candidate], splits=[_subsample(problem, split, rows, odd)])


@dataclass(frozen=True)
class _Task:
    candidate: int
    split: int
    rows: int


class Trial:
    """Fits of the ``chosen`` candidates, in a process that is killed when the time is up. It must be closed.

    ``memory_bytes`` is the pod's memory, 0 if it is not known; the rest of it limits the fits. Raises RuntimeError if
    ``may_fork`` is false, and WorkerDied if no process can be made.
    """

    def __init__(
        self, problem: SearchProblem, chosen: Sequence[Mapping[str, Any]], *, seconds: float, memory_bytes: int = 0
    ) -> None:
        self._problem = problem
        self._chosen = chosen
        self._until = time.monotonic() + seconds
        self._room = _room(memory_bytes)
        self._odd = _odd_rows(problem.data)
        self._is_set_up = False
        self._processes: Processes[_Task, MeasuredFit] = Processes(self._work, 1)

    def close(self) -> None:
        """End the process at once, in the middle of its work."""
        self._processes.close()

    @property
    def left(self) -> float:
        """The time left, in seconds."""
        return self._until - time.monotonic()

    def measure(self, candidate: int, rows: int, *, split: int = 0, within: float = math.inf) -> MeasuredFit | None:
        """Measure one fit on so many rows of a split; None if the trial's or the fit's time is up, which ends the trial."""
        self._processes.submit(_Task(candidate, split, rows))
        result = MeasuredFit(candidate, rows, error="nothing came of it")
        until = min(self._until, time.monotonic() + within)
        while (left := until - time.monotonic()) > 0:
            for event in self._processes.events(left):
                if isinstance(event, Item):
                    result = event.value
                    continue
                if isinstance(event, Raised):
                    result = self._raised(result, error_text(event.exception))
                elif isinstance(event, Died):
                    result = replace(result, error=self._death(event))
                return result
        return None

    def _raised(self, result: MeasuredFit, error: str) -> MeasuredFit:
        """The failure by an error that ends scikit-learn's search, too; a scorer that returns no number always raises it."""
        no_number = _NO_NUMBER.search(error)
        if no_number is None:
            return replace(result, error=error)
        metric = no_number["metric"] or self._problem.spec.metrics.deciding
        return replace(result, error=error, is_certain=True, in_scoring=True, metric=metric)

    def _death(self, died: Died) -> str:
        if died.timed_out:
            return f"the fit took longer than {self._problem.spec.limits.fit_timeout_seconds} s"
        return f"its process {died}"

    # in the child

    def _work(self, task: _Task) -> Iterator[MeasuredFit]:
        if not self._is_set_up:
            self._is_set_up = True
            # a signal that an estimator sends to its process group reaches only this process
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            _limit_memory(self._room)
        with contextlib.suppress(OSError):  # resets the peak, so that it is this fit's own
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        began, waited = time.monotonic(), _waited()
        with one_thread(), PATCHES.in_force():
            for step in with_warnings(Evaluator(self._fit_of(task)).evaluate(0, [0], plain=True)):
                if isinstance(step, Evaluated):
                    metrics = self._problem.spec.metrics
                    cell = result_of(step, metrics)
                    failed = {key: reason_of(each) for key, each in failed_scorings(step, metrics).items()}
                    in_scoring = cell.error is not None and step.outcome["fit_error"] is None
                    error = None if cell.error is None else reason_of(cell.error)
                    # time in which other processes had the processor is subtracted, because a pod has its own processor
                    at_work = max(0.0, 1 - (_waited() - waited) / max(1e-9, time.monotonic() - began))
                    yield MeasuredFit(
                        task.candidate,
                        task.rows,
                        at_work * (cell.fit_seconds + cell.score_seconds),
                        _own_bytes(),
                        error,
                        is_certain=error is not None and _BY_CHANCE.search(error) is None,
                        in_scoring=in_scoring,
                        metric=metrics.deciding if in_scoring else "",
                        unscored=tuple((key, why) for key, why in failed.items() if _BY_CHANCE.search(why) is None),
                    )

    def _fit_of(self, task: _Task) -> Work:
        return _one_fit(self._problem, self._chosen[task.candidate], task.split, task.rows, self._odd)


def _own_bytes() -> int:
    """The peak of this process' private memory, in bytes: its private memory now plus the excess of the resident peak."""
    status = numbers_of("/proc/self/status")
    rollup = numbers_of("/proc/self/smaps_rollup")
    own = rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)
    return (own + max(0, status.get("VmHWM", 0) - status.get("VmRSS", 0))) * KIB


def _waited() -> float:
    """The seconds in which this process was ready to run, but others had the processor."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _room(memory_bytes: int) -> int | None:
    """The bytes that a fit may take, because the kernel may kill the whole pod at its memory limit; None if unknown."""
    return max(0, memory_bytes - resident_bytes()) * 9 // 10 if memory_bytes > 0 else None


def _limit_memory(room: int | None) -> None:
    if room is not None:
        limit = numbers_of("/proc/self/status").get("VmData", 0) * KIB + room
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
