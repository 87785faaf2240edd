"""How big a search is, from the spec alone: candidates, splits, fits, and what one pod may run at once.

Exact at any size (Python's integers): numpy's would overflow. Read by the operator, the CLI and the worker.
"""

import math
from dataclasses import dataclass
from typing import Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.journal.records import Pilot
from tuningjob.spec.grid import parse_grid
from tuningjob.spec.models import TuningJobSpec
from tuningjob.spec.quantity import cpu_cores

WARN_FITS: Final = 500
STRONGLY_WARN_FITS: Final = 1_000


@dataclass(frozen=True)
class Size:
    """Of a search. ``fits`` (cells) = candidates × splits."""

    candidates: int
    splits: int

    @property
    def fits(self) -> int:
        """Cells of the search; the refit of the best is one more."""
        return self.candidates * self.splits


def size_of(spec: TuningJobSpec) -> Size:
    """The size of a search. Raises ManifestRefused for a grid that cannot be read."""
    return Size(candidates=parse_grid(spec.search.grid.parameters).size, splits=spec.cross_validation.folds)


def size_warning(size: Size) -> str | None:
    """A warning above 500 fits, and a stronger one above 1,000; else None."""
    if size.fits > STRONGLY_WARN_FITS:
        return (
            f"{_number(size.fits)} fits are more than {STRONGLY_WARN_FITS:,}: "
            "expect a long search. Fewer values per parameter, or fewer folds, shorten it."
        )
    if size.fits > WARN_FITS:
        return f"{_number(size.fits)} fits are more than {WARN_FITS}: think of fewer values or fewer folds."
    return None


def check_limit(size: Size, spec: TuningJobSpec, *, cluster_max_fits: int | None = None) -> None:
    """Raises ManifestRefused for a search above ``spec.limits.maxFits``, or above the cluster's own ceiling."""
    limit, owner = spec.limits.max_fits, "spec.limits.maxFits"
    advice = "Give fewer values or folds, or raise spec.limits.maxFits."
    if cluster_max_fits is not None and cluster_max_fits < limit:
        limit, owner = cluster_max_fits, "this cluster's ceiling"
        advice = "Give fewer values or folds; the ceiling is the administrator's (chart value limits.maxFits)."
    if size.fits > limit:
        raise ManifestRefused(
            [
                Problem(
                    "spec.search.grid.parameters",
                    f"a grid of at most {limit:,} fits ({owner})",
                    f"{_number(size.candidates)} candidates × {size.splits} folds = {_number(size.fits)} fits",
                    advice,
                )
            ]
        )


def n_jobs_of(spec: TuningJobSpec) -> int:
    """Processes in one pod: the floor of its CPU limit, at least 1."""
    return max(1, math.floor(cpu_cores(spec.resources.cpu)))


def n_jobs_within(n_jobs: int, memory_bytes: int, pilot: Pilot | None) -> int:
    """``n_jobs``, lowered until that many processes fit the pod's memory by the pilot's upper estimate; at least 1.

    One process is always tried: an estimate is no reason to refuse, and a candidate that runs out of memory is dealt with.
    """
    if pilot is None or memory_bytes <= 0 or pilot.process_bytes.high <= 0:
        return n_jobs
    room = memory_bytes - pilot.pod_bytes
    return max(1, min(n_jobs, math.floor(room / pilot.process_bytes.high)))


def pods_of(spec: TuningJobSpec, size: Size) -> int:
    """Pods that the search can use: no more than asked for, no more than there is work for."""
    return max(1, min(spec.parallelism, math.ceil(size.fits / n_jobs_of(spec))))


def _number(value: int) -> str:
    """``value`` with separators; a power of ten once it is too long to read."""
    text = f"{value:,}"
    return text if len(text) <= 30 else f"about 10^{len(str(value)) - 1}"
