"""Boosting by histograms with 50 iterations is the beginning of one with 200: no iteration knows how many are to come."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.views import ByInput, view


@register
class HistogramIterations(NestedFit):
    """``max_iter`` of histogram gradient boosting: boosted once up to the largest, cut after each one's iterations.

    An iteration looks at the raw predictions so far and at random numbers drawn one after the other. Stopping early looks at the
    scores so far, so a larger ``max_iter`` than the iterations that there are is the whole of them.
    Raw predictions are scikit-learn's (``_predict_iterations``, which adds tree after tree), read at each size.
    """

    estimators = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    parameters = ("max_iter",)
    proof = "tests/engine/rules/test_hist_gradient_boosting.py::test_the_first_iterations_are_the_smaller_boosting"

    def applies(self, estimator: Any, X: Any, y: Any) -> bool:  # noqa: ANN401, ARG002
        # a scorer of one's own is given the unfinished estimator, max_iter and all
        return not estimator.warm_start and not callable(estimator.scoring)

    def accepts(self, estimator: Any) -> bool:  # noqa: ANN401
        return is_integer(estimator.max_iter) and estimator.max_iter >= 1

    def fit(self, estimators: Sequence[Any], X: Any, y: Any, fit_params: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ANN401
        sizes = [int(estimator.max_iter) for estimator in estimators]
        boosting = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        by_size = ByInput(lambda X: _raw_predictions(boosting, X, set(sizes)))
        for estimator, size in zip(estimators, sizes, strict=True):
            yield view(
                boosting,
                estimator,
                _predictors=boosting._predictors[:size],
                # with that of no iteration at all before them, or empty: only early stopping asks for scores
                train_score_=boosting.train_score_[: size + 1],
                validation_score_=boosting.validation_score_[: size + 1],
                _raw_predict=partial(_of_size, by_size, size),
            )


def _of_size(by_size: ByInput, size: int, X: Any) -> Any:  # noqa: ANN401
    return by_size(X)[size].copy(order="F")


def _raw_predictions(boosting: Any, X: Any, sizes: Collection[int]) -> dict[int, Any]:  # noqa: ANN401
    """The raw predictions after the first iterations, for each of ``sizes``."""
    X = boosting._preprocess_X(X, reset=False)
    shape = (X.shape[0], boosting.n_trees_per_iteration_)
    raw = np.zeros(shape, dtype=boosting._baseline_prediction.dtype, order="F")
    raw += boosting._baseline_prediction
    threads = _openmp_effective_n_threads()
    predictions: dict[int, Any] = {}
    done = 0
    for size in sorted(sizes):
        boosting._predict_iterations(X, boosting._predictors[done:size], raw, is_binned=False, n_threads=threads)
        predictions[size] = raw.copy(order="F")
        done = size
    return predictions
