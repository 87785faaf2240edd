"""Settings of how neighbours are looked up that mean the same share a fit."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from tuningjob.aliases import Estimator, Matrix, ParamValue
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import Inert, register
from tuningjob.engine.rules.values import as_number, is_valid

_NAMED: Final = {1: "manhattan", 2: "euclidean", math.inf: "chebyshev"}
_METRICS: Final = {
    "minkowski",
    "euclidean",
    "l2",
    "manhattan",
    "cityblock",
    "l1",
    "chebyshev",
}  # trees have all of them
_MOST_FEATURES: Final = 15  # for which "auto" builds a tree


@register
class NeighborSearch(Inert):
    """Replaces equivalent ``metric``, ``p``, ``algorithm`` and ``leaf_size`` of k-nearest neighbours.

    The metric "minkowski" is one of three others for a ``p`` of 1, 2 or infinity, and no other metric uses ``p``. The algorithm
    "auto" is one of the others (``NeighborsBase._fit``), and brute force has no leaves.
    """

    estimators = (KNeighborsClassifier, KNeighborsRegressor)
    parameters = ("metric", "p", "algorithm", "leaf_size")
    proof = "tests/engine/rules/test_neighbor_search.py::test_other_words_for_the_same_find_the_same_neighbours"

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:
        metric, p = estimator.metric, estimator.p
        if not isinstance(metric, str) or metric not in _METRICS or estimator.metric_params is not None:
            return {}
        if not (_is_power(p) and is_valid(estimator, "algorithm") and is_valid(estimator, "leaf_size")):
            return {}
        if metric == "minkowski":
            metric = _NAMED.get(p, metric)
        instead: dict[str, Any] = {"metric": metric}
        if metric != "minkowski":
            instead["p"] = 2
        instead["algorithm"] = algorithm = _resolved(
            estimator, X, is_metric=metric != "minkowski" or (p is not None and p >= 1)
        )
        if algorithm == "brute" or sparse.issparse(X):
            instead["leaf_size"] = 30
        return instead


def _is_power(p: ParamValue) -> bool:
    return p is None or (as_number(p) or 0.0) > 0 or (isinstance(p, float | np.floating) and bool(p == math.inf))


def _resolved(estimator: Estimator, X: Matrix, *, is_metric: bool) -> str:
    """The algorithm that "auto" chooses for these data; "auto" if that is not known."""
    algorithm = str(estimator.algorithm)
    if algorithm != "auto" or not is_metric:
        return algorithm
    if sparse.issparse(X):
        return "brute"
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) != 2 or not is_integer(estimator.n_neighbors):
        return algorithm
    return "brute" if shape[1] > _MOST_FEATURES or estimator.n_neighbors >= shape[0] // 2 else "kd_tree"
