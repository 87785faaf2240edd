"""A tree that is less deep than its limit allows is the tree without a limit."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, Ceiling, register
from tuningjob.engine.sklearn_private import boosted_trees

_DEEPEST: Final = np.iinfo(np.intp).max  # the largest value of the builders' type; more is an error


@register
class TreeDepth(Ceiling):
    """Shares ``max_depth`` of trees and of ensembles of trees.

    All builders (depth first, best first and by histograms) only compare the depth of each new node with the limit. A limit
    greater than the tree's depth is never reached. A limit *equal* to it saves the vain search for a split of the deepest node:
    the tree has the same shape, but later nodes draw other random numbers.
    """

    estimators = (
        DecisionTreeClassifier,
        DecisionTreeRegressor,
        ExtraTreeClassifier,
        ExtraTreeRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        GradientBoostingClassifier,
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    parameters = ("max_depth",)
    proof = "tests/engine/rules/test_tree_depth.py::test_a_limit_above_the_depth_reached_is_no_limit"
    proved_on = FROM_1_8

    def height(self, value: ParamValue) -> float | None:
        if value is None:
            return math.inf
        return float(value) if is_integer(value) and 1 <= value <= _DEEPEST else None

    def reached(self, fitted: Estimator) -> float:
        if getattr(fitted, "ccp_alpha", 0.0) != 0.0:
            return math.inf  # the depth before pruning is unknown
        return max(_depths(fitted))


def _depths(fitted: Estimator) -> Iterator[int]:
    boosted = boosted_trees(fitted)
    if boosted is not None:
        yield from (tree.get_max_depth() for tree in boosted)
    elif hasattr(fitted, "tree_"):
        yield fitted.tree_.max_depth
    else:
        trees = fitted.estimators_
        yield from (tree.tree_.max_depth for tree in (trees.flat if isinstance(trees, np.ndarray) else trees))
