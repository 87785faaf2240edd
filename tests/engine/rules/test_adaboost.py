"""The proof of BoostingRounds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, examples, rule_of, shown
from tuningjob.engine.rules import NestedFit

SIZES = [{"n_estimators": size} for size in (7, 1, 2, 18, 9)]
ATTRIBUTES = ("estimator_weights_", "estimator_errors_", "classes_", "n_classes_")
CLASSES = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
TWO_CLASSES = make_classification(200, 6, random_state=1)
NUMBERS = make_regression(200, 6, noise=20, random_state=2)
WORSE_THAN_GUESSING = AdaBoostClassifier(GaussianNB(), random_state=3)
PERFECT = AdaBoostClassifier(DecisionTreeClassifier(max_depth=6), random_state=3)
OFF_BY_TOO_MUCH = AdaBoostRegressor(Ridge(), random_state=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("boosting", "data"),
    [
        (AdaBoostClassifier(random_state=0), CLASSES),
        (AdaBoostClassifier(random_state=1, learning_rate=0.3), TWO_CLASSES),
        (AdaBoostClassifier(DecisionTreeClassifier(max_depth=2, max_features=2), random_state=2), CLASSES),
        (WORSE_THAN_GUESSING, CLASSES),
        (PERFECT, TWO_CLASSES),
        (AdaBoostClassifier(DecisionTreeClassifier(), random_state=3), TWO_CLASSES),  # perfect in the first round
        (AdaBoostClassifier(LogisticRegression(C=0.1)), TWO_CLASSES),
        (AdaBoostRegressor(random_state=5), NUMBERS),
        (AdaBoostRegressor(random_state=6, loss="square", learning_rate=0.5), NUMBERS),
        (AdaBoostRegressor(DecisionTreeRegressor(max_features=2), random_state=7, loss="exponential"), NUMBERS),
        (OFF_BY_TOO_MUCH, NUMBERS),
    ],
    ids=shown,
)
def test_the_first_rounds_are_the_smaller_boosting(boosting: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, attributes=ATTRIBUTES)


@pytest.mark.parametrize(
    ("boosting", "data"),
    [(WORSE_THAN_GUESSING, CLASSES), (PERFECT, TWO_CLASSES), (OFF_BY_TOO_MUCH, NUMBERS)],
    ids=shown,
)
def test_boosting_that_ends_early_is_among_the_proved(boosting: Any, data: tuple[Any, Any]) -> None:
    X, _, y, _ = train_test_split(*data, random_state=0)
    assert 2 < len(clone(boosting).set_params(n_estimators=18).fit(X, y).estimators_) < 18


@pytest.mark.slow
def test_weights_sparse_rows_tables_and_a_single_class_are_served_too() -> None:
    for boosting, data in (
        (AdaBoostClassifier(random_state=0), CLASSES),
        (AdaBoostRegressor(random_state=0), NUMBERS),
    ):
        X, X_test, y, _ = train_test_split(*data, random_state=0)
        weights = {"sample_weight": np.where(np.arange(len(y)) % 7, np.linspace(0.1, 2, len(y)), 0)}
        with np.errstate(divide="ignore"):  # the logarithm of no weight at all
            assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, fit_params=weights)
        few, few_test = (sparse.csr_array(np.where(np.abs(some) < 1, 0, some)) for some in (X, X_test))
        assert_nested_fits_are_plain_fits(boosting, SIZES, few, y, few_test)
        names = list("abcdef")
        table, test_table = (pd.DataFrame(some, columns=names) for some in (X, X_test))
        assert_nested_fits_are_plain_fits(boosting, SIZES, table, y, test_table)
        assert_nested_fits_are_plain_fits(boosting, SIZES, X, np.zeros(len(y)), X_test)
    words = np.array(["no", "maybe", "yes"])[CLASSES[1]]
    assert_nested_fits_are_plain_fits(AdaBoostClassifier(random_state=0), SIZES, CLASSES[0], words, CLASSES[0][:20])


@pytest.mark.slow
@examples(8)
@given(data=st.data())
def test_any_settings(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from([AdaBoostClassifier, AdaBoostRegressor]))
    classifies = is_classifier(kind())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.integers(0, draw(st.integers(2, 9)), (60, 3)).astype(float)
    y = (
        (X[:, 0] + rng.integers(0, 2, 60)) % draw(st.integers(2, 4))
        if classifies
        else X @ [1, -2, 3] + rng.normal(size=60)
    )
    tree = (DecisionTreeClassifier if classifies else DecisionTreeRegressor)(
        max_depth=draw(st.sampled_from([None, 1, 2, 4])), max_features=draw(st.sampled_from([None, 1]))
    )
    boosting = kind(
        tree, random_state=draw(st.integers(0, 9)), learning_rate=draw(st.sampled_from([0.05, 0.7, 1.0, 3.0]))
    )
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=4, unique=True))
    variants = [{"n_estimators": size} for size in sizes]
    assert_nested_fits_are_plain_fits(boosting, variants, X[:45], y[:45], X[45:], attributes=ATTRIBUTES)


@pytest.mark.parametrize(
    ("boosting", "data"),
    [(AdaBoostClassifier(LogisticRegression()), TWO_CLASSES), (OFF_BY_TOO_MUCH, NUMBERS)],
    ids=shown,
)
def test_each_learner_predicts_the_same_rows_once(
    boosting: Any, data: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data
    learner = type(boosting.estimator)
    predicted: list[Any] = []
    predict = learner.predict

    def recorded(self: Any, X: Any) -> Any:
        predicted.append(self)
        return predict(self, X)

    monkeypatch.setattr(learner, "predict", recorded)
    views = list(rule_of(NestedFit, boosting).fit([clone(boosting).set_params(**size) for size in SIZES], X, y, {}))
    predicted.clear()
    table = pd.DataFrame(X[:10])
    for _ in range(2):
        for made in views:
            made.predict(table)
    assert len(predicted) == max(len(made.estimators_) for made in views)


def test_numbers_of_rounds_that_are_none_are_left_to_a_fit_of_their_own() -> None:
    rule = rule_of(NestedFit, AdaBoostRegressor())
    for size in (0, -1, 2.0, True, None, "10"):
        assert not rule.accepts(AdaBoostRegressor(n_estimators=size))
