"""Boosting by histograms with 50 iterations is the beginning of one with 200, because none depends on their number."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import ByInput, view
from tuningjob.engine.sklearn_private import first_iterations, raw_predictions


@register
class HistogramIterations(NestedFit):
    """Shares ``max_iter`` of histogram gradient boosting: it boosts once with the largest value, and cuts it for each value.

    An iteration depends on the raw predictions so far and on random numbers drawn in order. Early stopping depends on the scores
    so far, so for a ``max_iter`` above the existing iterations the result is all of them.
    Raw predictions are scikit-learn's (``_predict_iterations``, which adds tree after tree), and are read at each size.
    """

    estimators = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    parameters = ("max_iter",)
    proof = "tests/engine/rules/test_hist_gradient_boosting.py::test_the_first_iterations_are_the_smaller_boosting"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        # a user's scorer sees the unfinished estimator with its max_iter
        return not estimator.warm_start and not callable(estimator.scoring)

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.max_iter) and estimator.max_iter >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        sizes = [int(estimator.max_iter) for estimator in estimators]
        boosting = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        by_size = ByInput(lambda X: _raw_predictions(boosting, X, set(sizes)))
        for estimator, size in zip(estimators, sizes, strict=True):
            yield view(
                boosting,
                estimator,
                # they begin with the score before any iteration, or are empty, because only early stopping scores
                train_score_=boosting.train_score_[: size + 1],
                validation_score_=boosting.validation_score_[: size + 1],
                **first_iterations(boosting, size, partial(_of_size, by_size, size)),
            )


def _of_size(by_size: ByInput, size: int, X: Matrix) -> Matrix:
    return by_size(X)[size].copy(order="F")


def _raw_predictions(boosting: Estimator, X: Matrix, sizes: Collection[int]) -> dict[int, Any]:
    """The raw predictions after the first iterations, by each of ``sizes``."""
    return {size: raw.copy(order="F") for size, raw in raw_predictions(boosting, X, sorted(sizes))}
