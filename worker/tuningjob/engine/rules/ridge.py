"""One Gram matrix (or one decomposition) serves every penalty of a ridge regression."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy import linalg
from sklearn.base import is_classifier
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.utils.validation import validate_data

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.values import as_number
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import (
    centred_ridge_data,
    check_sample_weight,
    prepared_ridge_data,
    set_intercept,
    solve_cholesky_kernel,
)

_SOLVERS: Final = {"auto": "cholesky", "cholesky": "cholesky", "svd": "svd"}

_Solve = Callable[[Any], Any]


@register
class RidgePenalty(NestedFit):
    """Shares ``alpha`` of ridge regressions on dense rows, solved by Cholesky or singular value decomposition.

    The steps of scikit-learn's fit before the use of ``alpha`` run once, the others for each value. scikit-learn itself fits the
    first candidate; if the shared way does not give the same bits, nothing is shared.
    """

    estimators = (Ridge, RidgeClassifier)
    parameters = ("alpha",)
    proof = "tests/engine/rules/test_ridge.py::test_one_gram_matrix_serves_every_penalty"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:
        return (
            isinstance(estimator.solver, str)
            and estimator.solver in _SOLVERS
            and estimator.positive is False
            and estimator.copy_X is True
            and isinstance(X, np.ndarray)
            and X.ndim == 2
            and X.dtype == np.float64
            and np.ndim(y) == 1
        )

    def accepts(self, estimator: Estimator) -> bool:
        return (as_number(estimator.alpha) or 0.0) > 0

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        first = estimators[0].fit(X, y, **fit_params)
        if first.solver_ != _SOLVERS[first.solver]:
            raise RuntimeError(f"{first!r} was solved by {first.solver_!r}")
        with_penalty = _unpenalised(first, X, y, fit_params.get("sample_weight"))
        again = with_penalty(first)
        for name in ("coef_", "intercept_"):
            one, other = np.asarray(getattr(again, name)), np.asarray(getattr(first, name))
            if (one.dtype, one.strides, one.tobytes()) != (other.dtype, other.strides, other.tobytes()):
                raise RuntimeError(f"{name} of {first!r} came out otherwise")
        yield first
        yield from map(with_penalty, estimators[1:])


def _unpenalised(fitted: Estimator, X: Matrix, y: Target, sample_weight: Anything) -> Callable[[Any], Any]:
    """Run ``Ridge.fit`` or ``RidgeClassifier.fit`` up to the use of ``alpha``; returns a function that does the rest."""
    scratch = copy.copy(fitted)
    if is_classifier(fitted):
        X, y, sample_weight = prepared_ridge_data(scratch, X, y, sample_weight)
    else:
        X, y = validate_data(
            scratch, X, y, dtype=[np.float64, np.float32], force_writeable=True, multi_output=True, y_numeric=True
        )
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X, dtype=X.dtype)
    X, y, X_offset, y_offset, X_scale = centred_ridge_data(X, y, sample_weight, fit_intercept=fitted.fit_intercept)
    solve = (_by_svd if fitted.solver_ == "svd" else _by_cholesky)(X, y)

    def with_penalty(estimator: Estimator) -> Anything:
        coef = solve(np.full(y.shape[1], float(estimator.alpha)))
        made = view(fitted, estimator, coef_=coef.reshape(-1) if y.shape[1] == 1 else coef)
        set_intercept(made, X_offset, y_offset, X_scale)
        return made

    return with_penalty


def _by_cholesky(X: Matrix, y: Target) -> _Solve:
    """A solver for each penalty as ``_solve_cholesky`` or, for more features than rows, ``_solve_cholesky_kernel``."""
    if X.shape[1] > X.shape[0]:
        kernel = X @ X.T
        return lambda alpha: (X.T @ solve_cholesky_kernel(kernel, y, alpha, copy=True)).T
    gram, Xy = X.T @ X, X.T @ y

    def solve(alpha: Anything) -> Anything:
        A = gram.copy()
        A.flat[:: X.shape[1] + 1] += alpha[0]
        return linalg.solve(A, Xy, assume_a="pos", overwrite_a=True).T

    return solve


def _by_svd(X: Matrix, y: Target) -> _Solve:
    """A solver for each penalty as scikit-learn's ``_solve_svd``, by one decomposition."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    idx = s > 1e-15
    s_nnz = s[idx][:, None]
    UTy = U.T @ y

    def solve(alpha: Anything) -> Anything:
        d = np.zeros((s.shape[0], alpha.shape[0]), dtype=X.dtype)
        d[idx] = s_nnz / (s_nnz**2 + alpha)
        return (Vt.T @ (d * UTy)).T

    return solve
