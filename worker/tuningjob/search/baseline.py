"""The baselines of a search, the estimator with its defaults and a dummy, and what tuning has gained over them, in words.

The defaults are a row of the journal beside the candidates, and are claimed, resumed and reused like them. A dummy looks at the
target alone, takes almost no time, and is fitted by the worker that finishes the search. The user may have asked for neither, so
their failure never ends the search: the results name it, and unknown numbers are NaN.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor

from tuningjob.aliases import Estimator
from tuningjob.engine import Evaluated
from tuningjob.engine.evaluate import Evaluator
from tuningjob.protocol.records import Baseline, CellResult
from tuningjob.search.cells import result_of, with_warnings, work_of
from tuningjob.search.problem import SearchProblem
from tuningjob.search.reasons import abridged, error_text, reason_of
from tuningjob.search.results import Results
from tuningjob.search.scoring import SAMPLE_WEIGHT

THE_DEFAULTS: Final = "the defaults"
AS_WRITTEN: Final = "the estimator as it is written"
A_DUMMY: Final = "a dummy"
_NOISE: Final = 1e-9  # relative error of a sum of scores in its last digits
_LONGEST_ERROR: Final = 200
# The results mention a split of the defaults that takes so many seconds and longer than one of any candidate.
_TOLD_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 60.0  # for a dummy, which mostly takes milliseconds


def measured(problem: SearchProblem, results: Results) -> Baseline | None:
    """The best candidate compared with its baselines; None if the search has no baseline."""
    if results.defaults is None:
        return None
    table, metric, defaults = results.cv_results, results.metric, results.defaults
    splits = range(len(problem.splits))
    best = [float(table[f"split{split}_test_{metric}"][results.best_index]) for split in splits]
    share = float(np.mean([len(test) / max(1, len(train)) for train, test in problem.splits]))
    found = gain(best, defaults.scores, share)
    dummy, why = _dummy(problem)
    over = AS_WRITTEN if problem.defaults.refused else THE_DEFAULTS
    sentences = [found.told(over, defaults.error)]
    if dummy or why:
        sentences.append(gain(best, dummy or [math.nan] * len(best), share).told(A_DUMMY, why))
    longest = _longest(results)
    if defaults.seconds > max(longest, _TOLD_SECONDS):
        took = f"{over} took {defaults.seconds:.1f} s for a split, longer than any candidate"
        sentences.append(f"{took} ({longest:.1f} s)")
    return Baseline(
        defaults=_mean(defaults.scores),
        dummy=_mean(dummy),
        gain=found.mean,
        uncertainty=found.uncertainty,
        told=tuple(f"{each[0].upper()}{each[1:]}." for each in sentences),
    )


def _longest(results: Results) -> float:
    """The mean seconds of a split of the slowest candidate."""
    table = results.cv_results
    return float(np.max(table["mean_fit_time"] + table["mean_score_time"]))


def _dummy(problem: SearchProblem) -> tuple[list[float], str]:
    """A dummy's deciding scores, and the first error if one of its fits failed, else an empty text."""
    try:
        results = list(_results_of_dummy(problem))
    except Exception as error:  # noqa: BLE001  a user's data and scorers may do anything
        return [], error_text(error)
    errors = (reason_of(result.error) for result in results if result.error is not None)
    # the deciding metric comes first
    return [next(iter(result.test_scores.values())) for result in results], next(errors, "")


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores) if scores and all(map(math.isfinite, scores)) else math.nan


def _results_of_dummy(problem: SearchProblem) -> Iterator[CellResult]:
    """The dummy's result on each split, as scikit-learn's ``cross_validate`` gives it; nothing if there is no dummy.

    Raises TimeoutError if scoring takes so long that the search would have to wait.
    """
    dummy = None if problem.data.y is None else dummy_of(problem.estimator)
    if dummy is None:
        return
    weights = problem.data.sample_weight if any(problem.params[0]) else None
    work = replace(
        work_of(problem.whole),
        estimator=dummy,
        candidates=[{}],
        splits=problem.splits,
        fit_params={} if weights is None else {SAMPLE_WEIGHT: weights},
        return_train_score=False,
    )
    evaluator, metrics = Evaluator(work), problem.spec.metrics
    began = time.monotonic()
    for split in range(len(work.splits)):
        if time.monotonic() - began > _MOST_SECONDS:
            raise TimeoutError(f"it took more than {_MOST_SECONDS:.0f} s for {split:,} of {len(work.splits):,} splits")
        for step in with_warnings(evaluator.evaluate(split, [0], plain=True)):
            if isinstance(step, Evaluated):
                yield result_of(step, metrics)


def dummy_of(estimator: Estimator) -> Estimator | None:
    """scikit-learn's dummy of the same kind; None if there is none (clusters, outliers)."""
    if is_classifier(estimator):
        return DummyClassifier(strategy="prior")
    return DummyRegressor() if is_regressor(estimator) else None


@dataclass(frozen=True)
class BaselineGain:
    """The mean gain of the best candidate over a baseline on the same splits, and its standard error, ``uncertainty``.

    The uncertainty of a single split is NaN.
    """

    mean: float
    uncertainty: float

    @property
    def is_told_from_chance(self) -> bool:
        """Whether the gain is larger than two standard errors."""
        return abs(self.mean) > 2 * self.uncertainty

    def told(self, over: str, error: str = "") -> str:
        """A sentence without its full stop: ``tuning gained 0.012 ± 0.004 over the defaults``, or a fit's ``error``."""
        if math.isnan(self.mean):
            why = f": {abridged(error, _LONGEST_ERROR)}" if error else ""
            return f"what tuning gained over {over} is not known, because some of the fits failed{why}"
        verb = "gained" if self.mean >= 0 else "lost"
        if math.isnan(self.uncertainty):
            return f"tuning {verb} {abs(self.mean):.3g} over {over}, on a single split"
        digits = _digits(self.uncertainty if self.uncertainty > _NOISE * abs(self.mean) else self.mean)
        said = f"tuning {verb} {abs(self.mean):.{digits}f} ± {self.uncertainty:.{digits}f} over {over}"
        return said if self.is_told_from_chance or not self.mean else f"{said}, which may be chance"


def gain(best: Sequence[float], baseline: Sequence[float], test_share: float) -> BaselineGain:
    """The gain between test scores on the same splits. ``test_share`` is a split's test samples ÷ its train samples.

    Splits share most of their training data, so the plain standard error of their mean is too small. This one is corrected
    (Nadeau and Bengio, 2003): the variance times 1/n + test ÷ train.
    """
    differences = [one - other for one, other in zip(best, baseline, strict=True)]
    count = len(differences)
    if not all(map(math.isfinite, differences)):
        return BaselineGain(math.nan, math.nan)
    mean = math.fsum(differences) / count
    if count == 1:
        return BaselineGain(mean, math.nan)
    variance = math.fsum((each - mean) ** 2 for each in differences) / (count - 1)
    return BaselineGain(mean, math.sqrt(variance * (1 / count + test_share)))


def _digits(value: float) -> int:
    """The decimals that show one non-zero digit of a number: at least 3, at most 12."""
    return min(12, max(3, -math.floor(math.log10(abs(value))))) if value else 3
