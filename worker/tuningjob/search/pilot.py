"""The pilot: a few fits in a separate process before the search, which estimate the cost of all fits.

*Candidates*: at most six of the grid: the one with the least of every number, the one with the most of every number, and others
spread evenly. *Rows*: first 128, evenly spaced within each class, then four times as many, and so on, up to all rows of the first
split. A fit is begun if it is expected to end within the time budget. When that is over, the process is killed, and the
measurements so far count.

*Seconds*. Time in which other processes had the processor is subtracted. Each candidate's last fit is extrapolated to all rows by
a power law, seconds ~ rows^p, in which p is the median over the candidates, each by its last two fits. Small fits are mostly
overhead, so this underestimates growth. If p is below 1, the expected power is halfway from p to 1. The upper power is the
greater of 1.5 and p + 0.5, but at most 3; the lower one is p - 0.25. ``expected`` is the mean over up to 1,000 candidates of the
grid, by the engine's forecast (additive in the parameters, on a logarithmic scale), within the range of the measured ones.
``low`` is the low end of the cheapest candidate, ``high`` the high end of the dearest one. Values that one fit covers (256 trees
are grown on the way to 512) cost their group no more than its dearest value, so ``expected`` and ``low`` are lower by that share.

*Memory*. The peak of a process' private memory, with all fits in the same process, extrapolated to all rows by a straight line
through the last two sizes. ``high`` adds half of the extrapolated part, and then a tenth.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from tuningjob.engine import held_bytes
from tuningjob.engine.arrays import bytes_of
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.processes import may_fork
from tuningjob.errors import WorkerDied
from tuningjob.protocol.records import Pilot, Spread
from tuningjob.search.cells import work_of
from tuningjob.search.parameters import valid_values
from tuningjob.search.problem import SearchProblem
from tuningjob.search.proc import resident_bytes
from tuningjob.search.reasons import Reason, abridged
from tuningjob.search.trial import MeasuredFit, Trial, spread_over

RUN_SECONDS: Final = 0.7
PLAN_SECONDS: Final = 60.0
# A search that ends within so many seconds needs no estimate.
_SHORT_SEARCH_SECONDS: Final = 5.0
_CANDIDATES: Final = 6
_FORECAST_SAMPLE: Final = 1_000
_FIRST_ROWS: Final = 128
# In a longer fit the start-up cost of a process' first fit does not matter.
_WARM_SECONDS: Final = 0.05
_GROWTH: Final = 4
_UNKNOWN_POWER: Final = 1.5
_STEEPEST: Final = 3.0
_COPIES: Final = 3  # the memory that a fit is assumed to take, in copies of its rows, if only one size was measured
_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True)
class PilotResult:
    """The outcome of a pilot: its estimate, None if nothing could be measured or none is needed, and warnings."""

    pilot: Pilot | None
    warnings: tuple[str, ...] = ()


def run_pilot(
    problem: SearchProblem, *, n_jobs: int, seconds: float, memory_bytes: int = 0, always: bool = False
) -> PilotResult:
    """Run a pilot of at most so many seconds, for a pod of ``n_jobs`` processes within ``memory_bytes`` (0: not known).

    Unless ``always``, it ends after its first fit if the whole search will be short. Errors of fits are not raised.
    """
    whole = len(problem.splits[0][0])
    if not may_fork():
        told = "no fit was measured, because importing the code or loading the data started threads. Nothing else comes of it."
        return PilotResult(None, (f"{Reason.PILOT_FAILED}: {told}",))
    chosen = spread_over(valid_values(problem.estimator, problem.space.tried), _CANDIDATES)
    if not chosen:  # each drawn candidate has an invalid value, of which a warning exists
        return PilotResult(None, ())
    try:
        with contextlib.closing(Trial(problem, chosen, seconds=seconds, memory_bytes=memory_bytes)) as trial:
            round_ = _Round(problem, chosen, trial)
            measured = round_.run(None if always else n_jobs)
    except WorkerDied as died:
        return PilotResult(None, (f"{Reason.PILOT_FAILED}: {died}",))
    warnings = tuple(_failures(chosen, measured, round_.sizes))
    good = [each for each in measured if each.error is None]
    if round_.is_short:
        return PilotResult(None, warnings)
    if not good:
        if not warnings:
            told = f"no fit on {round_.sizes[0]:,} of {whole:,} rows ended within {seconds:g} s: nothing is known of the costs."
            warnings = (f"{Reason.PILOT_FAILED}: {told}",)
        return PilotResult(None, warnings)
    return PilotResult(estimate_of(problem, chosen, good, whole=whole, n_jobs=n_jobs), warnings)


def _sizes(rows: int) -> list[int]:
    sizes = [min(rows, _FIRST_ROWS)]
    while sizes[-1] < rows:
        following = sizes[-1] * _GROWTH
        sizes.append(following if 2 * following <= rows else rows)
    return sizes


# --- measuring


class _Round:
    """The measurements of a pilot: it tries the candidates in their order until the time is up."""

    def __init__(self, problem: SearchProblem, chosen: Sequence[Mapping[str, Any]], trial: Trial) -> None:
        self._problem = problem
        self._chosen = chosen
        self._trial = trial
        self._measured: dict[int, list[MeasuredFit]] = {}
        self.sizes = _sizes(len(problem.splits[0][0]))
        self.is_short = False

    @property
    def left(self) -> float:
        """The time left, in seconds."""
        return self._trial.left

    def run(self, n_jobs: int | None) -> list[MeasuredFit]:
        """All measurements that there was time for; with ``n_jobs``, only the first one if the search will be short."""
        first = self._measure(0, self.sizes[0])
        if first is None:
            return []
        if n_jobs is not None and first.error is None and self._is_short(first, n_jobs):
            self.is_short = True
            return [first]
        results = [first]
        if first.error is None and first.seconds < _WARM_SECONDS:
            # measured again, because the first fit of a process includes start-up costs
            results.clear()
            self._measured.clear()
        # with little time it is better to follow the most and the least to more rows than to try others on few
        followed = max(2, int(0.4 * self.left / max(first.seconds, 1e-3)))
        for rows in self.sizes:
            for candidate in range(min(followed, len(self._chosen))):
                is_known = any(each.rows == rows for each in self._measured.get(candidate, []))
                if is_known or self._expected(candidate, rows) > self.left:
                    continue
                result = self._measure(candidate, rows)
                if result is None:
                    return results or [first]
                results.append(result)
        return results or [first]

    def _is_short(self, first: MeasuredFit, n_jobs: int) -> bool:
        problem = self._problem
        fits = len(problem.candidates) * len(problem.splits)
        growth = (self.sizes[-1] / first.rows) ** 2
        return first.seconds * growth * fits / n_jobs <= _SHORT_SEARCH_SECONDS

    def _expected(self, candidate: int, rows: int) -> float:
        known = [each for each in self._measured.get(candidate, []) if each.error is None]
        if not known:
            # a try can only cost the rest of the time
            others = [each.seconds for all_ in self._measured.values() for each in all_ if each.error is None]
            return min(others, default=0.0)
        last = known[-1]
        power = _power(known)
        power = _UNKNOWN_POWER if power is None else max(1.0, power)
        return float(last.seconds * (rows / last.rows) ** power)

    def _measure(self, candidate: int, rows: int) -> MeasuredFit | None:
        """The measurement of one fit; None when the time is up."""
        result = self._trial.measure(candidate, rows)
        if result is not None:
            self._measured.setdefault(candidate, []).append(result)
        return result


# --- what it comes to


def _power(known: Sequence[MeasuredFit]) -> float | None:
    """The p of seconds ~ rows^p by the last two sizes; None if there is only one size."""
    sizes = {each.rows: each.seconds for each in known}
    if len(sizes) < 2:
        return None
    (rows, seconds), (more_rows, more_seconds) = sorted(sizes.items())[-2:]
    grown = math.log(max(more_seconds, 1e-6) / max(seconds, 1e-6)) / math.log(more_rows / rows)
    return min(_STEEPEST, max(0.0, grown))


@dataclass(frozen=True)
class Cost:
    """The seconds and bytes that a fit of one candidate on all rows takes."""

    seconds: Spread
    process_bytes: Spread


def cost_of(known: Sequence[MeasuredFit], whole: int, *, power: float, row_bytes: float) -> Cost:
    """The cost of a measured candidate on all ``whole`` rows of ``row_bytes`` each, if seconds grow as rows^power."""
    last = max(known, key=lambda each: each.rows)
    ratio = whole / last.rows
    expected = (power + 1) / 2 if power < 1 else power
    seconds = Spread(
        # 0.8 and 1.25 are for the machine's noise, because even a fit on all rows was measured only once
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
    problem: SearchProblem, chosen: Sequence[Mapping[str, Any]], good: Sequence[MeasuredFit], *, whole: int, n_jobs: int
) -> Pilot:
    """The estimate of what all cells cost on ``whole`` rows, from some fits of the ``chosen`` candidates."""
    by_candidate: dict[int, list[MeasuredFit]] = {}
    for each in good:
        by_candidate.setdefault(each.candidate, []).append(each)
    powers = [power for known in by_candidate.values() if (power := _power(known)) is not None]
    # one power for all candidates, because growth depends on the algorithm, and few measurements are noisy
    power = float(np.median(powers)) if powers else 1.0
    work = work_of(problem.whole)
    row_bytes = bytes_of(work.X) / max(1, problem.data.samples)
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
        pod_bytes=resident_bytes() + held_bytes(work, n_jobs, smallest_memo=0) - bytes_of(work.X) - bytes_of(work.y),
        cells=len(good),
        full=sum(each.rows == whole for each in good),
    )


def _mean_over_grid(problem: SearchProblem, costs: Mapping[int, float], chosen: Sequence[Mapping[str, Any]]) -> float:
    """The mean seconds of a candidate by the engine's forecast, because only a few corners of the grid were measured."""
    forecast = Forecast()
    for candidate, seconds in costs.items():
        forecast.learn(chosen[candidate], seconds)
    measured = list(costs.values())
    if not forecast.is_measured:
        return float(np.mean(measured))
    total = len(problem.candidates)
    looked_at = min(total, _FORECAST_SAMPLE)
    # golden steps spread evenly and are in step with no axis
    sample = {int(total * (i * _GOLDEN % 1)) for i in range(looked_at)} if total > looked_at else range(total)
    found = [forecast.seconds(problem.candidates[i]) for i in sample]
    return float(np.mean(np.clip(found, min(measured), max(measured))))


