"""The proof of HistogramIterations."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, examples, rule_of, shown
from tuningjob.engine.rules import NestedFit

LIMITS = [{"max_iter": limit} for limit in (4, 1, 13, 7)]
ATTRIBUTES = ("n_iter_", "train_score_", "validation_score_")
CLASSES = make_classification(250, 6, n_informative=4, n_classes=3, random_state=0)
TWO_CLASSES = make_classification(250, 6, random_state=1)
NUMBERS = make_regression(250, 6, noise=20, random_state=2)
COUNTS = (NUMBERS[0], np.floor(np.abs(NUMBERS[1]) / 10) + 1)
SMALL = {"min_samples_leaf": 5, "max_leaf_nodes": 6}
# it stops by itself before the largest limits, and after the smallest
EARLY = {"early_stopping": True, "n_iter_no_change": 2, "learning_rate": 0.3, **SMALL}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("boosting", "data"),
    [
        (HistGradientBoostingClassifier(random_state=0, **SMALL), CLASSES),
        (HistGradientBoostingClassifier(random_state=1, max_features=0.5, class_weight="balanced"), TWO_CLASSES),
        (HistGradientBoostingClassifier(random_state=2, **EARLY), CLASSES),
        (HistGradientBoostingClassifier(random_state=3, scoring="accuracy", **EARLY), TWO_CLASSES),
        (HistGradientBoostingClassifier(random_state=3, scoring=None, **EARLY), TWO_CLASSES),
        (HistGradientBoostingClassifier(random_state=4, validation_fraction=None, **EARLY), TWO_CLASSES),
        (HistGradientBoostingRegressor(random_state=5, max_depth=3, l2_regularization=1.0), NUMBERS),
        (HistGradientBoostingRegressor(random_state=6, loss="absolute_error", max_bins=16), NUMBERS),
        (HistGradientBoostingRegressor(random_state=7, loss="quantile", quantile=0.3, max_features=0.5), NUMBERS),
        (HistGradientBoostingRegressor(random_state=8, loss="poisson", interaction_cst="pairwise"), COUNTS),
        (HistGradientBoostingRegressor(random_state=9, loss="gamma", monotonic_cst=[1, -1, 0, 0, 0, 0]), COUNTS),
        (HistGradientBoostingRegressor(random_state=10, **EARLY), NUMBERS),
    ],
    ids=shown,
)
def test_the_first_iterations_are_the_smaller_boosting(boosting: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(boosting, LIMITS, X, y, X_test, attributes=ATTRIBUTES)


def test_boosting_that_stops_early_is_among_the_proved() -> None:
    X, _, y, _ = train_test_split(*CLASSES, random_state=0)
    iterations = HistGradientBoostingClassifier(random_state=2, max_iter=13, **EARLY).fit(X, y).n_iter_
    assert 4 < iterations < 13


@pytest.mark.slow
def test_weights_missing_values_categories_and_validation_rows_are_served_too() -> None:
    X, X_test, y, y_test = train_test_split(*CLASSES, random_state=0)
    weights = np.linspace(0.1, 2, len(y))
    boosting = HistGradientBoostingClassifier(random_state=0, **SMALL)
    holes, test_holes = (np.where(rows > 1, np.nan, rows) for rows in (X, X_test))
    for rows, test_rows, params in (
        (X, X_test, {"sample_weight": weights}),
        (holes, test_holes, {}),
        (holes.astype(np.float32), test_holes.astype(np.float32), {}),
    ):
        assert_nested_fits_are_plain_fits(boosting, LIMITS, rows, y, test_rows, fit_params=params)
    frame, test_frame = (
        pd.DataFrame(rows, columns=list("abcdef")).assign(a=lambda table: pd.cut(table["a"], 3, labels=["x", "y", "z"]))
        for rows in (X, X_test)
    )
    assert_nested_fits_are_plain_fits(boosting, LIMITS, frame, np.array(["no", "maybe", "yes"])[y], test_frame)
    stopping = HistGradientBoostingClassifier(random_state=0, **EARLY)
    validation = {"X_val": X_test, "y_val": y_test, "sample_weight": weights, "sample_weight_val": np.ones(len(y_test))}
    assert_nested_fits_are_plain_fits(stopping, LIMITS, X, y, X_test, fit_params=validation, attributes=ATTRIBUTES)


@pytest.mark.slow
@examples(10)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from([HistGradientBoostingClassifier, HistGradientBoostingRegressor]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    boosting = kind(
        random_state=draw(st.integers(0, 9)),
        learning_rate=draw(st.sampled_from([0.05, 0.3, 1.0])),
        max_leaf_nodes=draw(st.sampled_from([None, 2, 5])),
        max_depth=draw(st.sampled_from([None, 1, 3])),
        min_samples_leaf=draw(st.integers(1, 20)),
        max_features=draw(st.sampled_from([0.4, 1.0])),
        early_stopping=draw(st.booleans()),
        n_iter_no_change=draw(st.integers(1, 4)),
        validation_fraction=draw(st.sampled_from([None, 0.2])),
        tol=draw(st.sampled_from([0.0, 0.1])),
    )
    limits = draw(st.lists(st.integers(1, 8), min_size=2, max_size=4, unique=True))
    variants = [{"max_iter": limit} for limit in limits]
    assert_nested_fits_are_plain_fits(boosting, variants, X[:45], y[:45], X[45:], attributes=ATTRIBUTES)


def test_what_might_look_at_the_limit_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, HistGradientBoostingClassifier())
    assert not rule.applies(HistGradientBoostingClassifier(warm_start=True), *CLASSES)
    assert not rule.applies(HistGradientBoostingClassifier(scoring=lambda boosting, *_: -boosting.max_iter), *CLASSES)
    for limit in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(HistGradientBoostingClassifier(max_iter=limit))
