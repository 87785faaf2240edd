"""The proof of NeighborSearch."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import assert_same_predictions, examples, rule_of
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.rules import Inert

METRICS = ["minkowski", "euclidean", "manhattan", "chebyshev", "l2", "l1", "cityblock"]


def key(neighbours: Any, X: Any = None) -> Any:
    """What the engine compares."""
    return of_estimator(neighbours, instead=rule_of(Inert, neighbours).normal_form(neighbours, X))


def data(features: int, *, on_a_grid: bool = True, samples: int = 60, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, features))
    # on a grid there are ties, which algorithms break in ways of their own
    return (np.round(X) if on_a_grid else X), rng.integers(0, 3, samples)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:cannot use tree with sparse input:UserWarning")
@examples(25)
@given(drawn=st.data())
def test_other_words_for_the_same_find_the_same_neighbours(drawn: st.DataObject) -> None:
    draw = drawn.draw
    kind = draw(st.sampled_from([KNeighborsClassifier, KNeighborsRegressor]))
    X, y = data(draw(st.sampled_from([2, 15, 16])), on_a_grid=draw(st.booleans()), seed=draw(st.integers(0, 9)))
    if draw(st.booleans()):
        X = X.astype(draw(st.sampled_from([np.float32, np.float64])))
    if draw(st.integers(0, 3)) == 0:
        X = sparse.csr_matrix(X)
    n_neighbors, weights = draw(st.sampled_from([1, 3, 22, 23])), draw(st.sampled_from(["uniform", "distance", None]))

    neighbours = kind(
        n_neighbors,
        weights=weights,
        metric=draw(st.sampled_from(METRICS)),
        p=draw(st.sampled_from([1, 2, 2.0, 3, math.inf])),
        algorithm=draw(st.sampled_from(["auto", "auto", "brute", "kd_tree", "ball_tree"])),
        leaf_size=draw(st.sampled_from([1, 30])),
    )
    train, test = X[:45], X[45:]
    normal = rule_of(Inert, neighbours).normal_form(neighbours, train)
    in_normal_form = clone(neighbours).set_params(**normal)
    assert key(in_normal_form, train) == key(neighbours, train)
    try:
        expected = in_normal_form.fit(train, y[:45])
    except ValueError:
        with pytest.raises(ValueError, match=r"not valid for sparse|does not support"):
            neighbours.fit(train, y[:45])
        return
    fitted = neighbours.fit(train, y[:45])
    for rows in (test, train):
        assert_same_predictions(fitted, expected, rows, normal)


def test_a_metric_has_two_names_and_a_power_one_use() -> None:
    euclidean = key(KNeighborsClassifier(metric="euclidean"))
    assert key(KNeighborsClassifier()) == euclidean
    assert key(KNeighborsClassifier(metric="euclidean", p=1)) == euclidean
    assert key(KNeighborsClassifier(metric="euclidean", p=None)) == euclidean
    assert key(KNeighborsClassifier(p=1)) == key(KNeighborsClassifier(metric="manhattan", p=7)) != euclidean
    assert key(KNeighborsClassifier(p=math.inf)) == key(KNeighborsClassifier(metric="chebyshev")) != euclidean
    assert key(KNeighborsClassifier(p=3)) not in {euclidean, key(KNeighborsClassifier(p=4))}
    assert key(KNeighborsClassifier(metric="l2")) != euclidean  # brute force adds up in another way


def test_auto_is_the_algorithm_that_the_data_ask_for() -> None:
    def same(one: str, other: str, X: Any, **settings: Any) -> bool:
        return bool(
            key(KNeighborsClassifier(algorithm=one, **settings), X)
            == key(KNeighborsClassifier(algorithm=other, **settings), X)
        )

    narrow, wide = data(15)[0], data(16)[0]
    assert same("auto", "kd_tree", narrow)
    assert not same("auto", "brute", narrow)
    assert same("auto", "brute", wide)
    assert same("auto", "brute", narrow, n_neighbors=30)
    assert not same("auto", "brute", narrow, n_neighbors=29)
    assert same("auto", "brute", sparse.csr_matrix(narrow))
    assert not same("auto", "kd_tree", sparse.csr_matrix(narrow))  # which warns
    assert not same("auto", "kd_tree", narrow.tolist())
    assert not same("auto", "kd_tree", narrow, p=0.5)
    assert not same("auto", "kd_tree", None)
    brute = KNeighborsClassifier(algorithm="brute")
    assert key(clone(brute).set_params(leaf_size=1)) == key(brute)
    tree = KNeighborsClassifier(algorithm="kd_tree")
    assert key(clone(tree).set_params(leaf_size=1)) != key(tree)  # ties


def test_values_that_scikit_learn_refuses_are_not_taken_for_others() -> None:
    refused: dict[str, list[Any]] = {
        "p": [0, -1, "2", True, float("nan")],
        "algorithm": ["other", None],
        "leaf_size": [0, None, 2.0],
        "metric": ["other", None, ["euclidean"], "cosine", np.hypot],
        "metric_params": [{"p": 2}],
    }
    for name, values in refused.items():
        for algorithm in ("brute", "kd_tree"):
            neighbours = KNeighborsClassifier(algorithm=algorithm, metric="euclidean")
            for value in values:
                assert key(clone(neighbours).set_params(**{name: value})) != key(neighbours), (name, value)


@pytest.mark.slow
def test_a_search_over_names_is_scikit_learns() -> None:
    X, y = data(4)
    grid = {
        "metric": ["minkowski", "euclidean", "manhattan"],
        "algorithm": ["auto", "kd_tree", "brute"],
        "n_neighbors": [1, 4, 25],
        "weights": ["uniform", "distance"],
    }
    ours = assert_same_search(KNeighborsClassifier(), grid, X, y, cv=3)
    assert ours.guard.trips == 0
    assert ours.guard.groups > 0
