"""The first layer of a stack is the same for every final estimator."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier, is_regressor
from sklearn.ensemble import StackingClassifier, StackingRegressor

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.engine.arrays import freeze
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.views import ByInput, predicts, view


@register
class FinalEstimators(NestedFit):
    """Shares stacks that differ in ``final_estimator`` and its parameters: the first layer is fitted and cross-validated once.

    A stack is fitted whose final estimator only records its data, and the real ones are then fitted to these. The first layer's
    answers to the fold's rows are remembered.
    """

    estimators = (StackingClassifier, StackingRegressor)
    parameters = ("final_estimator",)
    proof = "tests/engine/rules/test_stacking.py::test_the_first_layer_is_fitted_once"

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return np.ndim(y) == 1 and estimator.cv != "prefit" and not get_config()["enable_metadata_routing"]

    def accepts(self, estimator: Estimator) -> bool:
        final = estimator.final_estimator
        return is_estimator(final) and (is_classifier if is_classifier(estimator) else is_regressor)(final)

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        first_layer = copy.copy(estimators[0])
        first_layer.final_estimator = _WritesDown() if is_classifier(first_layer) else _WritesDownNumbers()
        first_layer.fit(X, y, **fit_params)
        answers, targets = (freeze(given) for given in first_layer.final_estimator_.given_)
        transform = ByInput(lambda X: freeze(first_layer.transform(X)))
        for estimator in estimators:
            final = clone(estimator.final_estimator).fit(answers, targets, **fit_params)
            yield predicts(view(first_layer, estimator, final_estimator_=final), "transform", transform)


class _WritesDown(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that only keeps the data of its fit."""

    def fit(self, X: Matrix, y: Target, **_: Anything) -> Self:
        """Keep X and y as ``given_``, and fit nothing."""
        self.given_ = X, y
        return self


class _WritesDownNumbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor that only keeps the data of its fit."""

    fit = _WritesDown.fit
