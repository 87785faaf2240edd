"""The proof of TreeDepth."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_predicts, assert_same_predictions, examples, predictions, rule_of, shown
from tuningjob.engine.group import Fitted, Fitter, Member
from tuningjob.engine.rules import Ceiling, NestedFit

CLASSES = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
TIES = (np.round(CLASSES[0]), CLASSES[1])
DIGITS = tuple(part[:300] for part in load_digits(return_X_y=True))
NUMBERS = make_regression(200, 6, noise=20, random_state=2)
FOUR = {"n_estimators": 4}
RULE = rule_of(Ceiling, DecisionTreeClassifier())


def assert_no_limit_above(estimator: Any, X: Any, y: Any, X_test: Any, **fit_params: Any) -> None:
    """Whatever is above the depth that is reached without a limit is no limit; and so the other way round."""
    free = clone(estimator).set_params(max_depth=None).fit(X, y, **fit_params)
    depth = RULE.reached(free)
    assert math.isfinite(depth)
    wanted = [(rows, predictions(free, rows)) for rows in (X_test, X)]
    for more in (1, 10):
        limited = clone(estimator).set_params(max_depth=int(depth) + more).fit(X, y, **fit_params)
        assert RULE.reached(limited) == depth
        for rows, answers in wanted:
            assert_predicts(limited, rows, answers, f"max_depth={depth}+{more}")
    lower = range(int(depth) // 2)
    for less in {*lower[:1], *lower[-1:]}:
        # it cannot be told from there: what was reached is the limit, and no lower one is above it
        limited = clone(estimator).set_params(max_depth=int(depth) - less).fit(X, y, **fit_params)
        assert RULE.reached(limited) >= depth - less


@pytest.mark.alike
@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (DecisionTreeClassifier(random_state=0), DIGITS),
        (DecisionTreeClassifier(random_state=1, max_features="sqrt", splitter="random", min_samples_leaf=3), DIGITS),
        (DecisionTreeClassifier(random_state=2, max_leaf_nodes=15, max_features=2), TIES),
        (DecisionTreeClassifier(random_state=3, min_impurity_decrease=0.01, class_weight="balanced"), CLASSES),
        (DecisionTreeRegressor(random_state=4, max_features=2, min_samples_split=0.1), NUMBERS),
        (DecisionTreeRegressor(random_state=5, monotonic_cst=[1, 0, 0, -1, 0, 0], max_leaf_nodes=9), NUMBERS),
        (ExtraTreeClassifier(random_state=6), TIES),
        (ExtraTreeRegressor(random_state=7, max_leaf_nodes=30), NUMBERS),
        (RandomForestClassifier(random_state=8, **FOUR), DIGITS),
        (RandomForestClassifier(random_state=9, max_leaf_nodes=12, bootstrap=False, **FOUR), TIES),
        (RandomForestRegressor(random_state=10, max_features=0.4, min_samples_leaf=2, **FOUR), NUMBERS),
        (ExtraTreesClassifier(random_state=11, min_weight_fraction_leaf=0.02, **FOUR), CLASSES),
        (ExtraTreesRegressor(random_state=12, bootstrap=True, max_samples=0.5, **FOUR), NUMBERS),
        (GradientBoostingClassifier(random_state=13, max_features=2, min_samples_leaf=5, **FOUR), TIES),
        (
            GradientBoostingRegressor(random_state=14, subsample=0.7, max_leaf_nodes=8, n_iter_no_change=2, **FOUR),
            NUMBERS,
        ),
        (HistGradientBoostingClassifier(random_state=15, max_iter=4, max_features=0.5), CLASSES),
        (HistGradientBoostingRegressor(random_state=16, max_iter=4, max_leaf_nodes=None, min_samples_leaf=3), NUMBERS),
    ],
    ids=shown,
)
def test_a_limit_above_the_depth_reached_is_no_limit(estimator: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_no_limit_above(estimator, X, y, X_test)


@pytest.mark.slow
def test_weights_sparse_rows_missing_values_and_several_outputs_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    for forest in (
        RandomForestClassifier(random_state=0, **FOUR),
        DecisionTreeClassifier(random_state=0, max_features=2),
    ):
        assert_no_limit_above(forest, X, y, X_test, sample_weight=np.linspace(0.1, 2, len(y)))
        few, few_test = (sparse.csr_matrix(np.where(np.abs(rows) < 1, 0, rows)) for rows in (X, X_test))
        assert_no_limit_above(forest, few, y, few_test)
        assert_no_limit_above(forest, np.where(X > 1, np.nan, X), y, np.where(X_test > 1, np.nan, X_test))
        assert_no_limit_above(forest, X, np.column_stack([y, y % 2]), X_test)
        assert_no_limit_above(forest, X, np.zeros(len(y)), X_test)  # a root alone


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
    estimator = kind(
        random_state=draw(st.integers(0, 9)),
        min_samples_leaf=draw(st.sampled_from([1, 3, 0.1])),
        min_impurity_decrease=draw(st.sampled_from([0.0, 0.01])),
        max_leaf_nodes=draw(st.sampled_from([None, 2, 7])),
        max_features=draw(st.sampled_from([None, 1, 2])),
    )
    if hasattr(estimator, "n_estimators"):
        estimator.set_params(n_estimators=3)
    assert_no_limit_above(estimator, X[:45], y[:45], X[45:])


def test_a_limit_at_the_very_depth_may_be_one() -> None:
    """It spares the search for a split that is not found, and with it random numbers: why the height has to be above."""
    X, X_test, y, _ = train_test_split(*TIES, random_state=0)
    tree = DecisionTreeClassifier(max_features=1, min_samples_leaf=8)
    differ = 0
    for seed in range(10):
        free = clone(tree).set_params(random_state=seed).fit(X, y)
        at = clone(free).set_params(max_depth=free.get_depth()).fit(X, y)
        differ += at.predict_proba(X_test).tobytes() != free.predict_proba(X_test).tobytes()
        assert not RULE.height(free.get_depth()) > RULE.reached(free)  # type: ignore[operator]
    assert differ


@pytest.mark.slow
def test_a_pruned_tree_does_not_tell_how_deep_it_was() -> None:
    X, y = CLASSES
    for kind in (DecisionTreeClassifier, RandomForestClassifier, GradientBoostingClassifier):
        assert RULE.reached(kind(random_state=0, ccp_alpha=0.01).fit(X, y)) == math.inf
    trees = [DecisionTreeClassifier(random_state=0, ccp_alpha=alpha) for alpha in (0.0, 0.01)]
    whole, pruned = rule_of(NestedFit, trees[0]).fit(trees, X, y, {})
    assert RULE.reached(whole) == whole.get_depth() > pruned.get_depth()
    assert RULE.reached(pruned) == math.inf


def test_heights_are_whole_numbers_that_scikit_learn_takes() -> None:
    assert RULE.height(None) == math.inf
    assert [RULE.height(value) for value in (1, np.int64(7), 2**63 - 1)] == [1.0, 7.0, float(2**63 - 1)]
    assert [RULE.height(value) for value in (0, -1, 3.0, True, "3", 2**63)] == [None] * 6


# --- with the group that asks


def fitted_by_group(estimator: Any, variants: list[dict[str, Any]], X: Any, y: Any) -> dict[int, Fitted]:
    members = [Member(at, clone(estimator).set_params(**variant)) for at, variant in enumerate(variants)]
    steps = [step for step in Fitter().fit(members, X, y) if isinstance(step, Fitted)]
    assert sorted(step.position for step in steps) == list(range(len(variants)))
    return {step.position: step for step in steps}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("estimator", "axis", "most"),
    [
        (RandomForestClassifier(random_state=0, min_samples_leaf=4), {"n_estimators": (3, 8)}, 3),
        (ExtraTreesClassifier(random_state=0, max_leaf_nodes=12), {"n_estimators": (8, 3)}, 3),
        (GradientBoostingClassifier(random_state=0, max_leaf_nodes=6), {"n_estimators": (3, 8)}, 3),
        (HistGradientBoostingClassifier(random_state=0), {"max_iter": (3, 8)}, 3),
        (
            DecisionTreeClassifier(random_state=0, min_samples_leaf=4),
            {"ccp_alpha": (0.0,), "max_features": (None, 2)},
            6,
        ),
        # a pruned tree in the family hides the depth of all: no fewer than one for each limit, and right
        (DecisionTreeClassifier(random_state=0, min_samples_leaf=4), {"ccp_alpha": (0.0, 0.01)}, 7),
    ],
    ids=shown,
)
def test_a_family_of_limits_has_the_bits_of_plain_fits_by_fewer_fits(
    estimator: Any, axis: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    depths = [5, None, 2, 20, 30, np.int64(100), 60]
    variants: list[dict[str, Any]] = [{"max_depth": depth} for depth in depths]
    for name, values in axis.items():
        variants = [{**variant, name: value} for variant in variants for value in values]
    plain = [clone(estimator).set_params(**variant).fit(X, y) for variant in variants]
    fits: list[Any] = []
    fit = type(estimator).fit

    def recorded(self: Any, *args: Any, **params: Any) -> Any:
        fits.append(self)
        return fit(self, *args, **params)

    monkeypatch.setattr(type(estimator), "fit", recorded)
    steps = fitted_by_group(estimator, variants, X, y)
    assert 0 < len(fits) <= most < len(variants)
    for at, wanted in enumerate(plain):
        assert steps[at].estimator.get_params() == wanted.get_params()
        assert_same_predictions(steps[at].estimator, wanted, X_test, variants[at])
        # whom it is said to be like
        assert_same_bits(plain[steps[at].like].predict_proba(X_test), wanted.predict_proba(X_test))


def test_around_the_depth_that_is_reached_the_group_claims_what_is_above_alone() -> None:
    X, _, y, _ = train_test_split(*TIES, random_state=0)
    tree = DecisionTreeClassifier(random_state=0, max_features=1, min_samples_leaf=8)
    depth = clone(tree).fit(X, y).get_depth()
    steps = fitted_by_group(
        tree, [{"max_depth": limit} for limit in (None, depth + 2, depth + 1, depth, depth - 1)], X, y
    )
    assert [steps[at].like for at in range(5)] == [0, 0, 0, 3, 4]
