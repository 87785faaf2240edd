"""The proof of Pruning."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of, shown
from tuningjob.engine.rules import NestedFit

ALPHAS = [{"ccp_alpha": alpha} for alpha in (0.01, 0.0, 1e-4, 0.03, 5)]
ATTRIBUTES = ("feature_importances_", "n_classes_", "classes_")
PARTS = ("children_left", "children_right", "feature", "threshold", "impurity", "value", "max_depth", "n_node_samples")
CLASSES = tuple(part[:500] for part in load_digits(return_X_y=True))
NUMBERS = (load_diabetes().data, load_diabetes().target / 100)


def assert_pruned_alike(tree: Any, X: Any, y: Any, X_test: Any, alphas: Any = ALPHAS, **fit_params: Any) -> None:
    assert_nested_fits_are_plain_fits(tree, alphas, X, y, X_test, fit_params=fit_params, attributes=ATTRIBUTES)
    unfitted = [clone(tree).set_params(**alpha) for alpha in alphas]
    for made, alpha in zip(rule_of(NestedFit, tree).fit(unfitted, X, y, fit_params), alphas, strict=True):
        plain = clone(tree).set_params(**alpha).fit(X, y, **fit_params)
        for part in PARTS:
            assert_same_bits(getattr(made.tree_, part), getattr(plain.tree_, part), f"{part} {alpha}")


@pytest.mark.parametrize(
    ("tree", "data"),
    [
        (DecisionTreeClassifier(random_state=0), CLASSES),
        (
            DecisionTreeClassifier(random_state=1, criterion="entropy", max_features="sqrt", class_weight="balanced"),
            CLASSES,
        ),
        (DecisionTreeClassifier(random_state=2, splitter="random", max_depth=6, min_samples_leaf=3), CLASSES),
        (DecisionTreeClassifier(random_state=3, max_leaf_nodes=20), CLASSES),
        (
            DecisionTreeClassifier(random_state=4, monotonic_cst=[1] * 10 + [-1] * 10),
            make_classification(random_state=0),
        ),
        (DecisionTreeRegressor(random_state=5), NUMBERS),
        (DecisionTreeRegressor(random_state=6, criterion="absolute_error", max_depth=5), NUMBERS),
        (DecisionTreeRegressor(random_state=7, criterion="poisson", min_impurity_decrease=0.001), NUMBERS),
        (ExtraTreeClassifier(random_state=8), CLASSES),
        (ExtraTreeRegressor(random_state=9), NUMBERS),
    ],
    ids=shown,
)
def test_a_copy_of_the_whole_tree_is_pruned_as_a_tree_of_its_own(tree: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    if getattr(tree, "monotonic_cst", None) is not None:
        X, X_test = X[:, :20], X_test[:, :20]
    assert_pruned_alike(tree, X, y, X_test)


@pytest.mark.slow
def test_weights_sparse_rows_missing_values_and_several_outputs_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    tree = DecisionTreeClassifier(random_state=0)
    assert_pruned_alike(tree, X, y, X_test, sample_weight=np.linspace(0.1, 2, len(y)))
    assert_pruned_alike(tree, sparse.csc_matrix(X), y.astype(str), sparse.csr_matrix(X_test))
    assert_pruned_alike(tree, np.where(X > 14, np.nan, X), y, np.where(X_test > 14, np.nan, X_test))
    assert_pruned_alike(tree, X, np.column_stack([y % 2, y % 3]), X_test)
    assert_pruned_alike(DecisionTreeRegressor(random_state=0), X, np.column_stack([y % 2, y % 3]), X_test)
    assert_pruned_alike(tree, X, np.zeros(len(y)), X_test)  # nothing to prune


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(
        st.sampled_from([DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor])
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    tree = kind(
        random_state=draw(st.integers(0, 9)),
        splitter=draw(st.sampled_from(["best", "random"])),
        max_depth=draw(st.sampled_from([None, 1, 4])),
        max_leaf_nodes=draw(st.sampled_from([None, 2, 9])),
        min_samples_leaf=draw(st.integers(1, 4)),
        max_features=draw(st.sampled_from([None, 1])),
    )
    alphas = draw(st.lists(st.sampled_from([0.0, 1e-9, 1e-3, 0.01, 0.03, 0.3, 1]), min_size=2, max_size=4, unique=True))
    assert_pruned_alike(tree, X[:45], y[:45], X[45:], [{"ccp_alpha": alpha} for alpha in alphas])


def test_neither_the_estimators_given_nor_the_whole_tree_are_changed() -> None:
    X, y = CLASSES
    unfitted = [DecisionTreeClassifier(random_state=0, **alpha) for alpha in ALPHAS]
    made = list(rule_of(NestedFit, unfitted[0]).fit(unfitted, X, y, {}))
    assert (
        [tree.ccp_alpha for tree in unfitted] == [tree.ccp_alpha for tree in made] == [a["ccp_alpha"] for a in ALPHAS]
    )
    assert not any(hasattr(tree, "tree_") for tree in unfitted)
    nodes = {tree.ccp_alpha: tree.tree_.node_count for tree in made}
    assert nodes[0.0] >= nodes[1e-4] > nodes[0.01] > nodes[0.03] > nodes[5] == 1


def test_values_that_are_none_are_left_to_a_fit_of_their_own() -> None:
    rule = rule_of(NestedFit, DecisionTreeClassifier())
    none: list[Any] = [-0.1, np.nan, np.inf, True, None, "0.1"]
    for alpha in none:
        assert not rule.accepts(DecisionTreeClassifier(ccp_alpha=alpha))
    some: list[Any] = [0, 1, 0.1, np.float32(0.1)]
    for alpha in some:
        assert rule.accepts(DecisionTreeClassifier(ccp_alpha=alpha))
