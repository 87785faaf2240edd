"""What a search is measured against: the estimator with its defaults, and a dummy; and in words what tuning has gained.

The defaults are a row of the journal beside the candidates: claimed, resumed and reused as these are. A dummy looks at the target
alone, takes no time, and is fitted where the search is finished.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor

from tuningjob.aliases import Estimator
from tuningjob.engine import Evaluated
from tuningjob.engine.evaluate import Evaluator
from tuningjob.protocol.records import Baseline
from tuningjob.search.cells import result_of, work_of
from tuningjob.search.fit_params import SAMPLE_WEIGHT
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import Results

THE_DEFAULTS: Final = "the defaults"
A_DUMMY: Final = "a dummy"
_NOISE: Final = 1e-9  # of a sum of scores, by its last digits


def measured(problem: SearchProblem, results: Results) -> Baseline | None:
    """What the best candidate is measured against, if the manifest asks for it."""
    if results.defaults is None:
        return None
    table, metric = results.cv_results, results.metric
    splits = range(len(problem.splits))
    best = [float(table[f"split{split}_test_{metric}"][results.best_index]) for split in splits]
    share = float(np.mean([len(test) / len(train) for train, test in problem.splits]))
    found = gain(best, results.defaults, share)
    dummy = scores_of_dummy(problem)
    return Baseline(
        defaults=_mean(results.defaults),
        dummy=_mean(dummy),
        gain=found.mean,
        uncertainty=found.uncertainty,
        told=told(best, {THE_DEFAULTS: results.defaults, **({A_DUMMY: dummy} if dummy else {})}, share),
    )


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores) if scores and all(map(math.isfinite, scores)) else math.nan


def scores_of_dummy(problem: SearchProblem) -> list[float]:
    """By the metric that decides, of each split, as scikit-learn's ``cross_validate`` of a dummy has them; []: there is none."""
    dummy = dummy_of(problem.estimator)
    if dummy is None:
        return []
    weights = problem.data.sample_weight
    work = replace(
        work_of(problem.whole),
        estimator=dummy,
        candidates=[{}],
        splits=problem.splits,
        fit_params={} if weights is None else {SAMPLE_WEIGHT: weights},
        return_train_score=False,
    )
    evaluator = Evaluator(work)
    metrics = problem.spec.metrics
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps = [step for split in range(len(work.splits)) for step in evaluator.evaluate(split, [0], plain=True)]
    scores = [result_of(step, metrics).test_scores for step in steps if isinstance(step, Evaluated)]
    return [next(iter(each.values())) for each in scores]  # the deciding one comes first


def dummy_of(estimator: Estimator) -> Estimator | None:
    """scikit-learn's dummy of the same kind; None where there is none (clusters, outliers)."""
    if is_classifier(estimator):
        return DummyClassifier(strategy="prior")
    return DummyRegressor() if is_regressor(estimator) else None


@dataclass(frozen=True)
class BaselineGain:
    """How far the best candidate is above a baseline, on the same splits; ``uncertainty`` is the standard error of that; NaN for
    a single split.
    """

    mean: float
    uncertainty: float

    @property
    def is_told_from_chance(self) -> bool:
        """Whether it is larger than two standard errors."""
        return abs(self.mean) > 2 * self.uncertainty

    def told(self, over: str) -> str:
        """A sentence without its full stop: ``tuning gained 0.012 ± 0.004 over the defaults``."""
        if math.isnan(self.mean):
            return f"what tuning gained over {over} is not known, because some of the fits failed"
        verb = "gained" if self.mean >= 0 else "lost"
        if math.isnan(self.uncertainty):
            return f"tuning {verb} {abs(self.mean):.3g} over {over}, on a single split"
        digits = _digits(self.uncertainty if self.uncertainty > _NOISE * abs(self.mean) else self.mean)
        said = f"tuning {verb} {abs(self.mean):.{digits}f} ± {self.uncertainty:.{digits}f} over {over}"
        return said if self.is_told_from_chance or not self.mean else f"{said}, which may be chance"


def gain(best: Sequence[float], baseline: Sequence[float], test_share: float) -> BaselineGain:
    """Of test scores on the same splits. ``test_share`` is a split's test samples ÷ its train samples.

    Splits share most of their training data, so the plain standard error of their mean is too small: this is the one corrected
    for it (Nadeau and Bengio, 2003), the variance times 1/n + test ÷ train.
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
    """Decimals by which a number has one digit that is not zero, and at least three of them."""
    return min(12, max(3, -math.floor(math.log10(abs(value))))) if value else 3


def told(best: Sequence[float], baselines: Mapping[str, Sequence[float]], test_share: float) -> tuple[str, ...]:
    """A sentence for each baseline, by what it is called in it."""
    return tuple(f"{gain(best, scores, test_share).told(name).capitalize()}." for name, scores in baselines.items())
