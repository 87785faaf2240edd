"""The proof of FeaturesOfAModel."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import assert_nested_transforms_are_plain, rule_of, shown
from tuningjob.engine.rules import NestedTransform

CANCER = load_breast_cancer(return_X_y=True)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"threshold": "mean"},
    {"threshold": "1.25*median", "max_features": 5},
    {"threshold": 0.02},
    {"threshold": -np.inf, "max_features": 7},
    {"threshold": None, "max_features": 0},
    {"threshold": 1e9},
    {"max_features": 400},
    {"threshold": 0, "max_features": np.int64(3)},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "selector",
    [
        SelectFromModel(RandomForestClassifier(5, random_state=0)),
        SelectFromModel(ExtraTreesClassifier(5, random_state=0), norm_order=2),
        SelectFromModel(Lasso(0.01)),
        SelectFromModel(LogisticRegression(solver="liblinear", l1_ratio=1, C=0.1, random_state=0)),
        SelectFromModel(
            Pipeline([("forest", RandomForestClassifier(5, random_state=0))]),
            importance_getter="named_steps.forest.feature_importances_",
        ),
    ],
    ids=shown,
)
def test_the_model_is_fitted_once(selector: Any) -> None:
    X, X_test, y, _ = train_test_split(*CANCER, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No features were selected", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert_nested_transforms_are_plain(selector, VARIANTS, X, y, X_test)
        rows, rows_test = sparse.csr_matrix(X), sparse.csr_matrix(X_test)
        assert_nested_transforms_are_plain(selector, VARIANTS, rows, y, rows_test)


@pytest.mark.slow
def test_what_is_left_to_a_fit_of_its_own() -> None:
    X, y = load_iris(return_X_y=True)
    rule, forest = rule_of(NestedTransform, SelectFromModel(None)), RandomForestClassifier(random_state=0)
    assert rule.applies(SelectFromModel(forest), X)
    others: list[dict[str, Any]] = [
        {"prefit": True},
        {"prefit": 0},
        {"max_features": -1},
        {"max_features": 2.0},
        {"max_features": True},
        {"max_features": len},
        {"threshold": ["mean"]},
        {"importance_getter": lambda model: model.feature_importances_},
    ]
    for other in others:
        assert not rule.applies(SelectFromModel(forest, **other), X), other
    common = rule.fit(SelectFromModel(forest, max_features=2), X, y)
    assert not hasattr(rule.derive(common, SelectFromModel(forest), X)[1], "max_features_")
    assert rule.derive(common, SelectFromModel(forest, max_features=3), X)[1].max_features_ == 3


@pytest.mark.slow
def test_a_search_over_thresholds_is_scikit_learns() -> None:
    pipeline = Pipeline(
        [("select", SelectFromModel(RandomForestClassifier(5, random_state=0))), ("model", GaussianNB())]
    )
    grid = {"select__threshold": ["mean", "median", "other"], "select__max_features": [2, None]}
    ours = assert_same_search(pipeline, grid, *load_iris(return_X_y=True), cv=3)
    rule_of(NestedTransform, SelectFromModel(None))  # not in force everywhere: then it shares nothing
    assert ours.guard.trips == 0
    assert ours.guard.groups > 0
