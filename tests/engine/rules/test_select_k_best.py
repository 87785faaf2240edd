"""The proof of BestFeatures."""

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine, make_regression
from sklearn.feature_selection import (
    SelectKBest,
    SelectPercentile,
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    r_regression,
)
from sklearn.model_selection import train_test_split

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_nested_transforms_are_plain, rule_of
from tuningjob.engine.rules import NestedTransform

# columns of digits are constant, so that some scores are no numbers; others are tied
DIGITS = tuple(part[:300] for part in load_digits(return_X_y=True))
WINE = load_wine(return_X_y=True)
NUMBERS = make_regression(100, 20, random_state=0)
WIDTHS: dict[type, list[dict[str, Any]]] = {
    SelectKBest: [{"k": k} for k in (3, 1, 12, np.int64(5), "all")],
    SelectPercentile: [{"percentile": percentile} for percentile in (50, 10, 33.3, np.float64(77), 100)],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SelectKBest, SelectPercentile])
@pytest.mark.parametrize(
    ("score", "data"),
    [(f_classif, WINE), (chi2, WINE), (f_regression, NUMBERS), (r_regression, NUMBERS), (chi2, DIGITS)],
)
def test_features_are_scored_once(kind: Any, score: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    for made in (np.array, np.asfortranarray, sparse.csr_matrix, sparse.csc_array, pd.DataFrame):
        if made in (sparse.csr_matrix, sparse.csc_array) and score is r_regression:
            continue  # scikit-learn's fails on sparse rows
        check(kind(score), made(X), y, made(X_test))
    frame = pd.DataFrame(X).add_prefix("column ")
    check(kind(score).set_output(transform="pandas"), frame, y, frame[:9])


def check(select: Any, X: Any, y: Any, X_test: Any) -> None:
    """Transformed rows, and all that was fitted."""
    for made, plain in assert_nested_transforms_are_plain(select, WIDTHS[type(select)], X, y, X_test):
        assert vars(made).keys() == vars(plain).keys()
        assert_same_bits([made.scores_, made.get_support()], [plain.scores_, plain.get_support()])
        assert_same_bits(made.pvalues_, plain.pvalues_)


def test_no_feature_at_all_warns_as_in_scikit_learn() -> None:
    X, y = WINE
    for select, none in ((SelectKBest(), {"k": 0}), (SelectPercentile(), {"percentile": 0})):
        rule = rule_of(NestedTransform, select)
        with pytest.warns(UserWarning, match="No features were selected"):
            Xt, _ = rule.derive(rule.fit(select, X, y), clone(select).set_params(**none), X)
        assert Xt.shape == (len(X), 0)


def test_what_is_left_to_a_fit_of_its_own() -> None:
    X, _ = load_iris(return_X_y=True)
    rule = rule_of(NestedTransform, SelectKBest())
    assert rule.applies(SelectKBest(k=2), X)
    for k in (-1, 5, 2.0, True, None, "some"):
        assert not rule.applies(SelectKBest(k=k), X)
    for percentile in (-1, 101, True, None, "10", float("nan")):
        assert not rule.applies(SelectPercentile(percentile=percentile), X)
    for score in (mutual_info_classif, lambda X, _: X.sum(axis=0), functools.partial(chi2), None):
        assert not rule.applies(SelectKBest(score, k=2), X)
        assert not rule.applies(SelectPercentile(score), X)
    assert not rule.applies(SelectKBest(k=2), X.tolist())
