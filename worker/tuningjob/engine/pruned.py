"""Pruning in a search class: the race that decides, and the entries in ``cv_results_`` for fits that were not needed."""

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Anything, Estimator, Matrix
from tuningjob.engine.bounds import bound_of_search
from tuningjob.engine.evaluate import FitOutcome
from tuningjob.engine.outline import Outline
from tuningjob.engine.race import Race
from tuningjob.engine.sklearn_private import MultimetricScorer
from tuningjob.engine.work import Work

CERTAIN: Final = "certain"
FORGIVING: Final = "forgiving"
_NON_FINITE: Final = "One or more of the .* scores are non-finite"


class NotRun(dict[str, Any]):
    """The outcome of a cell for which ``_fit_and_score`` was not called: no error, NaN scores, no time."""


def race_of(prune: str, work: Work, refit: Anything) -> Race:
    """The race by which a search is pruned. Raises ValueError if no single score decides, or if that has no known bound."""
    if callable(refit):
        raise ValueError(  # noqa: TRY004  as scikit-learn raises for such settings
            f"refit must be True, False or the name of a metric beside prune, but got {refit!r}: a rule of your own may choose a "
            "candidate that was not evaluated. Leave prune out."
        )
    metric = None
    if isinstance(work.scorer, MultimetricScorer):
        metric = _named(refit)
    bound = bound_of_search(work, metric) if prune == CERTAIN else None
    return Race(len(work.splits), bound=bound, family=families_of(work.estimator, work.candidates, work.X))


def families_of(
    estimator: Estimator, candidates: Sequence[Mapping[str, Any]], X: Matrix = None
) -> Callable[[int], Hashable]:
    """A function that gives a candidate's family: the candidates that one fit serves, mostly it alone."""
    outline = Outline(estimator, X)

    def family(candidate: int) -> Hashable:
        found = outline.family(candidates[candidate])
        return candidate if found is None else ("family", found)

    return family


def score_of(outcome: FitOutcome, refit: Anything) -> float:
    """The score of a fit by the metric that decides."""
    scores = outcome["test_scores"]
    return float(scores[_named(refit)] if isinstance(scores, Mapping) else scores)


def _named(refit: Anything) -> str:
    if not isinstance(refit, str):
        raise ValueError(  # noqa: TRY004  as scikit-learn raises for such settings
            f"refit must be the name of the metric that decides beside prune and several metrics, but got {refit!r}"
        )
    return refit


def not_run(like: FitOutcome, test_samples: int) -> NotRun:
    """The outcome of a fit that was not needed, with the metrics of another outcome."""
    outcome = NotRun({"fit_error": None, "n_test_samples": test_samples, "fit_time": 0.0, "score_time": 0.0})
    outcome.update({name: _nan(like[name]) for name in ("test_scores", "train_scores") if name in like})
    return outcome


def _nan(scores: Anything) -> Anything:
    return dict.fromkeys(scores, math.nan) if isinstance(scores, Mapping) else math.nan


def with_pruned(outcomes: Sequence[FitOutcome], splits: int, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """scikit-learn's ``cv_results_``, which ``make`` makes, and the column ``pruned``: whether a candidate lacks splits.

    Such candidates are ranked last, as those with a failed fit are. scikit-learn's warning of scores that are not finite is
    issued only for fits that were run.
    """
    pruned = np.array([isinstance(outcome, NotRun) for outcome in outcomes], dtype=bool).reshape(-1, splits).any(axis=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_NON_FINITE, category=UserWarning)
        table = make()
    for name, means in table.items():
        kind = name.removeprefix("mean_")
        if kind == name or not kind.startswith(("test_", "train_")):
            continue
        if not np.isfinite(means[~pruned]).all():
            side = kind.split("_")[0]
            warnings.warn(f"One or more of the {side} scores are non-finite: {means}", UserWarning, stacklevel=3)
        if kind.startswith("test_"):
            # scikit-learn's own "one less than the worst" is the worst itself if that is a number of more than 16 digits
            table[f"rank_{kind}"][pruned] = 1 + np.count_nonzero(~np.isnan(means))
    table["pruned"] = pruned
    return table
