"""Support vector machines that differ only in parameters that their kernel never uses share a fit."""

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


# Values that every fit accepts, used or not: scikit-learn's constraints allow them, and they fit in C's types.
_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "gamma": lambda value: (isinstance(value, str) and value in {"scale", "auto"}) or _is_number(value, 0),
    "degree": lambda value: is_integer(value) and 0 <= value < 2**31,
    "coef0": _is_number,
    "cache_size": lambda value: 0 < (as_number(value) or 0) <= 100_000,
}
_INSTEAD: Final[Mapping[str, Any]] = {"gamma": "scale", "degree": 3, "coef0": 0.0, "cache_size": 200}
# cache_size bounds the cached rows of the kernel, and a recomputed row is the same.
_INERT: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": ("gamma", "degree", "coef0", "cache_size"),
    "precomputed": ("gamma", "degree", "coef0", "cache_size"),
    "rbf": ("degree", "coef0", "cache_size"),
    "sigmoid": ("degree", "cache_size"),
    "poly": ("cache_size",),
}


@register
class UnusedByKernel(Inert):
    """Ignores ``gamma``, ``degree`` and ``coef0`` if libsvm's kernel function (``Kernel::k_function``) does not use them."""

    estimators = (SVC, SVR, NuSVC, NuSVR, OneClassSVM)
    parameters = tuple(_INSTEAD)
    proof = "tests/engine/rules/test_svm_kernel.py::test_a_kernel_does_not_look_at_the_parameters_of_another"
    proved_on = FROM_1_8

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        # a value that scikit-learn refuses is kept, so that it fails by itself
        kernel = estimator.kernel
        inert = _INERT.get(kernel, ()) if isinstance(kernel, str) else ()
        return {name: _INSTEAD[name] for name in inert if _VALID[name](getattr(estimator, name))}
