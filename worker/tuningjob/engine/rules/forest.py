"""A forest of 50 trees is the first quarter of the forest of 200, because each tree's seed is drawn in order."""

import copy
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.tree_size import cut_tree, is_size
from tuningjob.engine.rules.views import ByInput, predicts, view
from tuningjob.engine.sklearn_private import checked_by_forest


@register
class ForestTrees(NestedFit):
    """Shares ``n_estimators``, ``max_leaf_nodes`` and ``ccp_alpha`` of random forests and extra trees.

    The largest forest is grown once (``_stands``), each tree is cut as in ``tree_size``, and predictions are summed tree by tree.
    The sum is scikit-learn's (``_accumulate_prediction``, one thread, in the order of the trees), and is read at each size.
    """

    estimators = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
    parameters = ("n_estimators", "max_leaf_nodes", "ccp_alpha")
    proof = "tests/engine/rules/test_forest.py::test_the_first_trees_of_a_forest_are_the_smaller_forest"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return not estimator.oob_score and not estimator.warm_start and np.ndim(y) == 1

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1 and is_size(estimator)

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        whole_of: dict[int, Any] = {}
        for stand in _stands(estimators):
            first = copy.copy(stand.estimators[0])
            first.set_params(n_estimators=stand.trees, max_leaf_nodes=stand.leaves, ccp_alpha=0.0)
            whole_of |= dict.fromkeys(map(id, stand.estimators), first.fit(X, y, **fit_params))
        left = Counter(map(_shape, estimators))
        cuts: dict[tuple[Any, ...], _Cut] = {}
        for estimator in estimators:
            shape = _shape(estimator)
            if shape not in cuts:
                sizes = {int(each.n_estimators) for each in estimators if _shape(each) == shape}
                cuts[shape] = _Cut.of(whole_of[id(estimator)], estimator, sizes)
            yield cuts[shape].first(estimator)
            left[shape] -= 1
            if not left[shape]:
                del cuts[shape]  # the trees there are copies


@dataclass
class _Stand:
    """A grown forest, and the estimators whose forests are cut out of it."""

    trees: int
    leaves: int | None
    estimators: list[Any] = field(default_factory=list)


def _stands(estimators: Sequence[Estimator]) -> list[_Stand]:
    """The forests to grow: one for estimators without a limit of leaves, and mostly one for those with a limit.

    A tree with fewer leaves is cheaper. So many trees of few leaves are grown separately if that is cheaper than as many trees
    with the most leaves. All levels of a tree cost about the same.
    """
    by_leaves: dict[int | None, list[Any]] = {}
    for estimator in estimators:
        by_leaves.setdefault(estimator.max_leaf_nodes, []).append(estimator)
    stands: list[_Stand] = []
    for leaves in sorted(by_leaves, key=lambda leaves: -(leaves or math.inf)):
        trees = max(int(each.n_estimators) for each in by_leaves[leaves])
        last = stands[-1] if stands else None
        if last is None or last.leaves is None or (trees - last.trees) * _levels(last.leaves) > trees * _levels(leaves):
            stands.append(last := _Stand(trees, leaves))
        last.trees = max(last.trees, trees)
        last.estimators += by_leaves[leaves]
    return stands


def _levels(leaves: int | None) -> float:
    return 1 + math.log2(leaves or math.inf)


def _shape(forest: Estimator) -> tuple[Any, ...]:
    return forest.max_leaf_nodes, forest.ccp_alpha


@dataclass
class _Cut:
    """The trees of a forest cut to a shape; ``averages`` has the predictions of the first ones, by their number."""

    forest: Any
    averages: ByInput

    @classmethod
    def of(cls, whole: Estimator, estimator: Estimator, sizes: set[int]) -> "_Cut":
        leaves, alpha = shape = _shape(estimator)
        trees = whole.estimators_[: max(sizes)]
        if shape != _shape(whole):
            trees = [cut_tree(tree, view(tree, tree, max_leaf_nodes=leaves, ccp_alpha=alpha)) for tree in trees]
        forest = view(whole, estimator, estimators_=trees)
        return cls(forest, ByInput(partial(_averages, forest, sizes)))

    def first(self, estimator: Estimator) -> Estimator:
        """The fitted forest with the estimator's own number of trees."""
        size = int(estimator.n_estimators)
        made = view(self.forest, estimator, estimators_=self.forest.estimators_[:size])
        method = "predict_proba" if is_classifier(made) else "predict"
        return predicts(made, method, partial(_of_size, self.averages, size))


def _of_size(by_size: ByInput, size: int, X: Matrix) -> Matrix:
    return by_size(X)[size].copy()


def _averages(forest: Estimator, sizes: set[int], X: Matrix) -> dict[int, Any]:
    """The prediction of the first trees, by each of ``sizes``."""
    X = checked_by_forest(forest, X)
    averages: dict[int, Any] = {}
    total: Any = None
    for size, tree in enumerate(forest.estimators_, start=1):
        answer = (tree.predict_proba if is_classifier(forest) else tree.predict)(X, check_input=False)
        if total is None:
            total = np.zeros(answer.shape, dtype=np.float64)
        total += answer
        if size in sizes:
            averages[size] = total / size
    return averages
