"""A limit of iterations has no effect on a fit that ends before it."""

from typing import ClassVar, Final

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.svm import LinearSVC, LinearSVR

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, Ceiling, register

_LARGEST: Final = 2**31 - 1  # all of them accept it; some are C's int


@register
class Iterations(Ceiling):
    """Shares ``max_iter`` of estimators whose ``n_iter_`` says how many iterations they used, the most of all their classes.

    Each of their loops only compares its count with the limit. A fit that was stopped by its limit used that many iterations, so
    the rule claims nothing below it.
    """

    estimators: ClassVar[tuple[type, ...]] = (
        LogisticRegression,
        Lasso,
        ElasticNet,
        SGDClassifier,
        SGDRegressor,
        Perceptron,
        LinearSVC,
        LinearSVR,
    )
    parameters = ("max_iter",)
    proof = "tests/engine/rules/test_iterations.py::test_a_limit_above_what_was_used_does_nothing"
    proved_on = FROM_1_8

    def height(self, value: ParamValue) -> float | None:
        return float(value) if is_integer(value) and 1 <= value <= _LARGEST else None

    def reached(self, fitted: Estimator) -> float:
        used = float(np.max(fitted.n_iter_))
        # if it fails it goes on by lbfgs, with the rest of the limit, which must not be just what lbfgs uses
        return used + 1 if getattr(fitted, "solver", None) == "newton-cholesky" else used
