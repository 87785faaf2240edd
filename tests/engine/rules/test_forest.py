"""The proof of ForestTrees."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of, shown
from tests.engine.versions import SKLEARN
from tuningjob.engine.rules import NestedFit
from tuningjob.engine.rules.forest import _stands

SIZES = [{"n_estimators": size} for size in (1, 3, 10, 17)]
SHAPES = [
    {"n_estimators": size, "max_leaf_nodes": leaves, "ccp_alpha": alpha}
    for leaves in (9, None, 2, 300)
    for size in (7, 2)
    for alpha in (0.0, 0.003)
]
CLASSES = tuple(part[:600] for part in load_digits(return_X_y=True))
NUMBERS = load_diabetes(return_X_y=True)
TWO = make_classification(random_state=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forest", "data"),
    [
        (RandomForestClassifier(random_state=0), CLASSES),
        (RandomForestClassifier(random_state=1, max_samples=0.5, class_weight="balanced_subsample"), CLASSES),
        (RandomForestClassifier(random_state=2, bootstrap=False, max_features=0.3, max_depth=4), CLASSES),
        (RandomForestClassifier(random_state=2, criterion="entropy", ccp_alpha=0.01, max_leaf_nodes=9), CLASSES),
        (ExtraTreesClassifier(random_state=3, bootstrap=True, min_samples_leaf=3), CLASSES),
        (RandomForestRegressor(random_state=4), NUMBERS),
        (RandomForestRegressor(random_state=5, criterion="poisson", max_features=0.5), NUMBERS),
        (ExtraTreesRegressor(random_state=6, criterion="absolute_error"), NUMBERS),
        (RandomForestClassifier(random_state=7, n_jobs=2), TWO),
    ],
    ids=shown,
)
def test_the_first_trees_of_a_forest_are_the_smaller_forest(forest: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(forest, SIZES, X, y, X_test)


@pytest.mark.slow
def test_sparse_rows_missing_values_and_weights_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    forest = RandomForestClassifier(random_state=0)
    assert_nested_fits_are_plain_fits(forest, SIZES, sparse.csr_matrix(X), y, sparse.csr_matrix(X_test))
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(forest, SIZES, X, y, X_test, fit_params=weights)
    holes = np.where(X > 14, np.nan, X)
    assert_nested_fits_are_plain_fits(forest, SIZES, holes, y, X_test)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forest", "data"),
    [
        (RandomForestClassifier(random_state=0), CLASSES),
        (RandomForestClassifier(random_state=1, max_samples=0.5, class_weight="balanced_subsample"), CLASSES),
        (RandomForestClassifier(random_state=7, monotonic_cst=[1] * 10 + [-1] * 10), TWO),
        (ExtraTreesClassifier(random_state=3, bootstrap=True, min_samples_leaf=3), CLASSES),
        (RandomForestRegressor(random_state=4, max_depth=6), NUMBERS),
        (ExtraTreesRegressor(random_state=6, max_features=0.5), NUMBERS),
    ],
    ids=shown,
)
def test_a_forest_of_smaller_trees_is_the_forest_of_larger_ones_cut(forest: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, train_size=75, random_state=0)
    assert_nested_fits_are_plain_fits(forest, SHAPES, X, y, X_test)
    sparsely, test_sparsely = sparse.csr_matrix(X), sparse.csr_matrix(X_test)
    holes = np.where(np.quantile(X, 0.9) < X, np.nan, X)
    if forest.monotonic_cst is None:
        assert_nested_fits_are_plain_fits(forest, SHAPES[:4], sparsely, y, test_sparsely)
    if forest.monotonic_cst is None or SKLEARN >= (1, 9):
        assert_nested_fits_are_plain_fits(forest, SHAPES[2:8], holes, y, X_test)
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(forest, SHAPES[3:9], X, y, X_test, fit_params=weights)


def test_no_tree_is_grown_larger_than_is_worth_it() -> None:
    def grown(*shapes: tuple[int, int | None]) -> list[tuple[int, int | None]]:
        forests = [RandomForestClassifier(n_estimators=size, max_leaf_nodes=leaves) for size, leaves in shapes]
        stands = _stands(forests)
        assert sorted(map(id, forests)) == sorted(id(each) for stand in stands for each in stand.estimators)
        return [(stand.trees, stand.leaves) for stand in stands]

    assert grown((10, 4), (100, 16), (50, 16), (100, 8)) == [(100, 16)]
    assert grown((10, None), (100, None), (20, 8)) == [(100, None), (20, 8)]
    # 500 small trees and 10 large ones are far cheaper than 500 large ones
    assert grown((500, 4), (10, 1_000)) == [(10, 1_000), (500, 4)]
    assert grown((110, 900), (100, 1_000)) == [(110, 1_000)]


def test_what_looks_at_all_trees_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, RandomForestClassifier())
    X, y = CLASSES
    assert not rule.applies(RandomForestClassifier(oob_score=True), X, y)
    assert not rule.applies(RandomForestClassifier(warm_start=True), X, y)
    assert not rule.applies(RandomForestClassifier(), X, np.column_stack([y, y]))
    for size in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(RandomForestClassifier(n_estimators=size))
    assert not rule.accepts(RandomForestClassifier(max_leaf_nodes=1))
    assert not rule.accepts(RandomForestClassifier(ccp_alpha=-1.0))
