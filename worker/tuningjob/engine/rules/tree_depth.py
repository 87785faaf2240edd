"""A tree that did not grow as deep as it might have is the one that grows without a limit."""

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

_DEEPEST: Final = np.iinfo(np.intp).max  # what the builders' own type holds; more than that is an error


@register
class TreeDepth(Ceiling):
    """``max_depth`` of trees, and of what is made of them.

    All that the builders do with it is to ask of each node that they make whether it is as deep as that (depth first, best first
    and by histograms alike). Above the deepest node the answer is always no. *At* the deepest node it is yes, which saves the
    search for a split that would not have been found: the tree's shape is the same, but not the random numbers left for the rest.
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
            return math.inf  # pruned: how deep it was cannot be known
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