def _share_of_nested(problem: SearchProblem) -> float:
    """The share of a cell's cost that remains if one fit serves an axis: only the dearest of evenly spaced costs counts."""
    blocks = problem.space.blocks(problem.estimator)
    if not blocks:
        return 1.0
    sizes = [math.prod(axis.size for axis in block.axes) for block in blocks]
    shares = [math.prod(2 / (axis.size + 1) for axis in block.axes if axis.together) for block in blocks]
    return sum(size * share for size, share in zip(sizes, shares, strict=True)) / max(1, sum(sizes))


def _failures(
    chosen: Sequence[Mapping[str, Any]], measured: Sequence[MeasuredFit], sizes: Sequence[int]
) -> Iterator[str]:
    """A warning about candidates whose last fit failed, with the number of rows, because that may be the cause."""
    last = {each.candidate: each for each in measured}
    failed = [each for each in last.values() if each.error is not None]
    if failed:
        first = failed[0]
        params = abridged(str(dict(chosen[first.candidate])))
        yield (
            f"{Reason.PILOT_FAILED}: {len(failed)} of {len(last)} candidates failed when they were tried on {first.rows:,} of "
            f"{sizes[-1]:,} rows, the first one ({params}) with: {first.error}. The search runs; such fits are scored NaN."
        )
