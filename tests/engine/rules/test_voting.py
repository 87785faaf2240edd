"""The proof of Votes."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeClassifier

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of
from tuningjob.engine.rules import NestedFit

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
CLASSIFIERS = [
    ("linear", make_pipeline(MaxAbsScaler(), LogisticRegression())),
    ("tree", DecisionTreeClassifier(max_depth=2, random_state=0)),
    ("forest", RandomForestClassifier(4, random_state=0)),
]
REGRESSORS = [("ridge", Ridge()), ("machine", SVR()), ("forest", RandomForestRegressor(4, random_state=0))]
WEIGHTS: list[Any] = [None, [1, 2, 1], [0.3, 0, 2.5], (1.0, 1.0, 1.0), np.array([5, 1, 1]), [0.1, 0.2, 0.7]]


@pytest.mark.slow
def test_members_are_fitted_once() -> None:
    X, X_test, y, _ = train_test_split(*IRIS, random_state=0)
    variants = [
        {"weights": weights, "voting": voting, "flatten_transform": flat}
        for weights in WEIGHTS
        for voting, flat in (("hard", True), ("soft", True), ("soft", False))
    ]
    few = [*variants[:3], *variants[6:9]]  # no weights, and some of which one is zero
    vote = VotingClassifier(CLASSIFIERS)
    pairs = assert_nested_fits_are_plain_fits(vote, variants, X, y, X_test)
    assert_nested_fits_are_plain_fits(vote, few, sparse.csr_matrix(X), y, sparse.csr_matrix(X_test))
    named = np.array(["a", "b", "c"])[y]
    assert_nested_fits_are_plain_fits(vote, few, X, named, X_test)
    unweighted = VotingClassifier([CLASSIFIERS[1], CLASSIFIERS[2], ("bayes", GaussianNB())])
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(unweighted, few, X, y, X_test, fit_params=weights)
    without = clone(vote).set_params(tree="drop")
    assert_nested_fits_are_plain_fits(without, few, X, y, X_test)
    for shared, plain in pairs:
        assert_same_bits(shared.transform(X_test), plain.transform(X_test))


@pytest.mark.slow
def test_members_of_a_regression_are_fitted_once() -> None:
    X, X_test, y, _ = train_test_split(*DIABETES, random_state=0)
    vote, variants = VotingRegressor(REGRESSORS), [{"weights": weights} for weights in WEIGHTS]
    assert_nested_fits_are_plain_fits(vote, variants, X, y, X_test)
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(vote, variants, X, y, X_test, fit_params=weights)


def test_what_is_left_to_a_fit_of_its_own() -> None:
    vote = VotingClassifier(CLASSIFIERS)
    rule = rule_of(NestedFit, vote)
    assert not rule.applies(vote, IRIS[0], np.column_stack([IRIS[1]] * 2))
    assert rule.accepts(vote)
    others: list[dict[str, Any]] = [
        {"weights": [1, 2]},
        {"weights": [1, 2, None]},
        {"weights": [1, 2, float("nan")]},
        {"weights": "abc"},
        {"weights": 3},
        {"weights": [[1, 2, 3]]},
        {"voting": "other"},
        {"voting": None},
        {"flatten_transform": 1},
    ]
    for other in others:
        assert not rule.accepts(clone(vote).set_params(**other)), other


@pytest.mark.slow
def test_a_search_over_weights_is_scikit_learns() -> None:
    grid = {"weights": [None, [1, 2, 1], [1, 2], [3, 1, 1]], "voting": ["hard", "soft"], "tree__max_depth": [1, 2]}
    ours = assert_same_search(
        VotingClassifier(CLASSIFIERS), grid, *IRIS, cv=3, scoring=["accuracy", "f1_macro"], refit="accuracy"
    )
    rule_of(NestedFit, VotingClassifier(CLASSIFIERS))  # not in force everywhere: then it shares nothing
    assert (ours.guard.groups, ours.guard.trips) == (2, 0)
