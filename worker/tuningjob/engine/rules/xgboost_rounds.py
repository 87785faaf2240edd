"""XGBoost with 50 rounds is the beginning of one with 200, because no round depends on their number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import xgboost
from xgboost import XGBClassifier, XGBRanker, XGBRegressor

from tuningjob.aliases import Estimator, Matrix, ParamValue, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import is_proved, with_booster

_OBJECTIVES: Final = frozenset(
    {
        "binary:hinge",
        "binary:logistic",
        "binary:logitraw",
        "count:poisson",
        "multi:softmax",
        "multi:softprob",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:gamma",
        "reg:logistic",
        "reg:pseudohubererror",
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:tweedie",
    }
)
# The allowed parameters of a fit: others, such as an evaluation set or a model to continue, leave more than the rounds.
_METADATA: Final = frozenset({"sample_weight", "base_margin", "qid", "group", "verbose"})


def _is_text(value: ParamValue, allowed: frozenset[str]) -> bool:
    return value is None or (type(value) is str and value in allowed)


@register
class XGBoostRounds(NestedFit):
    """Shares ``n_estimators`` of XGBoost: it boosts once with the largest value, and slices the result for each value.

    A round depends on the margins so far and on random numbers drawn in order. The slice is XGBoost's own, a complete model. The
    rule excludes boosting that drops trees (dart) or has none (gblinear), evaluation sets, and XGBoost's forests, whose leaves
    are divided by the number of trees.
    """

    estimators = (XGBClassifier, XGBRegressor, XGBRanker)
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_xgboost_rounds.py::test_the_first_rounds_are_the_smaller_boosting"
    proved_on = ("3.2.",)

    def is_proved_here(self) -> bool:
        return is_proved() and str(xgboost.__version__).startswith(self.proved_on)

    def knows(self, estimator: Estimator) -> bool:
        return (
            _is_text(estimator.booster, frozenset({"gbtree"}))
            and _is_text(estimator.device, frozenset({"cpu"}))
            and _is_text(estimator.tree_method, frozenset({"auto", "hist", "exact", "approx"}))
            and _is_text(estimator.multi_strategy, frozenset({"one_output_per_tree"}))
            and _is_text(estimator.objective, _OBJECTIVES)
            and not estimator.callbacks
            and estimator.early_stopping_rounds is None
            and estimator.enable_categorical is False
            and all(
                getattr(estimator, name) is None for name in ("feature_types", "feature_weights", "sampling_method")
            )
            and not getattr(estimator, "kwargs", None)
        )

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return np.ndim(y) == 1 and self.knows(estimator)

    def accepts(self, estimator: Estimator) -> bool:
        size = estimator.n_estimators
        return size is None or (is_integer(size) and size >= 1)

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        if set(fit_params) - _METADATA:
            raise ValueError(f"the rounds depend on their number with {set(fit_params) - _METADATA}")
        sizes = [int(estimator.get_num_boosting_rounds()) for estimator in estimators]
        boosting = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        booster = boosting.get_booster()
        for estimator, size in zip(estimators, sizes, strict=True):
            first = booster if size == max(sizes) else booster[:size]
            # the fit has set the objective for the number of classes
            yield view(boosting, estimator, objective=boosting.objective, **with_booster(first))
