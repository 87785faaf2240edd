"""The size of a search, from the spec alone: candidates, splits, fits, and how many processes one pod runs.

Python's integers keep it exact at any size, while numpy's would overflow. The operator, the CLI and the worker use it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.cross_validation import SPLITTER, CrossValidation
from tuningjob.manifest.grid import GRID, Grid, Sample, can_be_drawn
from tuningjob.manifest.literals import Arguments, Scalar, readable
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.nested import NESTED
from tuningjob.manifest.quantity import cpu_cores
from tuningjob.manifest.ranges import count_values
from tuningjob.manifest.search import MOST_ITERATIONS
from tuningjob.protocol.records import MOST_SPLITS, Pilot

WARN_FITS: Final = 500
STRONGLY_WARN_FITS: Final = 1_000


# scikit-learn's splitters whose number of splits does not depend on the data, with the defaults of n_splits and n_repeats.
_SPLITTERS: Final = {
    **dict.fromkeys(("KFold", "StratifiedKFold", "GroupKFold", "StratifiedGroupKFold", "TimeSeriesSplit"), (5, 1)),
    **dict.fromkeys(("ShuffleSplit", "StratifiedShuffleSplit"), (10, 1)),
    "GroupShuffleSplit": (5, 1),
    **dict.fromkeys(("RepeatedKFold", "RepeatedStratifiedKFold"), (5, 10)),
}
_OF_SPLITTERS: Final = ("sklearn.model_selection", "sklearn.model_selection._split")


@dataclass(frozen=True)
class Size:
    """The size of a search. ``fits`` (cells) = rows × splits; None if only the data determine the number of splits.

    ``rows`` of the journal are the candidates, and what is evaluated ``beside`` them: the ``defaults`` (0 or 1), and all
    candidates in each ``outer`` fold. ``later``: the most candidates of rounds that depend on earlier ones.
    """

    candidates: int
    splits: int | None
    defaults: int = field(default=0, kw_only=True)
    outer: int = field(default=0, kw_only=True)
    later: int = field(default=0, kw_only=True)

    @property
    def beside(self) -> int:
        """The number of rows that are no candidates."""
        return self.defaults + self.outer

    @property
    def told_beside(self) -> list[str]:
        """What is evaluated beside the candidates, in words."""
        outer = [f"{readable(self.outer)} in outer folds"] if self.outer else []
        return [*(["the defaults"] if self.defaults else []), *outer]

    @property
    def rows(self) -> int:
        """How many rows the search has in the journal."""
        return self.candidates + self.beside

    @property
    def fits(self) -> int | None:
        """Cells of the search; the refit of the best is one more."""
        return None if self.splits is None else self.rows * self.splits

    @property
    def told_rows(self) -> str:
        """The number of rows, in words."""
        told = " + ".join([f"{readable(self.candidates)} candidates", *self.told_beside])
        return f"({told})" if self.beside else told

    def __str__(self) -> str:
        if self.splits is None:
            return f"{self.told_rows} × ? splits"
        later = f", and at most {readable(self.later * self.splits)} in later rounds" if self.later else ""
        return f"{self.told_rows} × {self.splits} folds = {readable(self.rows * self.splits)} fits{later}"


@dataclass(frozen=True)
class KnownSize(Size):
    """The size of a search whose splits are known."""

    splits: int

    @property
    @override
    def fits(self) -> int:
        """Cells of the search; the refit of the best is one more."""
        return self.rows * self.splits


def size_of(spec: TuningJobSpec) -> Size:
    """The size of a search, as far as its manifest determines it."""
    space, halving, splits = spec.search.space, spec.search.halving, splits_of(spec.cross_validation)
    later = _refined(spec, splits) if halving is None else halving.later(space.size)
    return Size(space.size, splits, defaults=int(bool(spec.baseline)), outer=_rows_of_outer_folds(spec), later=later)


def _refined(spec: TuningJobSpec, splits: int | None) -> int:
    """The most candidates that the rounds of ``search.refine`` may have in all, by their grids and by the fits allowed."""
    refine, space = spec.search.refine, spec.search.space
    if refine is None or not isinstance(space, Grid):
        return 0
    # a round has the points of the grid on each axis, and the best value if that is none of them
    largest = max(math.prod(count_values(values) + 1 for values in each.values()) for each in space.maps)
    rows = space.size + int(bool(spec.baseline))  # there are no outer folds beside it
    return max(0, min(refine.rounds * largest, most_rows(spec, splits or 1) - rows))


def most_rows(spec: TuningJobSpec, splits: int) -> int:
    """The most rows that a refined search may have within the fits that it is allowed."""
    own = spec.search.refine.max_fits if spec.search.refine is not None else None
    return min(spec.limits.max_fits, own or spec.limits.max_fits) // splits


def with_baseline(spec: TuningJobSpec, *, cluster_max_fits: int | None = None) -> TuningJobSpec:
    """The spec of a search that is to begin, with a baseline if its manifest leaves that open.

    It gets none beside halving, nor if only the baseline's fits exceed the limit, so that a search is not refused because of
    them. A spec that the journal keeps says for good whether its search has a baseline, so it does not come through here again.
    """
    if spec.baseline is not None or spec.search.halving is not None:
        return spec
    measured = spec.model_copy(update={"baseline": True})
    try:
        check_limit(size_of(measured), measured, cluster_max_fits=cluster_max_fits)
    except ManifestRefused:
        return spec
    return measured


def is_left_out(spec: TuningJobSpec, *, cluster_max_fits: int | None = None) -> bool:
    """Whether a search has no baseline because its fits were too many (``with_baseline``)."""
    spec = with_baseline(spec, cluster_max_fits=cluster_max_fits)
    return spec.baseline is None and spec.search.halving is None


def _rows_of_outer_folds(spec: TuningJobSpec) -> int:
    """The rows of all candidates in each outer fold. Raises ManifestRefused if only the data determine the number of folds."""
    if spec.search.nested is None:
        return 0
    around = spec.search.nested.around(spec.cross_validation)
    folds = splits_of(around)
    if folds is not None:
        return folds * spec.search.space.size
    must_be = "a splitter of scikit-learn's that is told its number of splits"
    advice = "It says how many rows the journal has, before any data are read. Give n_splits to one of these, or folds."
    got = "" if around.splitter is None else around.splitter.class_
    raise ManifestRefused([Problem(f"{NESTED}.splitter.class", must_be, got, advice)])


def splits_of(cv: CrossValidation) -> int | None:
    """How many splits there are; None if the data or a class of the user's own decide."""
    if cv.folds is not None:
        return cv.folds * (cv.repeats or 1)
    if cv.splitter is None:
        return None
    module, _, name = cv.splitter.class_.rpartition(".")
    if module not in _OF_SPLITTERS or name not in _SPLITTERS:
        return None
    splits, repeats = _SPLITTERS[name]
    told = [
        _number(cv.arguments, "n_splits", splits),
        _number(cv.arguments, "n_repeats", repeats) if repeats > 1 else 1,
    ]
    return None if None in told else math.prod(filter(None, told))


