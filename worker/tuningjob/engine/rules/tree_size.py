"""A smaller tree is a larger one with branches cut off."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tuningjob.aliases import Estimator, Matrix, ParamValue, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import first_leaves, prune


@register
class TreeSize(NestedFit):
    """Shares ``max_leaf_nodes`` and ``ccp_alpha`` of a decision tree: it grows once with the most leaves, and is cut for each.

    With ``max_leaf_nodes`` a tree grows best first (without it depth first, which gives another tree). Neither the choice of the
    next leaf nor the draws for its children depend on how many follow. So a tree with m leaves is the first 2 m - 1 nodes of any
    larger one. scikit-learn uses ``ccp_alpha`` only in ``_prune_tree``, which it calls after the growth, and which builds another
    tree and leaves the grown one unchanged.
    """

    estimators = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
    parameters = ("max_leaf_nodes", "ccp_alpha")
    proof = "tests/engine/rules/test_tree_size.py::test_a_copy_of_the_whole_tree_is_cut_as_a_tree_of_its_own"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return True

    def accepts(self, estimator: Estimator) -> bool:
        return is_size(estimator)

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        wholes = {}
        for grows_best_first in dict.fromkeys(estimator.max_leaf_nodes is not None for estimator in estimators):
            alike = [each for each in estimators if (each.max_leaf_nodes is not None) == grows_best_first]
            largest = copy.copy(max(alike, key=lambda each: each.max_leaf_nodes or 0))
            wholes[grows_best_first] = largest.set_params(ccp_alpha=0.0).fit(X, y, **fit_params)
        for estimator in estimators:
            whole = wholes[estimator.max_leaf_nodes is not None]
            yield cut_tree(whole, view(whole, estimator))


def is_size(estimator: Estimator) -> bool:
    """Whether the values of ``max_leaf_nodes`` and ``ccp_alpha`` are valid."""
    return _is_number_of_leaves(estimator.max_leaf_nodes) and _is_alpha(estimator.ccp_alpha)


def _is_number_of_leaves(value: ParamValue) -> bool:
    return value is None or (is_integer(value) and bool(value >= 2))


def _is_alpha(value: ParamValue) -> bool:
    return (is_integer(value) or isinstance(value, float | np.floating)) and bool(0 <= value < math.inf)


def cut_tree(whole: Estimator, made: Estimator) -> Estimator:
    """Cut ``made``, a view of an unpruned tree, to its own number of leaves, and prune it."""
    if made.max_leaf_nodes is not None:
        made.tree_ = first_leaves(whole.tree_, made.max_leaf_nodes)
    prune(made)
    return made
