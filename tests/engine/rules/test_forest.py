"""The proof of ForestTrees."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of, shown
from tuningjob.engine.rules import NestedFit

SIZES = [{"n_estimators": size} for size in (1, 3, 10, 17)]
CLASSES = load_digits(return_X_y=True)
NUMBERS = load_diabetes(return_X_y=True)


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
        (RandomForestClassifier(random_state=7, n_jobs=2), make_classification(random_state=0)),
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


def test_what_looks_at_all_trees_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, RandomForestClassifier())
    X, y = CLASSES
    assert not rule.applies(RandomForestClassifier(oob_score=True), X, y)
    assert not rule.applies(RandomForestClassifier(warm_start=True), X, y)
    assert not rule.applies(RandomForestClassifier(), X, np.column_stack([y, y]))
    for size in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(RandomForestClassifier(n_estimators=size))
