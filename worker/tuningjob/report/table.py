"""The results of a search as arrays. Verdict, advice and figures are functions of them.

They are made from scikit-learn's ``cv_results_``; a row is a candidate, in its order. As there, higher scores are better.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np

from tuningjob.report.axes import Facet, ParameterAxis, axes_of, facets_of
from tuningjob.report.spelling import Speller, spell

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]

RISKY_GAP: Final = 0.05


@dataclass(frozen=True, eq=False)
class MetricScores:
    """The scores by one metric. ``key`` names its columns, ``told`` is its name for people. ``folds``: candidates × splits."""

    key: str
    told: str
    means: Floats
    folds: Floats

    @cached_property
    def errors(self) -> Floats:
        """Standard error of each mean over k splits: the sample's standard deviation by sqrt(k); 0 for one split."""
        k = self.folds.shape[1]
        if k < 2:
            return np.zeros(len(self.means))
        with np.errstate(invalid="ignore"):
            errors: Floats = self.folds.std(axis=1, ddof=1) / math.sqrt(k)
        return errors

    @cached_property
    def top(self) -> int | None:
        """The first candidate with the highest mean; None if no candidate has a mean."""
        known = np.isfinite(self.means)
        return int(np.where(known, self.means, -np.inf).argmax()) if known.any() else None


@dataclass(frozen=True, eq=False)
class ScoreToBeat:
    """A score to beat: that of ``told``, on the same splits; ``candidate`` is its row, if it is a candidate."""

    told: str
    folds: Floats
    candidate: int | None = None


@dataclass(frozen=True)
class OuterScores:
    """The scores of a nested search: in each outer fold, what was chosen is scored on the other rows.

    ``told``: the same in sentences.
    """

    scores: tuple[float, ...]
    mean: float
    told: tuple[str, ...]


@dataclass(frozen=True)
class SelectionRule:
    """The rule by which the answer was chosen. ``passed_over`` has the highest mean; ``why`` says why it was not taken."""

    name: str
    passed_over: int | None = None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Origin:
    """What the results alone do not say. ``defaults``: the estimator's value of each parameter, before a candidate sets it.

    ``errors``: how many fits failed, by their messages. ``gap``: a train score that is this far above the test score is reported.
    """

    name: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    dummy: ScoreToBeat | None = None
    measured_defaults: ScoreToBeat | None = None  # if they were fitted beside the candidates
    rule: SelectionRule | None = None
    outer: OuterScores | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    is_certain: bool = True  # False: a pruned candidate, if there is one, may have been the winner
    failed_fits: int = 0
    refit_seconds: float | None = None
    gap: float = RISKY_GAP
    may_be: Callable[[str, float], bool] = lambda _name, _value: (
        True
    )  # whether the estimator takes a number for a parameter


@dataclass(frozen=True, eq=False)
class ResultTable:
    """The results. ``best`` is the candidate that is the answer; ``metrics`` has the deciding metric first."""

    best: int
    metrics: tuple[MetricScores, ...]
    axes: tuple[ParameterAxis, ...]
    fit_seconds: Floats  # the mean seconds of a fit
    score_seconds: Floats
    gaps: Floats | None  # the mean train score minus the mean test score
    origin: Origin
    train: Floats | None = None  # mean train scores
    rounds: Ints | None = None  # the round of each candidate, if the search goes by rounds
    resources: Ints | None = None  # how much of the resource each candidate had, if the search halves
    given_up: Bools | None = None  # whether pruning gave the candidate up before all its splits were run

    @property
    def metric(self) -> MetricScores:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def means(self) -> Floats:
        """The mean test scores by the deciding metric."""
        return self.metric.means

    @property
    def folds(self) -> Floats:
        """Test scores by the deciding metric, candidates × splits."""
        return self.metric.folds

    @property
    def size(self) -> int:
        """How many candidates there are."""
        return len(self.means)

    @property
    def splits(self) -> int:
        """How many splits there are."""
        return int(self.folds.shape[1])

    @cached_property
    def failed(self) -> Bools:
        """Which candidates have no mean: at least one of their fits failed, gave no number, or was pruned."""
        return ~np.isfinite(self.means)

    @cached_property
    def pruned(self) -> Bools:
        """Which candidates were not run on every split, because they could no longer be the best."""
        return np.zeros(self.size, dtype=bool) if self.given_up is None else self.given_up

    @cached_property
    def pruned_fits(self) -> int:
        """How many splits of pruned candidates have no score."""
        return int(np.isnan(self.folds[self.pruned]).sum())

    @cached_property
    def no_mean(self) -> str:
        """What is shown for several candidates if none of them has a mean."""
        words = ["failed"] * bool((self.failed & ~self.pruned).any()) + ["pruned"] * bool(self.pruned.any())
        return " or ".join(words) or "failed"

    def why_no_mean(self, candidate: int) -> str:
        """What is shown for a candidate that has no mean."""
        return "pruned" if self.pruned[candidate] else "failed"

    @cached_property
    def seconds(self) -> Floats:
        """The seconds of all fits and scorings of each candidate."""
        seconds: Floats = np.nan_to_num((self.fit_seconds + self.score_seconds) * self.splits)
        return seconds

    @cached_property
    def blocks(self) -> tuple[Facet, ...]:
        """The grids that the candidates form, and blocks that are no grid."""
        return facets_of(self.axes, self.size)

    @property
    def home(self) -> Facet:
        """The block that the answer is in."""
        return next(block for block in self.blocks if block.has(self.best))

    @property
    def is_grid(self) -> bool:
        """Whether every combination of values was tried."""
        return all(block.is_full for block in self.blocks)

    @cached_property
    def error(self) -> float:
        """Standard error of the highest mean; NaN if no candidate has a mean."""
        return math.nan if self.metric.top is None else float(self.metric.errors[self.metric.top])

    @cached_property
    def near(self) -> Ints:
        """Candidates whose mean is within one standard error of the highest, the highest first."""
        top = self.metric.top
        if top is None or not math.isfinite(self.error):
            return np.asarray([] if top is None else [top], dtype=np.intp)
        with np.errstate(invalid="ignore"):
            near = np.flatnonzero(self.means >= self.means[top] - self.error)
        ordered: Ints = near[np.argsort(-self.means[near], kind="stable")]
        return ordered

    @cached_property
    def default_row(self) -> int | None:
        """The candidate in which every parameter has the estimator's default."""
        defaults = self.origin.defaults
        if not self.axes or any(axis.name not in defaults for axis in self.axes):
            return None
        same: Bools = np.ones(self.size, dtype=bool)
        for axis in self.axes:
            wanted = axis.code_of(defaults[axis.name])
            same &= (axis.codes == wanted) | (axis.codes < 0) if wanted is not None else axis.codes < 0
        found = np.flatnonzero(same)
        return int(found[0]) if found.size else None

    def params(self, candidate: int) -> list[tuple[ParameterAxis, int]]:
        """The parameters that a candidate sets: each axis, and the code of its level."""
        return [(axis, int(axis.codes[candidate])) for axis in self.axes if axis.codes[candidate] >= 0]


