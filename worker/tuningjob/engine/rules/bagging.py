"""A bag of 10 estimators is the beginning of a bag of 100, because each estimator's seed is drawn in order."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from joblib import effective_n_jobs
from sklearn.base import is_classifier
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.utils.validation import validate_data

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import ByInput, predicts, view
from tuningjob.engine.sklearn_private import bag_decides, bag_predicts, bag_predicts_proba, first_seeds

_Predict = Callable[[Any, Any, Any], Any]


@register
class BaggedEstimators(NestedFit):
    """Shares ``n_estimators`` of bagging: it fits once with the largest value, and sums predictions estimator by estimator.

    The sum is read at each size. It is scikit-learn's: its functions for the estimators of one job are called with one estimator
    at a time. None of the sums can be a negative zero, so the zero with which each begins changes nothing. With several jobs each
    job sums its own part first; in that case the estimators are cut and scikit-learn predicts by itself.
    """

    estimators = (BaggingClassifier, BaggingRegressor)
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_bagging.py::test_the_first_estimators_are_the_smaller_bag"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return not estimator.oob_score and not estimator.warm_start

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        sizes = [int(estimator.n_estimators) for estimator in estimators]
        bag = estimators[sizes.index(max(sizes))].fit(X, y, **fit_params)
        sums = {method: ByInput(partial(_sums, bag, set(sizes), predict)) for method, predict in _methods(bag).items()}
        alone = effective_n_jobs(bag.n_jobs) == 1
        for estimator, size in zip(estimators, sizes, strict=True):
            made = view(
                bag,
                estimator,
                estimators_=bag.estimators_[:size],
                estimators_features_=bag.estimators_features_[:size],
                **first_seeds(bag, size),
            )
            for method, by_size in sums.items() if alone else ():
                predicts(made, method, partial(_mean, by_size, estimator.n_estimators))
            yield made


def _mean(by_size: ByInput, size: Anything, X: Matrix) -> Matrix:
    return by_size(X)[size] / size  # by the given number itself, because its type may decide the quotient's


def _methods(bag: Estimator) -> dict[str, _Predict]:
    if not is_classifier(bag):
        return {"predict": bag_predicts}
    methods: dict[str, _Predict] = {
        "predict_proba": lambda each, features, X: bag_predicts_proba(each, features, X, bag.n_classes_)
    }
    if hasattr(bag, "decision_function"):
        methods["decision_function"] = bag_decides
    return methods


def _sums(bag: Estimator, sizes: Collection[int], predict: _Predict, X: Matrix) -> dict[int, Any]:
    """The sum of the first estimators' predictions, by each of ``sizes``."""
    X = validate_data(bag, X, accept_sparse=["csr", "csc"], dtype=None, ensure_all_finite=False, reset=False)
    sums: dict[int, Any] = {}
    total: Any = 0
    for size, (each, features) in enumerate(zip(bag.estimators_, bag.estimators_features_, strict=True), start=1):
        total = total + predict(each, features, X)
        if size in sizes:
            sums[size] = total
    return sums
