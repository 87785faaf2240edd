"""The proof of NearestNeighbors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, make_classification
from sklearn.metrics import get_scorer
from sklearn.metrics._pairwise_distances_reduction import ArgKminClassMode
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import (
    assert_nested_fits_are_plain_fits,
    assert_same_predictions,
    examples,
    rule_of,
    shown,
)
from tests.engine.versions import SKLEARN
from tuningjob.engine.rules import NestedFit

VOTES: list[Any] = ["uniform", "distance", None]
SIZES = [{"n_neighbors": size, "weights": weights} for size in (1, 2, 9, 23) for weights in VOTES]
IRIS = load_iris(return_X_y=True)  # low and rounded: trees, and many ties
DIGITS = tuple(part[:200] for part in load_digits(return_X_y=True))  # high and whole numbers: brute force, and ties
CANCER = tuple(part[:150] for part in load_breast_cancer(return_X_y=True))
DIABETES = tuple(part[:300] for part in load_diabetes(return_X_y=True))
BLOBS = make_classification(200, 20, n_informative=8, n_classes=3, random_state=0)
LOW = make_classification(200, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each query from here on was about."""
    rows: list[int] = []
    original = KNeighborsClassifier.kneighbors

    def kneighbors(self: Any, X: Any = None, n_neighbors: Any = None, return_distance: bool = True) -> Any:
        rows.append(len(X))
        return original(self, X, n_neighbors, return_distance)

    for kind in (KNeighborsClassifier, KNeighborsRegressor):
        monkeypatch.setattr(kind, "kneighbors", kneighbors)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neighbours", "data"),
    [
        (KNeighborsClassifier(), IRIS),
        (KNeighborsClassifier(algorithm="ball_tree", leaf_size=5), IRIS),
        (KNeighborsClassifier(algorithm="brute", n_jobs=2), IRIS),
        (KNeighborsClassifier(), DIGITS),
        (KNeighborsClassifier(algorithm="kd_tree", metric="manhattan"), DIGITS),
        (KNeighborsClassifier(metric="l1"), DIGITS),
        (KNeighborsClassifier(metric="l2"), DIGITS),
        (KNeighborsClassifier(metric="cosine"), DIGITS),
        (KNeighborsClassifier(p=3), CANCER),
        (KNeighborsClassifier(p=1), BLOBS),
        (KNeighborsClassifier(metric="chebyshev"), BLOBS),
        (KNeighborsClassifier(metric="euclidean"), LOW),
        (KNeighborsRegressor(), DIABETES),
        (KNeighborsRegressor(p=1, algorithm="ball_tree"), DIABETES),
        (KNeighborsRegressor(algorithm="brute"), DIABETES),
        (KNeighborsRegressor(), (IRIS[0], IRIS[0][:, 0])),
        (KNeighborsRegressor(metric="cityblock"), DIGITS),
    ],
    ids=shown,
)
def test_fewer_neighbours_are_the_first_of_more(neighbours: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert_nested_fits_are_plain_fits(neighbours, SIZES, X, y, X_test)


@pytest.mark.slow
def test_all_kinds_of_rows_are_served() -> None:
    X, X_test, y, _ = train_test_split(*DIGITS, random_state=0)
    for kind in (
        KNeighborsClassifier(),
        KNeighborsRegressor(metric="manhattan", algorithm="brute"),
        KNeighborsClassifier(p=1),
    ):
        for made in (
            sparse.csr_matrix,
            np.asfortranarray,
            pd.DataFrame,
            lambda X: X.astype(np.float32),
            lambda X: X.astype(np.int64),
        ):
            assert_nested_fits_are_plain_fits(kind, SIZES[3:6], made(X), y, made(X_test))
    names = np.array(["no", "yes", "perhaps"])
    X, X_test, y, _ = train_test_split(pd.DataFrame(IRIS[0], columns=list("abcd")), names[IRIS[1]], random_state=0)
    assert_nested_fits_are_plain_fits(KNeighborsClassifier(), SIZES, X, y, X_test)
    assert_nested_fits_are_plain_fits(KNeighborsClassifier(), SIZES, X, pd.Series(y), X_test)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
@examples(4)
@given(
    points=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=30),
    asked_for=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8),
    step=st.sampled_from([1.0, 0.1, 1 / 3]),
    seed=st.integers(0, 9),
)
def test_ties_are_broken_as_a_query_of_its_own_breaks_them(
    algorithm: str, points: Any, asked_for: Any, step: float, seed: int
) -> None:
    X, X_test = np.array(points) * step, np.array(asked_for) * step / 2
    targets = np.random.default_rng(seed)
    sizes = [{"n_neighbors": size, "weights": weights} for size in (1, 2, 4, 9) for weights in VOTES if size <= len(X)]
    y = targets.integers(0, 3, len(X))
    assert_nested_fits_are_plain_fits(KNeighborsClassifier(algorithm=algorithm), sizes, X, y, X_test)
    y = targets.choice([-0.0, 0.0, 0.1, 0.7, 1e16], len(X))
    assert_nested_fits_are_plain_fits(KNeighborsRegressor(algorithm=algorithm), sizes, X, y, X_test)


