"""LightGBM with 50 rounds is the beginning of one with 200, because no round depends on their number."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import joblib
import lightgbm
import numpy as np
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor

from tuningjob.aliases import Anything, Estimator, Matrix, ParamValue, Target
from tuningjob.engine.fingerprint import fingerprint, is_integer
from tuningjob.engine.rules.base import Inert, NestedFit, register
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import is_proved, keywords_of_lightgbm, with_booster, with_keywords_of_lightgbm

_ESTIMATORS: Final = (LGBMClassifier, LGBMRegressor, LGBMRanker)
_OBJECTIVES: Final = frozenset(
    {
        "binary",
        "cross_entropy",
        "fair",
        "gamma",
        "huber",
        "lambdarank",
        "mape",
        "multiclass",
        "multiclassova",
        "poisson",
        "quantile",
        "rank_xendcg",
        "regression",
        "regression_l1",
        "tweedie",
    }
)
# LightGBM's keyword parameters that only change how a tree grows, or what is printed.
_KEYWORDS: Final = frozenset(
    {
        "bagging_fraction",
        "bagging_freq",
        "cat_smooth",
        "deterministic",
        "extra_trees",
        "feature_fraction",
        "feature_fraction_bynode",
        "force_col_wise",
        "force_row_wise",
        "is_unbalance",
        "lambda_l1",
        "lambda_l2",
        "max_bin",
        "min_data_in_leaf",
        "min_gain_to_split",
        "path_smooth",
        "scale_pos_weight",
        "verbose",
        "verbosity",
    }
)
_METADATA: Final = frozenset({"sample_weight", "init_score", "group"})
_LIMIT: Final = "LOKY_MAX_CPU_COUNT"  # joblib's count obeys it


@cache
def _named_by(kind: type) -> frozenset[str]:
    return frozenset(name for name in vars(kind()) if not name.startswith("_"))


def _keywords(estimator: Estimator) -> dict[str, Any]:
    """The parameters of an estimator that its constructor does not name."""
    kind: type = type(estimator)
    named = _named_by(kind)
    return {name: value for name, value in keywords_of_lightgbm(estimator).items() if name not in named}


def _agrees_with_itself(estimator: Estimator) -> bool:
    """Whether the values from ``set_params``, which LightGBM uses, equal the estimator's attributes."""
    kind: type = type(estimator)
    named = _named_by(kind)
    return all(
        fingerprint(getattr(estimator, name)) == fingerprint(value)
        for name, value in keywords_of_lightgbm(estimator).items()
        if name in named
    )


def _has_one_thread(n_jobs: ParamValue) -> bool:
    """Whether LightGBM uses one thread: with more, the clock decides how it adds up, and bits may differ."""
    if n_jobs is None:
        return _cpus(os.environ.get(_LIMIT), physical=True) == 1
    if not is_integer(n_jobs):
        return False
    return bool(n_jobs == 1 or (n_jobs < 0 and _cpus(os.environ.get(_LIMIT), physical=False) + 1 + n_jobs <= 1))


@cache
def _cpus(_limit: str | None, *, physical: bool) -> int:
    # cached, because each candidate needs it and joblib reads files for it
    return int(joblib.cpu_count(only_physical_cores=physical))


@register
class LightGBMRounds(NestedFit):
    """Shares ``n_estimators`` of LightGBM: it boosts once with the largest value, and predicts by each value's first rounds.

    A round depends on the scores so far and on random numbers drawn in order. Boosting ends when it finds no more splits,
    independently of the number. The rule excludes boosting that drops trees (dart), evaluation sets, and several threads.
    """

    estimators = _ESTIMATORS
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_lightgbm_rounds.py::test_the_first_rounds_are_the_smaller_boosting"
    proved_on = ("4.7.",)

    def is_proved_here(self) -> bool:
        return is_proved() and str(lightgbm.__version__).startswith(self.proved_on)

    def knows(self, estimator: Estimator) -> bool:
        objective, boosting = estimator.objective, estimator.boosting_type
        return (
            (type(boosting) is str and boosting in {"gbdt", "rf"})
            and (objective is None or (type(objective) is str and objective in _OBJECTIVES))
            and set(_keywords(estimator)) <= _KEYWORDS
            and _agrees_with_itself(estimator)
            and _has_one_thread(estimator.n_jobs)
        )

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return np.ndim(y) == 1 and self.knows(estimator)

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        if set(fit_params) - _METADATA:
            raise ValueError(f"the rounds depend on their number with {set(fit_params) - _METADATA}")
        sizes = [int(estimator.n_estimators) for estimator in estimators]
        boosting = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        for estimator, size in zip(estimators, sizes, strict=True):
            first = _FirstRounds(boosting.booster_, size)
            own = with_keywords_of_lightgbm(keywords_of_lightgbm(estimator))
            yield view(boosting, estimator, **with_booster(first), **own)


class _FirstRounds:
    """A booster that predicts by its first rounds only."""

    def __init__(self, booster: Anything, rounds: int) -> None:
        self._booster = booster
        self._rounds = rounds

    def predict(self, data: Matrix, *, num_iteration: int | None = None, **settings: Anything) -> Matrix:
        return self._booster.predict(
            data, num_iteration=self._rounds if num_iteration is None else num_iteration, **settings
        )

    def __getattr__(self, name: str) -> Anything:
        return getattr(object.__getattribute__(self, "_booster"), name)  # raises AttributeError in a half-made copy


@register
class WrittenTwice(Inert):
    """Ignores the second entry of each parameter that LightGBM's ``set_params`` makes, among those not named in the constructor.

    Two estimators that differ only in a parameter's second entry share a fit.
    """

    estimators = _ESTIMATORS
    parameters = ()
    proof = "tests/engine/rules/test_lightgbm_rounds.py::test_how_a_parameter_was_set_does_not_matter"
    proved_on = LightGBMRounds.proved_on

    def is_proved_here(self) -> bool:
        return is_proved() and str(lightgbm.__version__).startswith(self.proved_on)

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        return with_keywords_of_lightgbm(_keywords(estimator))
