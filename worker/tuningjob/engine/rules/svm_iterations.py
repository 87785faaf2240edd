"""A limit of iterations has no effect on a support vector machine whose fit ends before it."""

import math
from typing import Final

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, Ceiling, register
from tuningjob.engine.sklearn_private import validates_probabilities

_LARGEST: Final = 2**31 - 1  # C's int


@register
class LibsvmIterations(Ceiling):
    """Shares ``max_iter`` of libsvm, for which -1 is no limit; ``n_iter_`` has the iterations of each pair of classes."""

    estimators = (SVC, SVR, NuSVC, NuSVR, OneClassSVM)
    parameters = ("max_iter",)
    proof = "tests/engine/rules/test_svm_iterations.py::test_a_limit_above_what_was_used_does_nothing"
    proved_on = FROM_1_8

    def height(self, value: ParamValue) -> float | None:
        if not is_integer(value) or not (value == -1 or 1 <= value <= _LARGEST):
            return None
        return math.inf if value == -1 else float(value)

    def reached(self, fitted: Estimator) -> float:
        # the machines of its own cross-validation are limited, too, and their iterations are unknown
        return math.inf if validates_probabilities(fitted) else float(np.max(fitted.n_iter_))
