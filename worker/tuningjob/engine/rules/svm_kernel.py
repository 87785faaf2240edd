"""Parameters of a support vector machine that its kernel never looks at."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from tuningjob.aliases import Estimator, Matrix, ParamValue
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, Inert, register
from tuningjob.engine.rules.values import as_number


def _is_number(value: ParamValue, least: float = -math.inf) -> bool:
    number = as_number(value)
    return number is not None and number >= least


# Values that every fit accepts, whether it looks at them or not: scikit-learn's constraints, and that they fit in C's types.
_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "gamma": lambda value: (isinstance(value, str) and value in {"scale", "auto"}) or _is_number(value, 0),
    "degree": lambda value: is_integer(value) and 0 <= value < 2**31,
    "coef0": _is_number,
    "cache_size": lambda value: 0 < (as_number(value) or 0) <= 100_000,
}
_INSTEAD: Final[Mapping[str, Any]] = {"gamma": "scale", "degree": 3, "coef0": 0.0, "cache_size": 200}
# cache_size is how many rows of the kernel are kept: one that is computed again comes out the same.
_INERT: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": ("gamma", "degree", "coef0", "cache_size"),
    "precomputed": ("gamma", "degree", "coef0", "cache_size"),
    "rbf": ("degree", "coef0", "cache_size"),
    "sigmoid": ("degree", "cache_size"),
    "poly": ("cache_size",),
}


@register
class UnusedByKernel(Inert):
    """``gamma``, ``degree`` and ``coef0`` where libsvm's kernel function is without them (``Kernel::k_function``)."""

    estimators = (SVC, SVR, NuSVC, NuSVR, OneClassSVM)
    parameters = tuple(_INSTEAD)
    proof = "tests/engine/rules/test_svm_kernel.py::test_a_kernel_does_not_look_at_the_parameters_of_another"
    proved_on = FROM_1_8

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        # one that scikit-learn refuses is kept as it is: it fails by itself
        kernel = estimator.kernel
        inert = _INERT.get(kernel, ()) if isinstance(kernel, str) else ()
        return {name: _INSTEAD[name] for name in inert if _VALID[name](getattr(estimator, name))}
