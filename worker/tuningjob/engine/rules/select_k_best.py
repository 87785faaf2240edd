"""Features are scored once for any number of kept ones."""

from typing import Any, Final

from sklearn.base import clone
from sklearn.feature_selection import SelectKBest, SelectPercentile, chi2, f_classif, f_regression, r_regression

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedTransform, register
from tuningjob.engine.rules.values import as_number
from tuningjob.engine.rules.views import view

# The scores that draw no random numbers.
_SCORES: Final = (f_classif, f_regression, chi2, r_regression)


@register
class BestFeatures(NestedTransform):
    """Shares ``k`` of SelectKBest and ``percentile`` of SelectPercentile, which they use only to transform rows.

    The exception is a warning that there are fewer features than ``k``: such a candidate is fitted by itself.
    """

    estimators = (SelectKBest, SelectPercentile)
    parameters = ("k", "percentile")
    proof = "tests/engine/rules/test_select_k_best.py::test_features_are_scored_once"
    proved_on = FROM_1_8

    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if not any(transformer.score_func is score for score in _SCORES) or len(shape) != 2:
            return False
        if isinstance(transformer, SelectPercentile):
            percentile = as_number(transformer.percentile)
            return percentile is not None and 0 <= percentile <= 100
        if isinstance(transformer.k, str):
            return transformer.k == "all"
        return is_integer(transformer.k) and bool(0 <= transformer.k <= shape[1])

    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Estimator:
        return clone(transformer).fit(X, y)

    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        made = view(common, transformer)
        return made.transform(X), made
