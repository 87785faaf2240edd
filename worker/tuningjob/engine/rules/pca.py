"""The first components of a principal component analysis are the same for any number of kept ones."""

import math
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedTransform, register
from tuningjob.engine.rules.values import is_valid
from tuningjob.engine.rules.views import view
from tuningjob.engine.seeds import pca_solver
from tuningjob.engine.sklearn_private import decomposed, output_config


@register
class PrincipalComponents(NestedTransform):
    """Shares ``n_components`` and ``whiten`` of PCA for solvers that cut a full decomposition: "full" and "covariance_eigh".

    The rounding of matrix products depends on the order in memory, so the parts have the layout of a plain fit: ``components_``
    in the order of the decomposition, transformed rows as a part of the wide ones.
    """

    estimators = (PCA,)
    parameters = ("n_components", "whiten")
    proof = "tests/engine/rules/test_pca.py::test_fewer_components_are_the_first_of_all"
    proved_on = FROM_1_8

    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        # copies of strided rows have a new layout, and a fit does not always copy them
        if not isinstance(X, np.ndarray) or X.ndim != 2 or not X.flags.forc:
            return False
        wanted, smallest = transformer.n_components, min(X.shape)
        if not (wanted is None or (is_integer(wanted) and 1 <= wanted <= smallest)):
            return False
        solver = pca_solver(transformer, X.shape)
        return (
            # with fewer rows than features the covariance has more eigenvalues than a fit keeps, and the noise needs them
            (solver == "full" or (solver == "covariance_eigh" and smallest == X.shape[1]))
            and transformer.copy is True
            and is_valid(transformer, "whiten")
            and output_config("transform", transformer)["dense"] == "default"
        )

    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Any:  # noqa: ARG002, ANN401  what it hands to derive
        whole = clone(transformer).set_params(n_components=None, svd_solver=pca_solver(transformer, X.shape))
        if whole.svd_solver == "full":
            return whole, *decomposed(whole, X)
        return whole.fit(X), None, None

    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        whole, U, S = common
        size = min(X.shape) if transformer.n_components is None else transformer.n_components
        variances = whole.explained_variance_
        made = view(
            whole,
            transformer,
            n_components_=size,
            # np.array keeps the order in memory; ndarray.copy would not
            components_=np.array(whole.components_[:size]),
            explained_variance_=variances[:size].copy(),
            explained_variance_ratio_=whole.explained_variance_ratio_[:size].copy(),
            singular_values_=whole.singular_values_[:size].copy(),
            noise_variance_=np.mean(variances[size:]) if size < min(X.shape) else 0.0,
        )
        if U is None:
            return made.transform(X), made
        rows = np.empty_like(U)[:, :size]
        np.multiply(U[:, :size], math.sqrt(len(X) - 1) if transformer.whiten else S[:size], out=rows)
        return rows, made
