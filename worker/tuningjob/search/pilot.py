"""The pilot: a few fits before the search, in a process of its own, for what all of them will cost.

*Candidates*: at most six of the grid: the one whose every number is the least, the one whose every number is the most, and others
spread evenly. *Rows*: 128 of them first, evenly spaced within each class, then four times as many, and so on, to all the rows
of the first split. A fit is begun if it is expected to end within the budget; the process is killed at its end, and what was
measured by then counts.

*Seconds*. Time in which other processes had the processor is taken off. Each candidate's last fit is carried on to all rows by a
power law, seconds ~ rows^p, where p is the median over the candidates of what their last two fits say. Small fits are mostly
overhead, so growth is underestimated: where p is below 1, halfway from p to 1 is expected; at most it is 1.5 or p + 0.5,
whichever is more, never above 3; at least p - 0.25. ``expected`` is the mean over the grid: the engine's forecast (additive in
the parameters, on a logarithmic scale) of the measured candidates, for up to 1,000 others, within what was measured. ``low`` is
the cheapest candidate's low end, ``high`` the dearest one's high end. Values that one fit covers (256 trees are grown on the way
to 512) cost their group no more than its dearest; ``expected`` and ``low`` are as much lower.

*Memory*. What a process owns alone (and shares with no other) at its peak, each fit in the same process; carried on to all rows
by a straight line through the last two sizes. ``high`` adds half of what was carried on, and a tenth.
"""

import contextlib
import math
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.base import is_classifier

from tuningjob.engine import Work, held_bytes, one_thread
from tuningjob.engine.arrays import size_of
from tuningjob.engine.evaluate import Evaluated, Evaluator
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.processes import Died, Item, Processes, Raised, may_fork
from tuningjob.errors import WorkerDied
from tuningjob.journal.records import Pilot, Spread
from tuningjob.search.cells import result_of, with_warnings, work_of
from tuningjob.search.parameters import valid_values
from tuningjob.search.problem import SearchProblem, Split
from tuningjob.search.reasons import Reason, shortened, told

RUN_SECONDS: Final = 0.7
PLAN_SECONDS: Final = 60.0
# A search that is over so soon needs no estimate.
_SHORT_SEARCH_SECONDS: Final = 5.0
_CANDIDATES: Final = 6
_FORECAST_SAMPLE: Final = 1_000
_FIRST_ROWS: Final = 128
# A fit that takes longer does not notice what the first one of a process pays for.
_WARM_SECONDS: Final = 0.05
_GROWTH: Final = 4
_UNKNOWN_POWER: Final = 1.5
_STEEPEST: Final = 3.0
_COPIES: Final = 3  # of its rows: what a fit takes of which only one size is known
_GOLDEN: Final = 0.6180339887498949
_KIB: Final = 1024


@dataclass(frozen=True)
class Measured:
    """One fit and its scoring: in seconds, and the bytes that its process had for itself at the peak; or why it failed."""

    candidate: int
    rows: int
    seconds: float = 0.0
    process_bytes: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Findings:
    """What came of a pilot: None where nothing could be measured, or nobody needs it; and warnings."""

    pilot: Pilot | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Task:
    candidate: int
    rows: int


def measure(
    problem: SearchProblem, *, n_jobs: int, seconds: float, memory_bytes: int = 0, always: bool = False
) -> Findings:
    """A pilot of at most so many seconds, for a pod of ``n_jobs`` processes within ``memory_bytes`` (0: nobody knows).

    Unless ``always``, it ends after its first fit where the whole search will be short. Never raises for what a fit does.
    """
    whole = len(problem.splits[0][0])
    if not may_fork():
        told = "no fit was measured, because importing the code or loading the data started threads. Nothing else comes of it."
        return Findings(None, (f"{Reason.PILOT_FAILED}: {told}",))
    chosen = _spread_over(valid_values(problem.estimator, problem.space.tried))
    if not chosen:  # of all that was drawn each has something invalid: a warning has told it
        return Findings(None, ())
    trial = _Trial(problem, chosen, seconds, _room(memory_bytes))
    try:
        with contextlib.closing(trial):
            measured = trial.run(None if always else n_jobs)
    except WorkerDied as died:
        return Findings(None, (f"{Reason.PILOT_FAILED}: {died}",))
    warnings = tuple(_failures(chosen, measured, trial.sizes))
    good = [each for each in measured if each.error is None]
    if trial.is_short:
        return Findings(None, warnings)
    if not good:
        if not warnings:
            told = f"no fit on {trial.sizes[0]:,} of {whole:,} rows ended within {seconds:g} s: nothing is known of the costs."
            warnings = (f"{Reason.PILOT_FAILED}: {told}",)
        return Findings(None, warnings)
    return Findings(estimate_of(problem, chosen, good, whole=whole, n_jobs=n_jobs), warnings)


