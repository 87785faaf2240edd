"""How long a search will take: estimated from the pilot first, then more and more from the fits that are done. Pure.

The pilot counts as PILOT_WEIGHT fits beside the measured ones, and its spread narrows as that of a mean of n measurements, with
the square root of n. The fits that are expected to take longest are measured first (journal.units), so an early estimate is
rather too high than too low.
"""

import contextlib
import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

from tuningjob.journal.records import Progress
from tuningjob.manifest.status import EstimateStatus, SpreadStatus
from tuningjob.protocol.records import Spread

PILOT_WEIGHT: Final = 8
# Without a pilot, the first fits may be this many times off.
_GUESS: Final = 4.0
# A pod that would work for a shorter time is not worth its start: container, imports and data took 3 to 5 s here.
LEAST_POD_SECONDS: Final = 5.0
_MIB: Final = 2**20
_TIME: Final = "%H:%MZ"
_DATE: Final = "%Y-%m-%d %H:%MZ"
# An end farther ahead than this is shown with its date: a time of day alone can be told from one to come for half a day.
_SOON: Final = dt.timedelta(hours=12)
_MINUTE: Final = dt.timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """``cell``: seconds of one fit and its scoring, in one process; ``spent`` and ``left``: seconds of all of them."""

    cell: Spread
    spent: float
    left: Spread
    progress: Progress

    @property
    def basis(self) -> str:
        """What the estimate was made from, in words."""
        pilot = self.progress.preflight.pilot if self.progress.preflight else None
        fits = f"{self.progress.measured} fits of the search"
        if pilot is None:
            return fits
        piloted = f"a pilot of {pilot.cells} fits ({pilot.full} of them on all rows)"
        return f"{piloted} and {fits}" if self.progress.measured else piloted


def estimate(progress: Progress) -> Estimate | None:
    """The estimate of a search; None while nothing was measured."""
    pilot = progress.preflight.pilot if progress.preflight is not None else None
    if pilot is None and not progress.measured:
        return None
    prior = pilot.cell_seconds if pilot is not None and pilot.cells else None
    weight = PILOT_WEIGHT if prior is not None else 0
    if weight + progress.measured == 0:
        return None
    before = prior.expected if prior is not None else 0.0
    expected = (before * weight + progress.cell_seconds) / (weight + progress.measured)
    narrower = 1 / math.sqrt(1 + progress.measured / PILOT_WEIGHT)
    below = _ratio(prior.expected, prior.low) if prior is not None else _GUESS
    above = _ratio(prior.high, prior.expected) if prior is not None else _GUESS
    cell = Spread(low=expected / below**narrower, expected=expected, high=expected * above**narrower)
    # the same share of what is left is likely to be pruned as was until now
    cells = (progress.total - progress.done) * (1 - progress.pruned / progress.done if progress.done else 1)
    left = Spread(low=cells * cell.low, expected=cells * cell.expected, high=cells * cell.high)
    return Estimate(cell=cell, spent=progress.cell_seconds, left=left, progress=progress)


def useful_pods(found: Estimate | None, n_jobs: int) -> int | None:
    """How many pods what is left can keep busy for as long as a start is worth, at the upper estimate. None: unknown."""
    if found is None or found.progress.preflight is None or found.progress.preflight.pilot is None:
        return None
    return max(1, math.ceil(found.left.high / (n_jobs * LEAST_POD_SECONDS)))


def seconds_left(found: Estimate, at_a_time: int) -> float:
    """Seconds until the last fit ends, with ``at_a_time`` fits at once."""
    return min(found.left.expected / at_a_time, 1e9)


def estimate_status(found: Estimate, *, pods: int, n_jobs: int, now: dt.datetime, runs: bool) -> EstimateStatus:
    """The estimate as the status shows it. ``runs``: pods are at work, so that an end can be foretold."""
    at_a_time = pods * n_jobs
    total = _plus(found.left, found.spent)
    progress = found.progress
    pilot = progress.preflight.pilot if progress.preflight is not None else None
    ends = now + dt.timedelta(seconds=seconds_left(found, at_a_time))
    return EstimateStatus(
        cpu_hours=_shown(total, 1 / 3600),
        wall_seconds=_shown(total, 1 / at_a_time),
        memory_mib_per_process=_shown(pilot.process_bytes, 1 / _MIB) if pilot is not None else None,
        memory_mib_per_pod=math.ceil(pilot.pod_bytes / _MIB) if pilot is not None else None,
        seconds_per_fit=_shown(found.cell, 1.0),
        measured_fits=progress.measured,
        basis=found.basis,
        completes_at=_clock(ends, now) if runs and progress.done < progress.total else None,
    )


def _clock(moment: dt.datetime, now: dt.datetime) -> str:
    utc = moment.astimezone(dt.UTC)
    return utc.strftime(_TIME) if moment - now < _SOON else utc.strftime(_DATE)


def has_passed(completes_at: str, now: dt.datetime) -> bool:
    """Whether a foretold end, which is given to the minute, lies in the past and so was wrong."""
    with contextlib.suppress(ValueError):
        return now - dt.datetime.strptime(completes_at, _DATE).replace(tzinfo=dt.UTC) >= _MINUTE
    with contextlib.suppress(ValueError):
        told = dt.datetime.strptime(f"{now.astimezone(dt.UTC):%Y-%m-%d} {completes_at}", _DATE).replace(tzinfo=dt.UTC)
        return _MINUTE <= (now - told) % dt.timedelta(days=1) < _SOON
    return False


def _ratio(high: float, low: float) -> float:
    return min(max(high / low, 1.0), 1_000.0) if low > 0 else _GUESS


def _plus(spread: Spread, more: float) -> Spread:
    return Spread(low=spread.low + more, expected=spread.expected + more, high=spread.high + more)


def _shown(spread: Spread, scale: float) -> SpreadStatus:
    """The spread in three significant digits, because more would be a promise."""
    return SpreadStatus(**{name: float(f"{getattr(spread, name) * scale:.3g}") for name in ("low", "expected", "high")})
