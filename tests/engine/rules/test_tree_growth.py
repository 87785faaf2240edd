"""The proof of TreeGrowth."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tests.engine.rules.proof import assert_predicts, assert_same_predictions, examples, predictions, rule_of, shown
from tests.engine.versions import SKLEARN
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.group import Fitted, Fitter, Member
from tuningjob.engine.rules import Inert

CLASSES = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
NUMBERS = make_regression(200, 6, noise=20, random_state=2)
FIVE = {"n_estimators": 5}
# before 1.9 the second is another way to grow
OF_BOOSTING = [{"criterion": "squared_error"}, {"criterion": "friedman_mse"}][: 2 if SKLEARN >= (1, 9) else 1]


def normal(estimator: Any) -> Any:
    return of_estimator(estimator, instead=rule_of(Inert, estimator).normal_form(estimator))


def assert_one_fit(
    estimator: Any, variants: list[dict[str, Any]], X: Any, y: Any, X_test: Any, **fit_params: Any
) -> None:
    """All variants have one normal form, and are fitted to what the first predicts."""
    estimators = [clone(estimator).set_params(**variant) for variant in variants]
    assert len(set(map(normal, estimators))) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The parameter `criterion` is deprecated", FutureWarning)
        fitted = [each.fit(X, y, **fit_params) for each in estimators]
    for rows in (X_test, X):
        wanted = predictions(fitted[0], rows)
        for other in fitted[1:]:
            assert_predicts(other, rows, wanted)


SPLITS = [{"min_samples_split": rows} for rows in (10, 2, 5, 9, np.int64(3))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "variants"),
    [
        (DecisionTreeClassifier(random_state=0, min_samples_leaf=5), SPLITS),
        (DecisionTreeClassifier(random_state=0), [{"criterion": "entropy"}, {"criterion": "log_loss"}]),
        (DecisionTreeClassifier(random_state=1, min_samples_leaf=5, max_leaf_nodes=9, max_features=2), SPLITS),
        (DecisionTreeRegressor(random_state=2, min_samples_leaf=5, splitter="random"), SPLITS),
        (DecisionTreeRegressor(random_state=2, min_samples_leaf=5, monotonic_cst=[1, 0, 0, -1, 0, 0]), SPLITS),
        (ExtraTreeClassifier(random_state=3, min_samples_leaf=5, criterion="log_loss"), SPLITS),
        (ExtraTreeRegressor(random_state=3, min_samples_leaf=5, criterion="absolute_error"), SPLITS),
        (RandomForestClassifier(random_state=4, min_samples_leaf=5, **FIVE), [*SPLITS, {"min_samples_split": 10}]),
        (RandomForestClassifier(random_state=4, **FIVE), [{"criterion": "entropy"}, {"criterion": "log_loss"}]),
        (ExtraTreesClassifier(random_state=5, **FIVE), [{"criterion": "entropy"}, {"criterion": "log_loss"}]),
        (RandomForestRegressor(random_state=6, min_samples_leaf=5, max_leaf_nodes=7, **FIVE), SPLITS),
        (ExtraTreesRegressor(random_state=7, min_samples_leaf=5, bootstrap=True, **FIVE), SPLITS),
        (GradientBoostingClassifier(random_state=8, min_samples_leaf=5, **FIVE), SPLITS),
        (
            GradientBoostingClassifier(random_state=8, **FIVE),
            OF_BOOSTING,
        ),
        (GradientBoostingRegressor(random_state=9, min_samples_leaf=5, subsample=0.5, **FIVE), SPLITS),
        (
            GradientBoostingRegressor(random_state=9, **FIVE),
            OF_BOOSTING,
        ),
    ],
    ids=shown,
)
def test_other_words_for_the_same_grow_the_same_trees(estimator: Any, variants: list[dict[str, Any]]) -> None:
    X, X_test, y, _ = train_test_split(*(CLASSES if is_classifier(estimator) else NUMBERS), random_state=0)
    assert_one_fit(estimator, variants, X, y, X_test)
    assert_one_fit(estimator, variants, X, y, X_test, sample_weight=np.linspace(0.1, 2, len(y)))
    if type(estimator) in {DecisionTreeClassifier, RandomForestClassifier}:
        assert_one_fit(estimator, variants, np.where(X > 1, np.nan, X), y, X_test)


@pytest.mark.slow
@examples(10)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(
        st.sampled_from(
            [DecisionTreeClassifier, RandomForestClassifier, ExtraTreesRegressor, GradientBoostingRegressor]
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    leaf = draw(st.integers(1, 8))
    estimator = kind(
        random_state=draw(st.integers(0, 9)),
        min_samples_leaf=leaf,
        min_weight_fraction_leaf=draw(st.sampled_from([0.0, 0.1])),
        max_leaf_nodes=draw(st.sampled_from([None, 5])),
        max_features=draw(st.sampled_from([None, 1])),
        ccp_alpha=draw(st.sampled_from([0.0, 0.01])),
    )
    if hasattr(estimator, "n_estimators"):
        estimator.set_params(n_estimators=4)
    splits = draw(st.lists(st.integers(2, max(2, 2 * leaf)), min_size=1, max_size=3))
    assert_one_fit(estimator, [{"min_samples_split": split} for split in (*splits, 2 * leaf)], X[:45], y[:45], X[45:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"criterion": "gini"}, {"criterion": "entropy"}),
        ({"min_samples_split": 11}, {"min_samples_split": 2}),
        # fractions depend on the number of rows, and what is no valid value must not stand for one
        ({"min_samples_split": 0.1}, {"min_samples_split": 10}),
        ({"min_samples_split": 10.0}, {"min_samples_split": 10}),
        ({"min_samples_split": 1}, {"min_samples_split": 10}),
        ({"min_samples_split": True}, {"min_samples_split": 10}),
        ({"min_samples_split": None}, {"min_samples_split": 10}),
        ({"min_samples_leaf": 0.1}, {"min_samples_leaf": 0.1, "min_samples_split": 3}),
        ({"min_samples_leaf": True}, {"min_samples_leaf": True, "min_samples_split": 3}),
        ({"min_samples_leaf": 0}, {"min_samples_leaf": 0, "min_samples_split": 3}),
        ({"max_features": "sqrt"}, {"max_features": 2}),
    ],
)
def test_what_is_not_the_same_stays_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for kind in (DecisionTreeClassifier, RandomForestClassifier, GradientBoostingClassifier):
        tree = kind(random_state=0, min_samples_leaf=5)
        assert normal(clone(tree).set_params(**one)) != normal(clone(tree).set_params(**other))


def test_names_of_criteria_mean_what_the_class_means_by_them() -> None:
    for kind, one, other in (
        (DecisionTreeRegressor, "friedman_mse", "squared_error"),  # not a valid one
        (GradientBoostingRegressor, "deprecated", "squared_error"),  # the same trees, but the one warns
        (GradientBoostingClassifier, "log_loss", "entropy"),
    ):
        assert normal(kind().set_params(criterion=one)) != normal(kind().set_params(criterion=other))


@pytest.mark.slow
def test_a_family_of_them_is_one_forest() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    settings_ = [
        {"criterion": criterion, "min_samples_split": split, "n_estimators": size}
        for criterion in ("entropy", "log_loss")
        for split in (2, 5)
        for size in (3, 6)
    ]
    forest = RandomForestClassifier(random_state=0, min_samples_leaf=3)
    members = [Member(at, clone(forest).set_params(**each)) for at, each in enumerate(settings_)]
    steps = [step for step in Fitter().fit(members, X, y) if isinstance(step, Fitted)]
    assert sorted(step.position for step in steps) == list(range(len(members)))
    assert len({step.like for step in steps}) == 2
    assert len({id(step.estimator.estimators_[0]) for step in steps}) == 1
    for step in steps:
        plain = clone(forest).set_params(**settings_[step.position]).fit(X, y)
        assert step.estimator.get_params() == plain.get_params()
        assert_same_predictions(step.estimator, plain, X_test)