# --- which candidates, which rows


def _spread_over(param_grid: Sequence[Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """Few candidates that stand for the grid: the least and the most of each large map first, then others, evenly spread."""
    sizes = [math.prod(map(len, values.values())) for values in param_grid]
    maps = sorted(range(len(param_grid)), key=lambda i: -sizes[i])
    chosen: list[dict[str, Any]] = []
    for round_ in range(_CANDIDATES):
        for i in maps:
            candidate = _corner(param_grid[i], round_)
            if len(chosen) < _CANDIDATES and not any(_same(candidate, other) for other in chosen):
                chosen.append(candidate)
    return chosen


def _corner(values: Mapping[str, Sequence[Any]], round_: int) -> dict[str, Any]:
    """Round 0: the most of everything; 1: the least; later: evenly spread, each axis by a sequence of its own."""
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


def _magnitude(value: Any) -> float:  # noqa: ANN401  any value: None is mostly "no limit"
    if value is None:
        return math.inf
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if is_number and not math.isnan(value) else 0.0


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


def _sizes(rows: int) -> list[int]:
    sizes = [min(rows, _FIRST_ROWS)]
    while sizes[-1] < rows:
        following = sizes[-1] * _GROWTH
        sizes.append(following if 2 * following <= rows else rows)
    return sizes


def _subsample(problem: SearchProblem, rows: int) -> Split:
    """So many of the first split's training rows, and as large a share of its test rows; each class has its share."""
    train, test = (np.asarray(side) for side in problem.splits[0])
    share = rows / len(train)
    return _spaced(problem, train, rows), _spaced(problem, test, max(2, round(share * len(test))))


def _spaced(problem: SearchProblem, side: "np.ndarray[Any, Any]", rows: int) -> "np.ndarray[Any, Any]":
    if rows >= len(side):
        return side
    if is_classifier(problem.estimator) and np.ndim(problem.data.y) == 1:
        _, label = np.unique(np.asarray(problem.data.y)[side], return_inverse=True)
        side = side[np.argsort(label, kind="stable")]
    return np.sort(side[np.linspace(0, len(side) - 1, rows).astype(int)])


# --- measuring


class _Trial:
    """The fits, in a process that is killed when the time is up."""

    def __init__(
        self, problem: SearchProblem, chosen: Sequence[Mapping[str, Any]], seconds: float, room: int | None
    ) -> None:
        self._problem = problem
        self._chosen = chosen
        self._until = time.monotonic() + seconds
        self._room = room
        self._measured: dict[int, list[Measured]] = {}
        self.sizes = _sizes(len(problem.splits[0][0]))
        self.is_short = False
        self._is_set_up = False
        self._processes: Processes[_Task, Measured] = Processes(self._work, 1)

    def close(self) -> None:
        self._processes.close()

    @property
    def left(self) -> float:
        """Seconds."""
        return self._until - time.monotonic()

    def run(self, n_jobs: int | None) -> list[Measured]:
        """All measurements that there was time for. With ``n_jobs``: of one fit alone where the search will be short."""
        first = self._measure(_Task(0, self.sizes[0]))
        if first is None:
            return []
        if n_jobs is not None and first.error is None and self._is_short(first, n_jobs):
            self.is_short = True
            return [first]
        results = [first]
        if first.error is None and first.seconds < _WARM_SECONDS:
            # the first fit of a process pays for what all of them need: it is measured again
            results.clear()
            self._measured.clear()
        # where little can be measured, the most and the least are followed to more rows, rather than others tried on few
        followed = max(2, int(0.4 * self.left / max(first.seconds, 1e-3)))
        for rows in self.sizes:
            for candidate in range(min(followed, len(self._chosen))):
                is_known = any(each.rows == rows for each in self._measured.get(candidate, []))
                if is_known or self._expected(candidate, rows) > self.left:
                    continue
                result = self._measure(_Task(candidate, rows))
                if result is None:
                    return results or [first]
                results.append(result)
        return results or [first]

    def _is_short(self, first: Measured, n_jobs: int) -> bool:
        problem = self._problem
        fits = len(problem.candidates) * len(problem.splits)
        growth = (self.sizes[-1] / first.rows) ** 2
        return first.seconds * growth * fits / n_jobs <= _SHORT_SEARCH_SECONDS

    def _expected(self, candidate: int, rows: int) -> float:
        known = [each for each in self._measured.get(candidate, []) if each.error is None]
        if not known:
            # nothing is lost by trying but the rest of the time
            others = [each.seconds for all_ in self._measured.values() for each in all_ if each.error is None]
            return min(others, default=0.0)
        last = known[-1]
        power = _power(known)
        power = _UNKNOWN_POWER if power is None else max(1.0, power)
        return float(last.seconds * (rows / last.rows) ** power)

    def _measure(self, task: _Task) -> Measured | None:
        """None when the time is up."""
        self._processes.submit(task)
        result = Measured(task.candidate, task.rows, error="nothing came of it")
        while self.left > 0:
            for event in self._processes.events(self.left):
                if isinstance(event, Item):
                    result = event.value
                    continue
                if isinstance(event, Raised):
                    result = replace(result, error=told(event.exception))
                elif isinstance(event, Died):
                    result = replace(result, error=self._death(event))
                self._measured.setdefault(task.candidate, []).append(result)
                return result
        return None

    def _death(self, died: Died) -> str:
        if died.timed_out:
            return f"the fit took longer than {self._problem.spec.limits.fit_timeout_seconds} s"
        return f"its process {died}, mostly for lack of memory"

    # in the child

    def _work(self, task: _Task) -> Iterator[Measured]:
        if not self._is_set_up:
            self._is_set_up = True
            # what an estimator does to its group of processes it does to itself alone
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            _limit_memory(self._room)
        with contextlib.suppress(OSError):  # the peak is to be this fit's own
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        began, waited = time.monotonic(), _waited()
        with one_thread():
            for step in with_warnings(Evaluator(self._work_of(task)).evaluate(0, [0], plain=True)):
                if isinstance(step, Evaluated):
                    cell = result_of(step)
                    error = None if cell.error is None else _last_line(cell.error)
                    # time in which others had the processor is not the fit's: a pod has its own
                    at_work = max(0.0, 1 - (_waited() - waited) / max(1e-9, time.monotonic() - began))
                    seconds = at_work * (cell.fit_seconds + cell.score_seconds)
                    yield Measured(task.candidate, task.rows, seconds, _own_bytes(), error)

    def _work_of(self, task: _Task) -> Work:
        whole = work_of(self._problem)
        return replace(whole, candidates=[self._chosen[task.candidate]], splits=[_subsample(self._problem, task.rows)])


def _last_line(error: str) -> str:
    lines = [line for line in error.splitlines() if line.strip()]
    return shortened(lines[-1].strip().rstrip(".")) if lines else error


def _own_bytes() -> int:
    """What this process has had for itself at the most: what it shares with nobody, and how much it once had more than now."""
    status = _numbers_of("/proc/self/status")
    rollup = _numbers_of("/proc/self/smaps_rollup")
    own = rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)
    return (own + max(0, status.get("VmHWM", 0) - status.get("VmRSS", 0))) * _KIB


def _numbers_of(path: str) -> dict[str, int]:
    """The lines of a file of the kernel's that count kB."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    return {part[0].rstrip(":"): int(part[1]) for part in parts if len(part) == 3 and part[2] == "kB"}


def _waited() -> float:
    """Seconds in which this process could have run, but others did."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def resident_bytes() -> int:
    """What this process has in memory."""
    return _numbers_of("/proc/self/status").get("VmRSS", 0) * _KIB


def _room(memory_bytes: int) -> int | None:
    """Bytes that a fit of the pilot may take: where the pod's memory ends, the kernel might end all of the pod."""
    return max(0, memory_bytes - resident_bytes()) * 9 // 10 if memory_bytes > 0 else None


def _limit_memory(room: int | None) -> None:
    if room is not None:
        limit = _numbers_of("/proc/self/status").get("VmData", 0) * _KIB + room
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


# --- what it comes to


def _power(known: Sequence[Measured]) -> float | None:
    """The p of seconds ~ rows^p, by the last two sizes; None of one size."""
    sizes = {each.rows: each.seconds for each in known}
    if len(sizes) < 2:
        return None
    (rows, seconds), (more_rows, more_seconds) = sorted(sizes.items())[-2:]
    grown = math.log(max(more_seconds, 1e-6) / max(seconds, 1e-6)) / math.log(more_rows / rows)
    return min(_STEEPEST, max(0.0, grown))


@dataclass(frozen=True)
class Cost:
    """What a fit of one candidate on all rows takes."""

    seconds: Spread
    process_bytes: Spread


def cost_of(known: Sequence[Measured], whole: int, *, power: float, row_bytes: float) -> Cost:
    """Of a candidate that was measured so, on all of ``whole`` rows of ``row_bytes`` each; seconds grow as rows^power."""
    last = max(known, key=lambda each: each.rows)
    ratio = whole / last.rows
    expected = (power + 1) / 2 if power < 1 else power
    seconds = Spread(
        # a fit that was measured whole is one of many: the machine's noise
        low=0.8 * last.seconds * ratio ** max(0.0, power - 0.25),
        expected=last.seconds * ratio**expected,
        high=1.25 * last.seconds * ratio ** min(_STEEPEST, max(1.5, power + 0.5)),
    )
    sizes = sorted({each.rows: each.process_bytes for each in known}.items())
    slope = max(((more - less) / (b - a) for (a, less), (b, more) in pairwise(sizes[-2:])), default=0.0)
    if len(sizes) < 2:
        slope = _COPIES * row_bytes
    carried = max(0.0, slope) * (whole - last.rows)
    memory = Spread(
        low=last.process_bytes,
        expected=last.process_bytes + carried,
        high=1.1 * (last.process_bytes + 1.5 * carried),
    )
    return Cost(seconds, memory)


def estimate_of(
    problem: SearchProblem, chosen: Sequence[Mapping[str, Any]], good: Sequence[Measured], *, whole: int, n_jobs: int
) -> Pilot:
    """What all cells will cost, on ``whole`` rows, by some fits of the candidates that were ``chosen``."""
    by_candidate: dict[int, list[Measured]] = {}
    for each in good:
        by_candidate.setdefault(each.candidate, []).append(each)
    powers = [power for known in by_candidate.values() if (power := _power(known)) is not None]
    # how costs grow is the algorithm's, and few measurements are noisy: one power for all
    power = float(np.median(powers)) if powers else 1.0
    work = work_of(problem)
    row_bytes = size_of(work.X) / max(1, problem.data.samples)
    costs = {
        candidate: cost_of(known, whole, power=power, row_bytes=row_bytes) for candidate, known in by_candidate.items()
    }
    shared = _share_of_nested(problem)
    seconds = [cost.seconds for cost in costs.values()]
    expected = shared * _mean_over_grid(problem, {each: cost.seconds.expected for each, cost in costs.items()}, chosen)
    high = max(each.high for each in seconds)
    memory = [cost.process_bytes for cost in costs.values()]
    return Pilot(
        cell_seconds=Spread(
            low=min(expected, shared * min(each.low for each in seconds)), expected=expected, high=max(expected, high)
        ),
        process_bytes=Spread(
            low=min(each.low for each in memory),
            expected=float(np.mean([each.expected for each in memory])),
            high=max(each.high for each in memory),
        ),
        # X and y are in the process's memory already
        pod_bytes=resident_bytes() + held_bytes(work, n_jobs, smallest_memo=0) - size_of(work.X) - size_of(work.y),
        cells=len(good),
        full=sum(each.rows == whole for each in good),
    )


def _mean_over_grid(problem: SearchProblem, costs: Mapping[int, float], chosen: Sequence[Mapping[str, Any]]) -> float:
    """The mean seconds of a candidate, by the engine's forecast: measured are a few corners."""
    forecast = Forecast()
    for candidate, seconds in costs.items():
        forecast.learn(chosen[candidate], seconds)
    measured = list(costs.values())
    if not forecast.is_measured:
        return float(np.mean(measured))
    total = len(problem.candidates)
    looked_at = min(total, _FORECAST_SAMPLE)
    # by golden steps: evenly, and in step with no axis
    sample = {int(total * (i * _GOLDEN % 1)) for i in range(looked_at)} if total > looked_at else range(total)
    found = [forecast.seconds(problem.candidates[i]) for i in sample]
    return float(np.mean(np.clip(found, min(measured), max(measured))))


def _share_of_nested(problem: SearchProblem) -> float:
    """How much less a cell costs because one fit serves all values of an axis: of evenly spaced costs, the dearest alone."""
    blocks = problem.space.blocks(problem.estimator)
    if not blocks:
        return 1.0
    sizes = [math.prod(axis.size for axis in block.axes) for block in blocks]
    shares = [math.prod(2 / (axis.size + 1) for axis in block.axes if axis.together) for block in blocks]
    return sum(size * share for size, share in zip(sizes, shares, strict=True)) / max(1, sum(sizes))


def _failures(chosen: Sequence[Mapping[str, Any]], measured: Sequence[Measured], sizes: Sequence[int]) -> Iterator[str]:
    """A warning about candidates whose last fit failed; few rows may be why, so it is said how many they were."""
    last = {each.candidate: each for each in measured}
    failed = [each for each in last.values() if each.error is not None]
    if failed:
        first = failed[0]
        params = shortened(str(dict(chosen[first.candidate])))
        yield (
            f"{Reason.PILOT_FAILED}: {len(failed)} of {len(last)} candidates failed when they were tried on {first.rows:,} of "
            f"{sizes[-1]:,} rows, the first one ({params}) with: {first.error}. The search runs; such fits are scored NaN."
        )
