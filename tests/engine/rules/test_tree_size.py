"""The proof of TreeSize."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.utils import get_tags

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, examples, rule_of, shown
from tuningjob.engine.rules import NestedFit

LEAVES: list[dict[str, Any]] = [{"max_leaf_nodes": leaves} for leaves in (7, None, 2, 3, 1_000, np.int64(30))]
ALPHAS: list[dict[str, Any]] = [{"ccp_alpha": alpha} for alpha in (0.01, 0.0, 1e-4, 0.03, 5)]
SIZES: list[dict[str, Any]] = [
    *LEAVES,
    *ALPHAS,
    *({**leaves, **alpha} for leaves, alpha in zip(LEAVES, ALPHAS, strict=False)),
]
ATTRIBUTES = ("feature_importances_", "n_classes_", "classes_", "max_features_", "n_features_in_", "n_outputs_")
# those that a leaf has, too
PARTS = ("children_left", "children_right", "feature", "threshold", "impurity", "value", "max_depth", "n_leaves")
WEIGHTS = ("node_count", "n_node_samples", "weighted_n_node_samples")
CLASSES = tuple(part[:500] for part in load_digits(return_X_y=True))
NUMBERS = (load_diabetes().data, load_diabetes().target / 100)
TWO = make_classification(random_state=0)


def assert_cut_alike(tree: Any, X: Any, y: Any, X_test: Any, sizes: Any = SIZES, **fit_params: Any) -> None:
    pairs = assert_nested_fits_are_plain_fits(tree, sizes, X, y, X_test, fit_params=fit_params, attributes=ATTRIBUTES)
    for (made, plain), size in zip(pairs, sizes, strict=True):
        for part in PARTS + WEIGHTS:
            assert_same_bits(getattr(made.tree_, part), getattr(plain.tree_, part), f"{part} {size}")
        splits = plain.tree_.children_left >= 0  # of leaves it was never set
        ours, theirs = (each.tree_.__getstate__()["nodes"]["missing_go_to_left"][splits] for each in (made, plain))
        assert_same_bits(ours, theirs, f"missing_go_to_left {size}")


@pytest.mark.alike
@pytest.mark.parametrize(
    ("tree", "data"),
    [
        (DecisionTreeClassifier(random_state=0), CLASSES),
        (
            DecisionTreeClassifier(random_state=1, criterion="entropy", max_features="sqrt", class_weight="balanced"),
            CLASSES,
        ),
        (DecisionTreeClassifier(random_state=2, splitter="random", max_depth=6, min_samples_leaf=3), CLASSES),
        (DecisionTreeClassifier(random_state=3, min_weight_fraction_leaf=0.02, min_samples_split=0.1), CLASSES),
        (DecisionTreeClassifier(random_state=4, monotonic_cst=[1] * 10 + [-1] * 10), TWO),
        (DecisionTreeRegressor(random_state=5), NUMBERS),
        (DecisionTreeRegressor(random_state=6, criterion="absolute_error", max_depth=5), NUMBERS),
        (DecisionTreeRegressor(random_state=7, criterion="poisson", min_impurity_decrease=0.001), NUMBERS),
        (
            DecisionTreeRegressor(random_state=7, monotonic_cst=[1, 0, -1, 1, 0, 0, 1, 0, -1, 0], max_features=3),
            NUMBERS,
        ),
        (ExtraTreeClassifier(random_state=8), CLASSES),
        (ExtraTreeRegressor(random_state=9), NUMBERS),
    ],
    ids=shown,
)
def test_a_copy_of_the_whole_tree_is_cut_as_a_tree_of_its_own(tree: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_cut_alike(tree, X, y, X_test)


@pytest.mark.slow
def test_weights_sparse_rows_missing_values_and_several_outputs_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, train_size=150, random_state=0)
    holes, test_holes = np.where(X > 14, np.nan, X), np.where(X_test > 14, np.nan, X_test)
    several = np.column_stack([y % 2, y % 3])
    for tree in (DecisionTreeClassifier(random_state=0), ExtraTreeClassifier(random_state=0, max_features=0.5)):
        assert_cut_alike(tree, X, y, X_test, sample_weight=np.linspace(0.1, 2, len(y)))
        assert_cut_alike(tree, sparse.csc_matrix(X), y.astype(str), sparse.csr_matrix(X_test))
        if get_tags(tree).input_tags.allow_nan:
            assert_cut_alike(tree, holes, y, test_holes)
        assert_cut_alike(tree, X, several, X_test)
        assert_cut_alike(tree, X, np.zeros(len(y)), X_test)  # nothing to cut
    for tree in (DecisionTreeRegressor(random_state=0), ExtraTreeRegressor(random_state=0)):
        assert_cut_alike(tree, X, several, X_test)
    assert_cut_alike(DecisionTreeRegressor(random_state=0), holes, several, test_holes)


@pytest.mark.slow
@examples(10)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(
        st.sampled_from([DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor])
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    if get_tags(kind(splitter="best")).input_tags.allow_nan and draw(st.booleans()):
        X[rng.random(X.shape) < 0.1] = np.nan
    tree = kind(
        random_state=draw(st.integers(0, 9)),
        splitter=draw(st.sampled_from(["best", "random"])),
        max_depth=draw(st.sampled_from([None, 1, 4])),
        min_samples_leaf=draw(st.integers(1, 4)),
        max_features=draw(st.sampled_from([None, 1])),
        monotonic_cst=draw(st.sampled_from([None, [1, 0, -1]])) if y.ndim == 1 and len(set(y)) in {2, 60} else None,
    )
    leaves = st.sampled_from([None, 2, 3, 4, 5, 7, 12, 60])
    alphas = st.sampled_from([0.0, 0.0, 1e-9, 1e-3, 0.01, 0.03, 0.3, 1])
    shapes = st.fixed_dictionaries({"max_leaf_nodes": leaves, "ccp_alpha": alphas})
    sizes = draw(st.lists(shapes, min_size=2, max_size=5))
    assert_cut_alike(tree, X[:45], y[:45], X[45:], sizes)


def test_neither_the_estimators_given_nor_the_whole_tree_are_changed() -> None:
    X, y = CLASSES
    unfitted = [DecisionTreeClassifier(random_state=0, **size) for size in SIZES]
    made = list(rule_of(NestedFit, unfitted[0]).fit(unfitted, X, y, {}))
    for name in ("ccp_alpha", "max_leaf_nodes"):
        given = [getattr(DecisionTreeClassifier(**size), name) for size in SIZES]
        assert [getattr(tree, name) for tree in unfitted] == [getattr(tree, name) for tree in made] == given
    assert not any(hasattr(tree, "tree_") for tree in unfitted)
    leaves = {tree.max_leaf_nodes: tree.get_n_leaves() for tree in made[: len(LEAVES)]}
    assert leaves == {**leaves, 2: 2, 3: 3, 7: 7, 30: 30}
    assert leaves[1_000] > 30
    nodes = {tree.ccp_alpha: tree.tree_.node_count for tree in made[len(LEAVES) : len(LEAVES) + len(ALPHAS)]}
    assert nodes[0.0] >= nodes[1e-4] > nodes[0.01] > nodes[0.03] > nodes[5] == 1


def test_values_that_are_none_are_left_to_a_fit_of_their_own() -> None:
    rule = rule_of(NestedFit, DecisionTreeClassifier())
    none: list[Any] = [-0.1, np.nan, np.inf, True, None, "0.1"]
    for alpha in none:
        assert not rule.accepts(DecisionTreeClassifier(ccp_alpha=alpha))
    some: list[Any] = [0, 1, 0.1, np.float32(0.1)]
    for alpha in some:
        assert rule.accepts(DecisionTreeClassifier(ccp_alpha=alpha))
    invalid: list[Any] = [1, 0, -1, 2.0, True, "2"]
    for leaves in invalid:
        assert not rule.accepts(DecisionTreeClassifier(max_leaf_nodes=leaves))
    for leaves in (None, 2, np.int32(5)):
        assert rule.accepts(DecisionTreeClassifier(max_leaf_nodes=leaves))