def _number(arguments: Arguments, name: str, default: int) -> int | None:
    """A positive integer among the arguments; None for any other value, which the class will refuse."""
    given = dict(arguments.items).get(name)
    if given is None:
        return default
    value = given.value if isinstance(given, Scalar) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def size_warning(size: Size) -> str | None:
    """A warning above 500 fits, and a stronger one above 1,000; else None."""
    fits = size.fits or 0
    if fits > STRONGLY_WARN_FITS:
        return (
            f"{readable(fits)} fits are more than {STRONGLY_WARN_FITS:,}: "
            "expect a long search. Fewer values per parameter, or fewer folds, shorten it."
        )
    if fits > WARN_FITS:
        return f"{readable(fits)} fits are more than {WARN_FITS}: think of fewer values or fewer folds."
    return None


def check_limit(size: Size, spec: TuningJobSpec, *, cluster_max_fits: int | None = None) -> None:
    """Raise ManifestRefused for a search above ``spec.limits.maxFits``, or above the cluster's own ceiling.

    If only the data determine the number of splits, one is counted: a search above the limit with one is above it with any
    number.
    """
    splits = 1 if size.splits is None else size.splits
    if splits > MOST_SPLITS:
        must_be, advice = f"a splitter of at most {MOST_SPLITS:,} splits", "Choose one that makes fewer."
        raise ManifestRefused([Problem(SPLITTER, must_be, readable(splits), advice)])
    limit, owner, last_resort = spec.limits.max_fits, "spec.limits.maxFits", ", or raise spec.limits.maxFits."
    if cluster_max_fits is not None and cluster_max_fits < limit:
        limit, owner = cluster_max_fits, "this cluster's ceiling"
        last_resort = "; the ceiling is the administrator's (chart value limits.maxFits)."
    if (size.rows + size.later) * splits <= limit:
        return
    affordable = max(0, limit // splits - size.beside) * size.candidates // (size.candidates + size.later)
    # one row less is enough: that of the defaults, if the manifest has not asked for it
    ways = ["baseline: false"] if spec.baseline and (size.rows + size.later - 1) * splits <= limit else []
    if isinstance(spec.search.space, Grid):
        place, what = GRID, "grid"
        ways += ["fewer values or folds", *_drawn_instead(spec.search.space, affordable)]
    else:
        place, what = "spec.search.random.iterations", "search"
        ways += [f"at most {affordable:,} iterations, or fewer folds" if affordable else "fewer folds"]
    advice = f"Give {', or '.join(ways)}{last_resort}"
    raise ManifestRefused([Problem(place, f"a {what} of at most {limit:,} fits ({owner})", str(size), advice)])


def _drawn_instead(grid: Grid, affordable: int) -> Iterator[str]:
    """The advice to draw candidates from a grid, if the limit allows at least one."""
    if affordable:
        drawn = Sample(grid.maps, min(affordable, MOST_ITERATIONS))
        how = "" if can_be_drawn(drawn) else "distributions and "
        yield f"spec.search.random with {how}iterations: {drawn.iterations} in place of the grid"


def n_jobs_of(spec: TuningJobSpec) -> int:
    """Processes in one pod: the floor of its CPU limit, at least 1."""
    return max(1, math.floor(cpu_cores(spec.resources.cpu)))


def n_jobs_within(n_jobs: int, memory_bytes: int, pilot: Pilot | None) -> int:
    """``n_jobs``, lowered until that many processes fit the pod's memory by the pilot's upper estimate; at least 1.

    One process is always tried: an estimate is no reason to refuse, and a candidate that runs out of memory is handled.
    """
    if pilot is None or memory_bytes <= 0 or pilot.process_bytes.high <= 0:
        return n_jobs
    room = memory_bytes - pilot.pod_bytes
    return max(1, min(n_jobs, math.floor(room / pilot.process_bytes.high)))


def pods_of(spec: TuningJobSpec, size: Size) -> int:
    """The number of pods that the search can use: at most those asked for and those with work; one while that is unknown."""
    return max(1, min(spec.parallelism, math.ceil((size.fits or 0) / n_jobs_of(spec))))
