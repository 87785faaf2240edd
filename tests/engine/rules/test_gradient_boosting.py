"""The proof of BoostingStages."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.model_selection import train_test_split

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, examples, rule_of, shown
from tuningjob.engine.group import Fitted, Fitter, Member, NotFitted
from tuningjob.engine.rules import NestedFit

SIZES = [{"n_estimators": size} for size in (5, 1, 16, 9)]
ATTRIBUTES = ("n_estimators_", "train_score_", "oob_improvement_", "oob_scores_", "oob_score_", "feature_importances_")
CLASSES = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
TWO_CLASSES = make_classification(200, 6, random_state=1)
NUMBERS = make_regression(200, 6, noise=20, random_state=2)
# it stops by itself before the largest sizes, and after the smallest
EARLY = {"n_iter_no_change": 2, "learning_rate": 0.8, "validation_fraction": 0.2}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("boosting", "data"),
    [
        (GradientBoostingClassifier(random_state=0), CLASSES),
        (GradientBoostingClassifier(random_state=1, subsample=0.5, max_features=0.5), CLASSES),
        (GradientBoostingClassifier(random_state=2, loss="exponential", init="zero"), TWO_CLASSES),
        (GradientBoostingClassifier(random_state=3, subsample=0.7, **EARLY), CLASSES),
        (GradientBoostingClassifier(random_state=4, ccp_alpha=0.01, max_leaf_nodes=4, **EARLY), TWO_CLASSES),
        (GradientBoostingRegressor(random_state=5, max_features="sqrt"), NUMBERS),
        (GradientBoostingRegressor(random_state=6, loss="huber", alpha=0.8, subsample=0.6), NUMBERS),
        (GradientBoostingRegressor(random_state=7, loss="absolute_error", **EARLY), NUMBERS),
        (GradientBoostingRegressor(random_state=8, loss="quantile", alpha=0.2, subsample=0.9, **EARLY), NUMBERS),
        (GradientBoostingRegressor(random_state=9, init="zero", min_impurity_decrease=0.1), NUMBERS),
    ],
    ids=shown,
)
def test_the_first_stages_are_the_smaller_boosting(boosting: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, attributes=ATTRIBUTES)


def test_boosting_that_stops_early_is_among_the_proved() -> None:
    X, _, y, _ = train_test_split(*CLASSES, random_state=0)
    stages = GradientBoostingClassifier(random_state=3, subsample=0.7, n_estimators=16, **EARLY).fit(X, y).n_estimators_
    assert 1 < stages < 16


@pytest.mark.slow
def test_weights_and_sparse_rows_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    boosting = GradientBoostingClassifier(random_state=0, subsample=0.8)
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, fit_params=weights, attributes=ATTRIBUTES)
    few, few_test = (np.where(np.abs(rows) < 1, 0, rows) for rows in (X, X_test))
    for kind in (sparse.csr_array, sparse.csc_matrix):
        assert_nested_fits_are_plain_fits(
            boosting, SIZES, kind(few), np.array(["no", "maybe", "yes"])[y], kind(few_test)
        )


@pytest.mark.slow
@examples(10)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from([GradientBoostingClassifier, GradientBoostingRegressor]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    boosting = kind(
        random_state=draw(st.integers(0, 9)),
        learning_rate=draw(st.sampled_from([0.05, 0.3, 1.0])),
        subsample=draw(st.sampled_from([0.3, 0.8, 1.0])),
        max_depth=draw(st.sampled_from([None, 1, 3])),
        max_leaf_nodes=draw(st.sampled_from([None, 3])),
        max_features=draw(st.sampled_from([None, 1, "sqrt"])),
        ccp_alpha=draw(st.sampled_from([0.0, 0.01])),
        n_iter_no_change=draw(st.sampled_from([None, 1, 3])),
        tol=draw(st.sampled_from([0.0, 0.1])),
        init=draw(st.sampled_from([None, "zero"])),
    )
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4, unique=True))
    variants = [{"n_estimators": size} for size in sizes]
    assert_nested_fits_are_plain_fits(boosting, variants, X[:45], y[:45], X[45:], attributes=ATTRIBUTES)


def test_what_might_look_at_the_number_of_stages_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, GradientBoostingRegressor())
    assert not rule.applies(GradientBoostingRegressor(warm_start=True), *NUMBERS)
    assert not rule.applies(GradientBoostingRegressor(init=DummyRegressor()), *NUMBERS)
    for size in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(GradientBoostingRegressor(n_estimators=size))


def test_a_monitor_is_left_to_a_fit_of_its_own() -> None:
    members = [
        Member(at, GradientBoostingRegressor(random_state=0, n_estimators=size)) for at, size in enumerate((2, 3))
    ]

    def ends_before_the_last(stage: int, boosting: Any, _: Any) -> bool:
        return stage == boosting.n_estimators - 2

    monitored = Fitter({"monitor": ends_before_the_last})
    assert list(monitored.fit(members, *NUMBERS)) == [NotFitted(0), NotFitted(1)]
    weighted = Fitter({"sample_weight": np.ones(len(NUMBERS[1]))})
    assert all(isinstance(step, Fitted) for step in weighted.fit(members, *NUMBERS))
