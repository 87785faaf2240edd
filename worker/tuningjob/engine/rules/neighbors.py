"""The 5 nearest neighbours are the first of the 30 nearest, so one query serves every number and every weighting of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import ByInput, predicts, view
from tuningjob.engine.sklearn_private import (
    ASKS_FOR_NEIGHBORS,
    fitted_rows,
    fitted_targets,
    has_tree,
    num_samples,
    safe_indexing,
)

_METRICS: Final = {"minkowski", "euclidean", "l2", "manhattan", "cityblock", "l1", "chebyshev", "cosine"}
# Metrics for which brute force computes the distance of one pair of rows at a time.
_BY_PAIR: Final = {"minkowski", "l2", "manhattan", "cityblock", "l1", "chebyshev"}
_WEIGHTS: Final = {"uniform", "distance"}
# So many more neighbours than the largest number are queried, to follow a tie at the boundary.
_MARGIN: Final = 8
# A tree skips nodes whose bound lies above the farthest neighbour so far, and bounds are rounded. So neighbours as close as
# this, relative to the data's extent (rounding is some 1e-15 of it for each feature), count as tied.
_ROUNDING: Final = 1e-9


@register
class NearestNeighbors(NestedFit):
    """Shares ``n_neighbors`` and ``weights`` of k-nearest neighbours: one query with the largest number is sliced.

    A distance does not depend on the number of neighbours, so the sets differ at most if distances are tied. Rows in which a tie
    could change an answer (``_Neighbours.unclear``) are queried again by the candidate's own code: alone if each row is looked up
    by itself, else with all rows, because the rounding of matrix products depends on the block.
    """

    estimators = (KNeighborsClassifier, KNeighborsRegressor)
    parameters = ("n_neighbors", "weights")
    proof = "tests/engine/rules/test_neighbors.py::test_fewer_neighbours_are_the_first_of_more"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return (
            isinstance(estimator.metric, str)
            and estimator.metric in _METRICS
            and estimator.metric_params is None
            and np.ndim(y) == 1
            and (is_classifier(estimator) or np.asarray(y).dtype.kind in "iuf")
        )

    def accepts(self, estimator: Estimator) -> bool:
        weights = estimator.weights
        return (
            is_integer(estimator.n_neighbors)
            and estimator.n_neighbors >= 1
            and (weights is None or (isinstance(weights, str) and weights in _WEIGHTS))
        )

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        half = num_samples(X) // 2

        def asks_many(estimator: Estimator) -> bool:
            # the only use of n_neighbors in a fit: from this number on "auto" uses no tree
            return bool(estimator.algorithm == "auto" and estimator.n_neighbors >= half)

        queries: dict[bool, _Query] = {}
        for estimator in estimators:
            many = asks_many(estimator)
            if many not in queries:
                widest = max(int(each.n_neighbors) for each in estimators if asks_many(each) == many)
                queries[many] = _Query(estimator.fit(X, y, **fit_params), widest)
            yield queries[many].answering(estimator)


class _Query:
    """One fitted estimator, queried once for each input."""

    def __init__(self, fitted: Estimator, widest: int) -> None:
        samples = int(fitted.n_samples_fit_)
        width = min(widest + _MARGIN, samples)
        # every metric served with trees is at most the sum over the features
        extent = float(np.ptp(fitted_rows(fitted), axis=0).sum()) if has_tree(fitted) else 0.0

        def ask(X: Matrix) -> _Neighbours:
            distances, indices = fitted.kneighbors(X, n_neighbors=width)
            slack = _ROUNDING * (distances[:, -1:] + extent) if has_tree(fitted) else 0.0
            return _Neighbours.of(
                distances, indices, fitted_targets(fitted)[indices], slack, all_of_them=width == samples
            )

        self.fitted = fitted
        self.samples = samples
        self.neighbours = ByInput(ask)
        self.is_row_by_row = ByInput(lambda X: _is_row_by_row(fitted, X))

    def answering(self, estimator: Estimator) -> Estimator:
        """The fitted estimator for a candidate."""
        own = view(self.fitted, estimator)
        size = int(estimator.n_neighbors)
        if size > self.samples:
            return own  # which raises as in scikit-learn
        sliced = view(self.fitted, estimator, **ASKS_FOR_NEIGHBORS)
        sliced.kneighbors = lambda X, *, return_distance=True: self.neighbours(X).nearest(size, return_distance)
        made = view(self.fitted, estimator)
        for method in ("predict", "predict_proba") if is_classifier(own) else ("predict",):
            predicts(made, method, partial(self._answer, own, sliced, method))
        return made

    def _answer(self, own: Matrix, sliced: Matrix, method: str, X: Matrix) -> Matrix:
        if X is None:  # the training rows, each without itself
            return getattr(own, method)(X)
        # Equal votes are counted, in any order of neighbours, but the rounding of sums depends on the order.
        in_order = not is_classifier(own) or own.weights == "distance"
        neighbours = self.neighbours(X)
        unclear = neighbours.unclear(int(own.n_neighbors), in_order=in_order)
        if 2 * len(unclear) > len(neighbours.distances) or (len(unclear) and not self.is_row_by_row(X)):
            return getattr(own, method)(X)
        result = getattr(sliced, method)(X)
        if len(unclear):
            result[unclear] = getattr(own, method)(safe_indexing(X, unclear))
        return result


def _is_row_by_row(fitted: Estimator, X: Matrix) -> bool:
    """Whether the result for some of the rows is independent of the other rows."""
    if has_tree(fitted):
        return True
    given = (X, fitted_rows(fitted))
    if not all(isinstance(rows, np.ndarray) and rows.flags.c_contiguous for rows in given):
        return False
    # ArgKmin distributes more rows differently (strategy="auto"), and ties end in another order
    if len(X) > min(fitted.n_samples_fit_, 4 * get_config()["pairwise_dist_chunk_size"]):
        return False
    # products of whole numbers are not rounded
    return fitted.effective_metric_ in _BY_PAIR or (
        fitted.effective_metric_ == "euclidean" and all(map(_is_whole, given))
    )


def _is_whole(X: Matrix) -> bool:
    if X.dtype.kind not in "iuf":
        return False
    largest = max(float(X.max()), -float(X.min()))
    return 4 * X.shape[1] * largest**2 < 2**53 and bool((np.rint(X) == X).all())


@dataclass(frozen=True)
class _Neighbours:
    """The result of a query, for each row from the nearest neighbour on, and which neighbours may change places.

    Column j of the following arrays is about the neighbours j and j + 1. ``ahead``: they are tied, and so are those after them up
    to two of different targets or to the end of the query. ``farther``: the same, but up to two of different targets or
    distances. ``behind``: they are tied, and so are those before them down to two of different targets. ``swapped``: somewhere
    before j two of different targets are tied.
    """

    distances: Any
    indices: Any
    ahead: Any
    farther: Any
    behind: Any
    swapped: Any

    @classmethod
    def of(
        cls, distances: Matrix, indices: Matrix, targets: Target, slack: Matrix, *, all_of_them: bool
    ) -> "_Neighbours":
        # "not farther", so that a NaN distance counts as a tie
        tied = ~(distances[:, 1:] - distances[:, :-1] > slack)
        mixed = tied & (targets[:, 1:] != targets[:, :-1])
        nearly = tied & (distances[:, 1:] != distances[:, :-1])
        ahead = np.zeros(distances.shape, dtype=bool)
        ahead[:, -1] = not all_of_them
        farther, behind, swapped = ahead.copy(), np.zeros_like(ahead), np.zeros_like(ahead)
        for column in range(distances.shape[1] - 1):
            behind[:, column] = tied[:, column] & (mixed[:, column] | behind[:, column - 1])
            swapped[:, column + 1] = swapped[:, column] | mixed[:, column]
        for column in reversed(range(distances.shape[1] - 1)):
            ahead[:, column] = tied[:, column] & (mixed[:, column] | ahead[:, column + 1])
            farther[:, column] = tied[:, column] & (mixed[:, column] | nearly[:, column] | farther[:, column + 1])
        return cls(distances, indices, ahead, farther, behind, swapped)

    def nearest(self, size: int, return_distance: bool) -> Matrix:  # noqa: FBT001
        """The first ``size`` neighbours, in the form in which a query returns them."""
        indices = self.indices[:, :size].copy()
        return (self.distances[:, :size].copy(), indices) if return_distance else indices

    def unclear(self, size: int, *, in_order: bool) -> Matrix:
        """The rows for which another query may give other targets among the first ``size``; with ``in_order``, in another order.

        A tie that crosses the boundary may give any of its neighbours, which makes no difference if all have the same target.
        Within the boundary tied neighbours may change places.
        """
        last = size - 1
        if in_order:
            return np.flatnonzero(self.farther[:, last] | self.swapped[:, last])
        return np.flatnonzero(self.ahead[:, last] | self.behind[:, last])
