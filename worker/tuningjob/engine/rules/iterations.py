"""A limit of iterations does nothing to a fit that ends before it."""

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

_LARGEST: Final = 2**31 - 1  # what all of them take: some are C's int


@register
class Iterations(Ceiling):
    """``max_iter`` of estimators that tell in ``n_iter_`` how many iterations they used, the most of all their classes.

    Each of their loops compares its count with the limit, and looks at it nowhere else. A fit that was stopped by its limit
    used as many as that, so nothing below it is claimed.
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
        # in trouble it goes on by lbfgs, with a limit of what is left: that must not be just what lbfgs uses
        return used + 1 if getattr(fitted, "solver", None) == "newton-cholesky" else used
