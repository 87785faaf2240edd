"""Recursive elimination drops features in the same order for any number of features to select."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.feature_selection import RFE
from sklearn.utils.validation import validate_data

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedTransform, register
from tuningjob.engine.rules.values import as_number, is_valid
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import squared_importances


@register
class FeaturesInTheirOrder(NestedTransform):
    """Shares ``n_features_to_select`` of RFE: a round depends only on the features that are left.

    Only the last round drops fewer than ``step`` features, the first of those that a whole round would drop. The rule keeps only
    the order of the features; the final model of the selected features is fitted for each candidate.
    """

    estimators = (RFE,)
    parameters = ("n_features_to_select",)
    proof = "tests/engine/rules/test_recursive_elimination.py::test_each_round_is_gone_through_once"

    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        return (
            len(shape) == 2
            and _wanted(transformer, shape[1]) > 0
            and is_valid(transformer, "step")
            and as_number(transformer.step) is not None
            and isinstance(transformer.importance_getter, str)
            and isinstance(transformer.verbose, int)
            and transformer.verbose == 0
        )

    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Any:  # noqa: ANN401  what it hands to derive
        return _Elimination(transformer, X, y)

    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        made = common.selector(transformer)
        return made.transform(X), made


class _Elimination:
    """The features in the order in which an RFE drops them on some rows, computed as far as it was needed."""

    def __init__(self, selector: Estimator, X: Matrix, y: Target) -> None:
        features = X.shape[1]
        # which drops nothing, and fits the model of the first round
        self.whole = clone(selector).set_params(n_features_to_select=features).fit(X, y)
        self.X, self.y = validate_data(
            self.whole,
            X,
            y,
            reset=False,
            accept_sparse="csc",
            ensure_min_features=2,
            ensure_all_finite=False,
            multi_output=True,
        )
        self._step = int(max(1, selector.step * features)) if 0 < selector.step < 1 else int(selector.step)
        self._dropped = np.empty(0, dtype=np.intp)

    def selector(self, unfitted: Estimator) -> Estimator:
        """Fit an RFE with these parameters to these rows, and return it."""
        features = self.X.shape[1]
        count = features - _wanted(unfitted, features)
        dropped = self._first(count)
        rounds = -(-count // self._step)
        ranking = np.ones(features, dtype=int)
        ranking[dropped] += rounds - np.arange(count) // self._step
        support = self._left(dropped)
        return view(
            self.whole,
            unfitted,
            estimator_=self._fitted(support) if count else self.whole.estimator_,
            n_features_=support.sum(),
            support_=support,
            ranking_=ranking,
        )

    def _first(self, count: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The first so many features that are dropped."""
        while len(self._dropped) < count:
            support = self._left(self._dropped)
            model = self._fitted(support) if len(self._dropped) else self.whole.estimator_
            worst = np.argsort(squared_importances(model, self.whole.importance_getter), kind="stable")
            worst = np.ravel(worst)[: self._step]  # it is a matrix for a sparse model
            self._dropped = np.concatenate([self._dropped, np.flatnonzero(support)[worst]])
        return self._dropped[:count]

    def _left(self, dropped: np.ndarray[Any, np.dtype[np.intp]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        support = np.ones(self.X.shape[1], dtype=bool)
        support[dropped] = False
        return support

    def _fitted(self, support: np.ndarray[Any, np.dtype[np.bool_]]) -> Estimator:
        return clone(self.whole.estimator).fit(self.X[:, np.flatnonzero(support)], self.y)


def _wanted(selector: Estimator, features: int) -> int:
    """The number of features that an RFE selects; 0 if it raises or warns."""
    given = selector.n_features_to_select
    if given is None:
        wanted = features // 2
    elif is_integer(given):
        wanted = int(given)
    elif as_number(given) is not None and is_valid(selector, "n_features_to_select"):
        wanted = int(features * given)
    else:
        return 0
    return wanted if 1 <= wanted <= features else 0
