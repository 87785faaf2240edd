"""The proof of BaggedEstimators."""

from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, examples, rule_of, shown
from tuningjob.engine.rules import NestedFit

SIZES = [{"n_estimators": size} for size in (3, 1, 8, 5)]
ATTRIBUTES = ("estimators_samples_", "estimators_features_")
CLASSES = make_classification(160, 6, n_informative=4, n_classes=3, random_state=0)
NUMBERS = make_regression(160, 6, noise=20, random_state=2)
TWO_NUMBERS = make_regression(160, 6, n_targets=2, noise=20, random_state=3)


@pytest.mark.alike
@pytest.mark.parametrize(
    ("bag", "data"),
    [
        (BaggingClassifier(random_state=0), CLASSES),
        (BaggingClassifier(random_state=1, max_samples=0.4, max_features=0.5), CLASSES),
        (BaggingClassifier(GaussianNB(), random_state=2, bootstrap=False, max_samples=0.7), CLASSES),
        (BaggingClassifier(KNeighborsClassifier(), random_state=3, bootstrap_features=True), CLASSES),
        (
            BaggingClassifier(KNeighborsClassifier(1), random_state=3, max_samples=2),
            CLASSES,
        ),  # classes are missing from bags
        (BaggingClassifier(SVC(), random_state=4), CLASSES),  # votes, and decisions
        (BaggingClassifier(RidgeClassifier(), random_state=4), make_classification(random_state=0)),
        (BaggingRegressor(random_state=5, max_samples=0.5), NUMBERS),
        (BaggingRegressor(DecisionTreeRegressor(max_depth=3), random_state=6, max_features=2), NUMBERS),
        (BaggingRegressor(KNeighborsRegressor(), random_state=7, bootstrap=False), NUMBERS),
        (BaggingRegressor(random_state=8), TWO_NUMBERS),
        (BaggingRegressor(random_state=9), (NUMBERS[0], np.round(NUMBERS[1] / 100).astype(int))),
    ],
    ids=shown,
)
def test_the_first_estimators_are_the_smaller_bag(bag: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(bag, SIZES, X, y, X_test, attributes=ATTRIBUTES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bag", "data", "jobs_of_all"),
    [
        (BaggingClassifier(SVC(), random_state=0, max_samples=0.5, n_jobs=2), CLASSES, None),
        (BaggingRegressor(random_state=0), NUMBERS, 3),
    ],
    ids=shown,
)
def test_with_several_jobs_each_sums_its_part(bag: Any, data: tuple[Any, Any], jobs_of_all: int | None) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    with joblib.parallel_config("threading", n_jobs=jobs_of_all):
        assert_nested_fits_are_plain_fits(bag, SIZES[-2:], X, y, X_test)


@pytest.mark.slow
def test_weights_sparse_rows_tables_and_missing_values_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CLASSES, random_state=0)
    bag = BaggingClassifier(random_state=0, max_features=0.7)
    weights = {"sample_weight": np.linspace(0.1, 2, len(y))}
    assert_nested_fits_are_plain_fits(bag, SIZES, X, y, X_test, fit_params=weights, attributes=ATTRIBUTES)
    few, few_test = (sparse.csr_matrix(np.where(np.abs(rows) < 1, 0, rows)) for rows in (X, X_test))
    assert_nested_fits_are_plain_fits(bag, SIZES, few, np.array(["no", "maybe", "yes"])[y], few_test)
    holes, test_holes = (np.where(rows > 1, np.nan, rows) for rows in (X, X_test))
    assert_nested_fits_are_plain_fits(bag, SIZES, holes, y, test_holes)
    table, test_table = (pd.DataFrame(rows, columns=list("abcdef")) for rows in (X, X_test))
    assert_nested_fits_are_plain_fits(bag, SIZES, table, y, test_table)


def test_the_type_of_the_number_decides_on_the_type_of_the_mean() -> None:
    X, y = (each.astype(np.float32) for each in NUMBERS)
    bag = BaggingRegressor(LinearRegression(), random_state=0)
    assert_nested_fits_are_plain_fits(bag, [{"n_estimators": 2}, {"n_estimators": np.int64(3)}], X, y, X[:20])


@pytest.mark.slow
@examples(8)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from([BaggingClassifier, BaggingRegressor]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = rng.integers(0, draw(st.integers(2, 4)), 60) if is_classifier(kind()) else X @ [1, -2, 3] + rng.normal(size=60)
    tree = (DecisionTreeClassifier if is_classifier(kind()) else DecisionTreeRegressor)(
        splitter=draw(st.sampled_from(["best", "random"])), max_features=draw(st.sampled_from([None, 1]))
    )
    bag = kind(
        tree,
        random_state=draw(st.integers(0, 9)),
        max_samples=draw(st.sampled_from([None, 3, 0.5])),
        max_features=draw(st.integers(1, 3)),
        bootstrap=draw(st.booleans()),
        bootstrap_features=draw(st.booleans()),
    )
    sizes = draw(st.lists(st.integers(1, 8), min_size=2, max_size=4, unique=True))
    variants = [{"n_estimators": size} for size in sizes]
    assert_nested_fits_are_plain_fits(bag, variants, X[:45], y[:45], X[45:], attributes=ATTRIBUTES)


def test_each_estimator_predicts_the_same_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted: list[Any] = []
    predict = KNeighborsClassifier.predict_proba

    def recorded(self: Any, X: Any) -> Any:
        predicted.append(self)
        return predict(self, X)

    monkeypatch.setattr(KNeighborsClassifier, "predict_proba", recorded)
    bag = BaggingClassifier(KNeighborsClassifier(), random_state=0)
    rule = rule_of(NestedFit, bag)
    X, y = CLASSES
    for made in rule.fit([clone(bag).set_params(**size) for size in SIZES], X, y, {}):
        made.predict(X)
        made.predict_proba(X)
    assert len(predicted) == 8


def test_what_looks_at_all_estimators_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, BaggingClassifier())
    assert not rule.applies(BaggingClassifier(oob_score=True), *CLASSES)
    assert not rule.applies(BaggingClassifier(warm_start=True), *CLASSES)
    for size in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(BaggingClassifier(n_estimators=size))
