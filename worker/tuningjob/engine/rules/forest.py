"""A forest of 50 trees is the first quarter of the forest of 200: each tree is grown from a seed drawn in order."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.views import ByInput, predicts, view
from tuningjob.engine.sklearn_private import checked_by_forest


@register
class ForestTrees(NestedFit):
    """``n_estimators`` of random forests and extra trees: grown once at the largest, predictions summed tree by tree.

    The sum is scikit-learn's (``_accumulate_prediction``, one thread, in the order of the trees), read at each size.
    """

    estimators = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_forest.py::test_the_first_trees_of_a_forest_are_the_smaller_forest"

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return not estimator.oob_score and not estimator.warm_start and np.ndim(y) == 1

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        sizes = [int(estimator.n_estimators) for estimator in estimators]
        forest = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        method = "predict_proba" if is_classifier(forest) else "predict"
        by_size = ByInput(lambda X: _averages(forest, X, set(sizes)))
        for estimator, size in zip(estimators, sizes, strict=True):
            made = view(forest, estimator, estimators_=forest.estimators_[:size])
            yield predicts(made, method, partial(_of_size, by_size, size))


def _of_size(by_size: ByInput, size: int, X: Matrix) -> Matrix:
    return by_size(X)[size].copy()


def _averages(forest: Estimator, X: Matrix, sizes: set[int]) -> dict[int, Any]:
    """The prediction of the first trees, for each of ``sizes``."""
    X = checked_by_forest(forest, X)
    averages: dict[int, Any] = {}
    total: Any = None
    for size, tree in enumerate(forest.estimators_[: max(sizes)], start=1):
        answer = (tree.predict_proba if is_classifier(forest) else tree.predict)(X, check_input=False)
        if total is None:
            total = np.zeros(answer.shape, dtype=np.float64)
        total += answer
        if size in sizes:
            averages[size] = total / size
    return averages