@pytest.mark.alike
@pytest.mark.parametrize("kind", [KNeighborsClassifier, KNeighborsRegressor])
def test_what_a_tie_may_do(kind: Any) -> None:
    # which of many tied neighbours are kept depends on how many are asked for: the third of them, that 12 leave out
    X, y = np.array([[1.0]] * 12 + [[0.0]] * 3), np.arange(15) == 2
    sizes = [{"n_neighbors": 4, "weights": weights} for weights in VOTES]
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        assert_nested_fits_are_plain_fits(kind(algorithm=algorithm), sizes, X, y * 1, X)
    # a tree's bounds are rounded: it may answer with one that is farther by the last bit
    X, X_test = np.array([[1, 0], [2, 3], [4, 3], [4, 0], [4, 1], [3, 0]]) * 0.1, np.array([[5, 0]]) * 0.1
    tree = kind(algorithm="ball_tree", metric="manhattan", leaf_size=1)
    (wrong,), (right,) = (tree.set_params(n_neighbors=size).fit(X, range(6)).kneighbors(X_test)[0] for size in (2, 4))
    assert wrong[1] > right[1]
    sizes = [{"n_neighbors": size, "weights": weights} for size in (1, 2) for weights in VOTES]
    for y in (np.array([1, 1, 1, 0, 1, 1]), np.arange(6)):
        assert_nested_fits_are_plain_fits(tree, sizes, X, y, X_test)
    # zeros of either sign are equal, and numpy's sums tell no difference
    X, y = np.array([[1.0], [1.0], [0.0]]), np.array([-0.0, 0.0, 1.0])
    assert_nested_fits_are_plain_fits(KNeighborsRegressor(algorithm="brute"), sizes, X, y, X)


@pytest.mark.slow
def test_one_query_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = asked(monkeypatch)
    monkeypatch.setattr(
        ArgKminClassMode, "compute", lambda *_, **__: pytest.fail("votes were counted by another query")
    )
    kinds: list[Any] = [
        (KNeighborsClassifier(), BLOBS),
        (KNeighborsClassifier(p=1), BLOBS),
        (KNeighborsRegressor(), DIABETES),
    ]
    for kind, (X, y) in kinds:
        rule = rule_of(NestedFit, kind)
        many = [clone(kind).set_params(n_neighbors=size, weights=weights) for size in range(1, 14) for weights in VOTES]
        fitted = list(rule.fit(many, X[:150], y[:150], {}))
        X_test = X[150:]
        for each in fitted:
            each.predict(X_test)
            each.score(X_test, y[150:])
        assert rows == [len(X_test)]
        rows.clear()


