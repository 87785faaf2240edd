"""The proof of FinalEstimators."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of, shown
from tuningjob.engine.rules import NestedFit

IRIS = load_iris(return_X_y=True)
TWO = (IRIS[0][:100], np.array(["no", "yes"])[IRIS[1][:100]])
DIABETES = tuple(part[:200] for part in load_diabetes(return_X_y=True))
CLASSIFIERS = [
    ("tree", DecisionTreeClassifier(max_depth=2, random_state=0)),
    ("near", KNeighborsClassifier(3)),
    ("forest", RandomForestClassifier(4, random_state=0)),
]
REGRESSORS = [("tree", DecisionTreeRegressor(max_depth=2, random_state=0)), ("near", KNeighborsRegressor(3))]
FINAL: list[dict[str, Any]] = [
    {"final_estimator": LogisticRegression(C=0.1)},
    {"final_estimator": LogisticRegression(C=10)},
    {"final_estimator": SVC()},
    {"final_estimator": RandomForestClassifier(3, random_state=1)},
]
NUMBERS: list[dict[str, Any]] = [
    {"final_estimator": Ridge(0.1)},
    {"final_estimator": Ridge(10)},
    {"final_estimator": DecisionTreeRegressor(max_depth=3, random_state=0)},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "variants", "data"),
    [
        (StackingClassifier(CLASSIFIERS, cv=3), FINAL, IRIS),
        (StackingClassifier(CLASSIFIERS, cv=2, passthrough=True), FINAL, TWO),
        (StackingClassifier(CLASSIFIERS, cv=2, stack_method="predict"), FINAL, IRIS),
        (StackingClassifier([*CLASSIFIERS, ("none", "drop")]), FINAL[:2], TWO),
        (StackingRegressor(REGRESSORS, cv=3), NUMBERS, DIABETES),
        (StackingRegressor(REGRESSORS, passthrough=True), NUMBERS, DIABETES),
    ],
    ids=shown,
)
def test_the_first_layer_is_fitted_once(stack: Any, variants: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    first = clone(stack).set_params(**variants[0])
    pairs = assert_nested_fits_are_plain_fits(first, variants, X, y, X_test)
    rows, rows_test = sparse.csr_matrix(X), sparse.csr_matrix(X_test)
    assert_nested_fits_are_plain_fits(first, variants[:2], rows, y, rows_test)
    for shared, plain in pairs:
        assert_same_bits(shared.transform(X_test), plain.transform(X_test))


@pytest.mark.slow
def test_weights_go_to_both_layers() -> None:
    X, X_test, y, _ = train_test_split(*IRIS, random_state=0)
    stack = StackingClassifier(CLASSIFIERS[::2], LogisticRegression(), cv=3)
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(stack, FINAL, X, y, X_test, fit_params=weights)


def test_what_is_left_to_a_fit_of_its_own() -> None:
    stack = StackingClassifier(CLASSIFIERS, LogisticRegression())
    rule = rule_of(NestedFit, stack)
    assert rule.applies(stack, *IRIS)
    assert not rule.applies(clone(stack).set_params(cv="prefit"), *IRIS)
    assert not rule.applies(stack, IRIS[0], np.column_stack([IRIS[1]] * 2))
    assert rule.accepts(stack)
    for final in (None, Ridge(), "other"):
        assert not rule.accepts(clone(stack).set_params(final_estimator=final)), final


@pytest.mark.slow
def test_a_search_over_final_estimators_is_scikit_learns() -> None:
    grid = [
        {"final_estimator__C": [0.1, 1.0, 10.0, -1.0], "tree__max_depth": [1, 2]},
        {"final_estimator": [SVC(random_state=0), RandomForestClassifier(3, random_state=0)]},
    ]
    stack = StackingClassifier(CLASSIFIERS, LogisticRegression(), cv=2)
    ours = assert_same_search(stack, grid, *IRIS, cv=2)
    rule_of(NestedFit, stack)  # not in force everywhere: then it shares nothing
    assert ours.guard.trips == 0
    assert ours.guard.groups > 0
