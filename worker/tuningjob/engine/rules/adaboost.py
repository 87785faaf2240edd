"""AdaBoost with 50 rounds is the beginning of one with 200, because a round depends only on the weights after the last one."""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import ByInput, predicts, view
from tuningjob.engine.sklearn_private import check_by, checked_by_adaboost


@register
class BoostingRounds(NestedFit):
    """Shares ``n_estimators`` of AdaBoost: it boosts once with the largest value, and cuts the result for each value.

    The last round differs only in that it does not prepare the weights for a next one. Boosting that ends early leaves zeros in
    ``estimator_weights_`` up to ``n_estimators``. These are cut, too, so that as many zeros give the sum of weights the same
    bits. A classifier's votes are summed round by round as in ``decision_function``, read at each size and only then divided (its
    ``staged_decision_function`` sums the divisor in another order). A regressor takes a median, so its learners' predictions are
    remembered: as many numbers as it sorts for one prediction.
    """

    estimators = (AdaBoostClassifier, AdaBoostRegressor)
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_adaboost.py::test_the_first_rounds_are_the_smaller_boosting"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return True

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        sizes = [int(estimator.n_estimators) for estimator in estimators]
        boosting = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        finish = _with_shared_votes if is_classifier(boosting) else _with_shared_learners
        views = [
            view(
                boosting,
                estimator,
                estimators_=boosting.estimators_[:size],
                estimator_weights_=boosting.estimator_weights_[:size],
                estimator_errors_=boosting.estimator_errors_[:size],
            )
            for estimator, size in zip(estimators, sizes, strict=True)
        ]
        finish(boosting, views)
        yield from views


def _with_shared_votes(boosting: Estimator, views: Sequence[Any]) -> None:
    if boosting.n_classes_ == 1:
        return  # scikit-learn then calls no learner
    sizes = {len(made.estimators_) for made in views}
    by_size = ByInput(lambda X: _votes(boosting, X, sizes))
    for made in views:
        predicts(made, "decision_function", partial(_decision, by_size, made))


def _decision(by_size: ByInput, made: Estimator, X: Matrix) -> Matrix:
    decision = by_size(X)[len(made.estimators_)] / made.estimator_weights_.sum()
    if made.n_classes_ == 2:
        decision[:, 0] *= -1
        return decision.sum(axis=1)
    return decision


def _votes(boosting: Estimator, X: Matrix, sizes: Collection[int]) -> dict[int, Any]:
    """The weighted votes of the first learners, by each of ``sizes``."""
    X = checked_by_adaboost(boosting)(X)
    n_classes, classes = boosting.n_classes_, boosting.classes_[:, np.newaxis]
    votes: dict[int, Any] = {}
    total: Any = 0
    for size, (learner, w) in enumerate(zip(boosting.estimators_, boosting.estimator_weights_, strict=False), start=1):
        total = total + np.where((learner.predict(X) == classes).T, w, -1 / (n_classes - 1) * w)
        if size in sizes:
            votes[size] = total
    return votes


def _with_shared_learners(boosting: Estimator, views: Sequence[Any]) -> None:
    # the checked X is one object for each X, because the learners recognize it by identity
    checked = ByInput(checked_by_adaboost(boosting))
    learners = [predicts(copy.copy(learner), "predict", ByInput(learner.predict)) for learner in boosting.estimators_]
    for made in views:
        check_by(made, checked)
        made.estimators_ = learners[: len(made.estimators_)]