@pytest.mark.parametrize(
    ("neighbours", "data", "alone"),
    [
        (KNeighborsClassifier(), IRIS, True),  # a tree
        (KNeighborsClassifier(), DIGITS, True),  # products of whole numbers
        (KNeighborsRegressor(algorithm="brute", p=1), IRIS, True),  # pair by pair
        (KNeighborsClassifier(), (DIGITS[0] / 2, DIGITS[1]), False),
    ],
    ids=["tree", "whole numbers", "pairs", "products"],
)
def test_only_rows_with_ties_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, neighbours: Any, data: tuple[Any, Any], alone: bool
) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    rule = rule_of(NestedFit, neighbours)
    sizes = [clone(neighbours).set_params(n_neighbors=size, weights="distance") for size in (5, 15, 29)]
    fitted = list(rule.fit(sizes, X, y, {}))
    rows = asked(monkeypatch)
    for each in fitted:
        each.predict(X_test)
    first, *again = rows
    assert first == len(X_test)
    assert again
    assert all((each < len(X_test)) == alone for each in again)


@pytest.mark.slow
def test_how_rows_are_dealt_out_does_not_matter() -> None:
    X, X_test, y, _ = train_test_split(*DIGITS, random_state=0, train_size=0.6)
    with config_context(pairwise_dist_chunk_size=20):  # 80 rows at most are asked again by themselves
        for rows in (X_test, X_test[:79], X_test[:21]):
            assert_nested_fits_are_plain_fits(KNeighborsClassifier(weights="distance"), SIZES, X, y, rows)
            assert_nested_fits_are_plain_fits(KNeighborsClassifier(p=1), SIZES[-3:], X, y, rows)


def test_more_neighbours_than_rows_fail_as_they_do_in_scikit_learn() -> None:
    X, X_test, y, _ = train_test_split(*IRIS, random_state=0)
    rule = rule_of(NestedFit, KNeighborsClassifier())
    sizes = [3, len(X), len(X) + 1]
    few, all_of_them, too_many = rule.fit([KNeighborsClassifier(size) for size in sizes], X, y, {})
    for made, size in ((few, 3), (all_of_them, len(X))):
        assert_same_predictions(made, KNeighborsClassifier(size).fit(X, y), X_test)
    with pytest.raises(ValueError, match="Expected n_neighbors <= n_samples_fit"):
        too_many.predict(X_test)


def test_other_queries_are_the_estimators_own() -> None:
    X, y = IRIS
    rule = rule_of(NestedFit, KNeighborsClassifier())
    made, _ = rule.fit([KNeighborsClassifier(3), KNeighborsClassifier(7)], X, y, {})
    plain = KNeighborsClassifier(3).fit(X, y)
    assert_same_bits(list(made.kneighbors(X[:9])), list(plain.kneighbors(X[:9])))
    assert_same_bits(made.predict(None), plain.predict(None))
    assert made._fit_method == plain._fit_method


def test_scorers_take_the_answers_for_what_they_are() -> None:
    X, X_test, y, y_test = train_test_split(*IRIS, random_state=0)
    rule = rule_of(NestedFit, KNeighborsClassifier())
    made, _ = rule.fit([KNeighborsClassifier(3), KNeighborsClassifier(7)], X, y, {})
    plain = KNeighborsClassifier(3).fit(X, y)
    of_several_classes = ("neg_brier_score",) if SKLEARN >= (1, 7) else ()
    for scoring in ("accuracy", "roc_auc_ovr", "neg_log_loss", *of_several_classes):
        score = get_scorer(scoring)
        assert score(made, X_test, y_test) == score(plain, X_test, y_test)


def test_what_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, KNeighborsClassifier())
    X, y = IRIS
    for other in (
        KNeighborsClassifier(metric="precomputed"),
        KNeighborsClassifier(metric=lambda a, b: abs(a - b).sum()),
        KNeighborsClassifier(metric="minkowski", metric_params={"w": [1, 2, 3, 4]}),
        KNeighborsClassifier(metric="canberra"),
    ):
        assert not rule.applies(other, X, y)
    assert not rule.applies(KNeighborsClassifier(), X, np.column_stack([y, y]))
    assert not rule.applies(KNeighborsRegressor(), X, y.astype(object))
    for size in (0, -1, 2.0, True, None, "5"):
        assert not rule.accepts(KNeighborsClassifier(n_neighbors=size))
    for weights in (lambda distances: distances, "other", np.array([1.0]), ["uniform"]):
        assert not rule.accepts(KNeighborsClassifier(weights=weights))
