"""Settings of how trees grow that mean the same share a fit."""

from collections.abc import Mapping
from typing import Any, Final

from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tuningjob.aliases import Estimator, Matrix
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, Inert, register
from tuningjob.engine.sklearn_private import BOOSTS_BY_SQUARED_ERROR

_OF_BOOSTING: Final = {"friedman_mse": "squared_error"} if BOOSTS_BY_SQUARED_ERROR else {}


@register
class TreeGrowth(Inert):
    """Replaces equivalent ``criterion`` and ``min_samples_split`` of trees and of ensembles of trees.

    The criterion "log_loss" is the same class as "entropy" (``CRITERIA_CLF``). Since scikit-learn 1.9 gradient boosting grows its
    trees by "squared_error" for both names (each warns). A node is split if it has at least ``min_samples_split`` rows and twice
    ``min_samples_leaf``. So the first counts as the larger of the two, if both are valid numbers of rows.
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
    )
    parameters = ("criterion", "min_samples_split")
    proof = "tests/engine/rules/test_tree_growth.py::test_other_words_for_the_same_grow_the_same_trees"
    proved_on = FROM_1_8

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        instead: dict[str, Any] = {}
        boosts = isinstance(estimator, GradientBoostingClassifier | GradientBoostingRegressor)
        synonyms = _OF_BOOSTING if boosts else {"log_loss": "entropy"}
        if isinstance(estimator.criterion, str):
            instead["criterion"] = synonyms.get(estimator.criterion, estimator.criterion)
        split, leaf = estimator.min_samples_split, estimator.min_samples_leaf
        if is_integer(split) and is_integer(leaf) and split >= 2 and leaf >= 1:
            instead["min_samples_split"] = max(int(split), 2 * int(leaf))
        return instead
