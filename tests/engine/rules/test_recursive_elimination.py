"""The proof of FeaturesInTheirOrder."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import assert_nested_transforms_are_plain, rule_of, shown
from tuningjob.engine.rules import NestedTransform

CANCER = load_breast_cancer(return_X_y=True)
LEFT: list[dict[str, Any]] = [
    {"n_features_to_select": left} for left in (12, 3, 30, None, 0.5, 7, np.int64(1), 29, 0.05, 1.0)
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "selector",
    [
        RFE(DecisionTreeClassifier(random_state=0)),
        RFE(RandomForestClassifier(3, random_state=0), step=4),
        RFE(LogisticRegression(max_iter=20), step=0.1),
        RFE(SVC(kernel="linear", C=0.1), step=7),  # of sparse rows its coefficients are sparse
        RFE(Lasso(0.01), step=1),
        RFE(
            Pipeline([("tree", DecisionTreeClassifier(random_state=0))]),
            importance_getter="named_steps.tree.feature_importances_",
            step=100,
        ),
    ],
    ids=shown,
)
def test_each_round_is_gone_through_once(selector: Any) -> None:
    X, y = CANCER[0][::4], CANCER[1][::4]
    X, X_test, y, _ = train_test_split(X / X.max(axis=0), y, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert_nested_transforms_are_plain(selector, LEFT, X, y, X_test)
        few = LEFT[1:4]  # nearly to the end, no round at all, and half
        assert_nested_transforms_are_plain(selector, few, sparse.csr_matrix(X), y, sparse.csr_matrix(X_test))
        assert_nested_transforms_are_plain(
            selector, few, pd.DataFrame(X).add_prefix("f"), y, pd.DataFrame(X_test).add_prefix("f")
        )


@pytest.mark.parametrize("step", [1, 3, 4, 0.25, 50])
def test_what_is_derived_has_what_a_fit_of_its_own_has(step: float) -> None:
    X, y = load_diabetes(return_X_y=True)
    rule = rule_of(NestedTransform, RFE(None))
    common = rule.fit(RFE(DecisionTreeRegressor(max_depth=4, random_state=0), step=step), X, y)
    for left in (9, 2, 5, 10, 1, None):
        selector = RFE(DecisionTreeRegressor(max_depth=4, random_state=0), step=step, n_features_to_select=left)
        made, plain = rule.derive(common, clone(selector), X)[1], clone(selector).fit(X, y)
        for name in ("support_", "ranking_", "n_features_", "n_features_in_"):
            assert_same_bits(getattr(made, name), getattr(plain, name), f"{name} {left}")
        assert_same_bits(made.predict(X), plain.predict(X), str(left))
        assert vars(made).keys() == vars(plain).keys()
        assert made.get_params(deep=False).keys() == selector.get_params(deep=False).keys()


def test_what_is_left_to_a_fit_of_its_own() -> None:
    X, _ = load_iris(return_X_y=True)
    rule = rule_of(NestedTransform, RFE(None))
    assert rule.applies(RFE(LinearRegression(), n_features_to_select=4), X)
    others: list[dict[str, Any]] = [
        {"n_features_to_select": 5},  # which warns
        {"n_features_to_select": 0},
        {"n_features_to_select": 0.1},  # of four features none
        {"n_features_to_select": True},
        {"n_features_to_select": 1.5},
        {"n_features_to_select": "2"},
        {"step": 0},
        {"step": 2.5},
        {"step": "1"},
        {"verbose": 1},
        {"importance_getter": lambda model: model.coef_},
    ]
    for other in others:
        assert not rule.applies(RFE(LinearRegression(), **other), X), other
    assert not rule.applies(RFE(LinearRegression()), X.tolist())


@pytest.mark.slow
def test_a_search_over_how_many_are_left_is_scikit_learns() -> None:
    pipeline = Pipeline([("select", RFE(RandomForestClassifier(5, random_state=0))), ("model", GaussianNB())])
    grid = {"select__n_features_to_select": [2, 3, 1, None, 4, 9], "select__step": [1, 2]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found self.n_features_to_select|Found n_features_to_select", UserWarning)
        ours = assert_same_search(pipeline, grid, *load_iris(return_X_y=True), cv=3)
    rule_of(NestedTransform, RFE(None))  # not in force everywhere: then it shares nothing
    assert ours.guard.trips == 0
    assert ours.guard.groups > 0
