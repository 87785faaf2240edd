"""A pruned tree is the whole tree, grown as if there were no pruning, with branches cut off."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.views import view
from tuningjob.engine.sklearn_private import prune


@register
class Pruning(NestedFit):
    """``ccp_alpha`` of a decision tree: grown once without pruning, and a copy pruned for each value.

    scikit-learn looks at ``ccp_alpha`` in ``_prune_tree`` alone, which it calls when the tree has been grown, and which leaves
    that tree as it is: it builds another one.
    """

    estimators = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
    parameters = ("ccp_alpha",)
    proof = "tests/engine/rules/test_pruning.py::test_a_copy_of_the_whole_tree_is_pruned_as_a_tree_of_its_own"

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return True

    def accepts(self, estimator: Estimator) -> bool:
        alpha = estimator.ccp_alpha
        return (is_integer(alpha) or isinstance(alpha, float | np.floating)) and bool(0 <= alpha < math.inf)

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        whole = copy.copy(estimators[0]).set_params(ccp_alpha=0.0).fit(X, y, **fit_params)
        for estimator in estimators:
            made = view(whole, estimator)
            prune(made)
            yield made