def table_of(
    cv_results: Mapping[str, Any],
    best: int,
    *,
    metric: str,
    told: str = "",
    origin: Origin | None = None,
    speller: Speller = spell,
) -> ResultTable:
    """The table of ``cv_results_``, in which ``metric`` decides (``score``, if there is only one) and ``best`` is the answer."""
    size = len(cv_results["params"])
    keys = [metric, *(key for key in _metrics_of(cv_results) if key != metric)]
    metrics = tuple(
        MetricScores(
            key,
            (told if key == metric else "") or key,
            _column(cv_results, f"mean_test_{key}", size),
            _folds(cv_results, key, size),
        )
        for key in keys
    )
    train = _column(cv_results, f"mean_train_{metric}", size) if f"mean_train_{metric}" in cv_results else None
    with np.errstate(invalid="ignore"):
        gaps = None if train is None else train - metrics[0].means
    return ResultTable(
        best=int(best),
        metrics=metrics,
        axes=axes_of(cv_results, speller),
        fit_seconds=_column(cv_results, "mean_fit_time", size),
        score_seconds=_column(cv_results, "mean_score_time", size),
        gaps=gaps,
        origin=origin or Origin(),
        train=train,
        rounds=_whole(cv_results, "iter", "round"),
        resources=_whole(cv_results, "n_resources"),
        given_up=np.asarray(cv_results["pruned"], dtype=bool) if "pruned" in cv_results else None,
    )


def paired(better: Floats, worse: Floats) -> tuple[float, float]:
    """The mean difference over the same splits, and its standard error.

    The error is corrected for the overlap of training sets (Nadeau and Bengio, Inference for the Generalization Error, 2003),
    with a test part of 1/k, as with k folds.
    """
    differences = better - worse
    k = len(differences)
    mean = float(differences.mean()) if k else math.nan
    if k < 2:
        return mean, math.nan
    return mean, float(np.sqrt(differences.var(ddof=1) * (1 / k + 1 / (k - 1))))


def _metrics_of(cv_results: Mapping[str, Any]) -> list[str]:
    return [name.removeprefix("mean_test_") for name in cv_results if name.startswith("mean_test_")]


def _column(cv_results: Mapping[str, Any], name: str, size: int) -> Floats:
    return np.asarray(cv_results.get(name, np.full(size, np.nan)), dtype=np.float64)


def _whole(cv_results: Mapping[str, Any], *names: str) -> Ints | None:
    """The first of these columns that exists."""
    return next((np.asarray(cv_results[name], dtype=np.intp) for name in names if name in cv_results), None)


def _folds(cv_results: Mapping[str, Any], key: str, size: int) -> Floats:
    columns: list[Sequence[float]] = []
    while (name := f"split{len(columns)}_test_{key}") in cv_results:
        columns.append(cv_results[name])
    return np.asarray(columns, dtype=np.float64).T if columns else np.empty((size, 0))
