"""How big a search is, from the spec alone: candidates, splits, fits, and what one pod may run at once.

Exact at any size (Python's integers): numpy's would overflow. Read by the operator, the CLI and the worker.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.grid import GRID, Grid, Sample, can_be_drawn
from tuningjob.manifest.literals import readable
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.quantity import cpu_cores
from tuningjob.manifest.search import MOST_ITERATIONS
from tuningjob.protocol.records import Pilot

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
    """The size of a search."""
    return Size(candidates=spec.search.space.size, splits=spec.cross_validation.folds)


def size_warning(size: Size) -> str | None:
    """A warning above 500 fits, and a stronger one above 1,000; else None."""
    if size.fits > STRONGLY_WARN_FITS:
        return (
            f"{readable(size.fits)} fits are more than {STRONGLY_WARN_FITS:,}: "
            "expect a long search. Fewer values per parameter, or fewer folds, shorten it."
        )
    if size.fits > WARN_FITS:
        return f"{readable(size.fits)} fits are more than {WARN_FITS}: think of fewer values or fewer folds."
    return None


def check_limit(size: Size, spec: TuningJobSpec, *, cluster_max_fits: int | None = None) -> None:
    """Raises ManifestRefused for a search above ``spec.limits.maxFits``, or above the cluster's own ceiling."""
    limit, owner, last_resort = spec.limits.max_fits, "spec.limits.maxFits", ", or raise spec.limits.maxFits."
    if cluster_max_fits is not None and cluster_max_fits < limit:
        limit, owner = cluster_max_fits, "this cluster's ceiling"
        last_resort = "; the ceiling is the administrator's (chart value limits.maxFits)."
    if size.fits <= limit:
        return
    affordable = limit // size.splits
    if isinstance(spec.search.space, Grid):
        field, what = GRID, "grid"
        ways = ["fewer values or folds", *_drawn_instead(spec.search.space, affordable)]
    else:
        field, what = "spec.search.random.iterations", "search"
        ways = [f"at most {affordable:,} iterations, or fewer folds" if affordable else "fewer folds"]
    got = f"{readable(size.candidates)} candidates × {size.splits} folds = {readable(size.fits)} fits"
    advice = f"Give {', or '.join(ways)}{last_resort}"
    raise ManifestRefused([Problem(field, f"a {what} of at most {limit:,} fits ({owner})", got, advice)])


def _drawn_instead(grid: Grid, affordable: int) -> Iterator[str]:
    """The advice to draw from a grid, if so much as one candidate can be afforded."""
    if affordable:
        drawn = Sample(grid.maps, min(affordable, MOST_ITERATIONS))
        how = "" if can_be_drawn(drawn) else "distributions and "
        yield f"spec.search.random with {how}iterations: {drawn.iterations} in place of the grid"


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
