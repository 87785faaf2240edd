"""The proof of UnusedByLogisticSolver."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import PlainFit, rule_of, shown
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.rules import Inert

IRIS = (scale(load_iris().data), load_iris().target)
CANCER = (scale(load_breast_cancer().data[:150, :8]), load_breast_cancer().target[:150])
ATTRIBUTES = ("coef_", "intercept_", "n_iter_")
VALUES: dict[str, list[Any]] = {
    "C": [0.01, 3, np.float64(50), float("inf")],
    "l1_ratio": [0.1, 0.9],
    "intercept_scaling": [0.1, 30],
    "random_state": [0, 7, np.random.RandomState(3)],
}


def key(regression: Any) -> Any:
    """What the engine compares."""
    return of_estimator(regression, instead=rule_of(Inert, regression).normal_form(regression))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regression", "looked_at"),
    [
        (LogisticRegression(), {"C", "l1_ratio"}),
        (LogisticRegression(solver="newton-cg"), {"C", "l1_ratio"}),
        (LogisticRegression(solver="newton-cholesky", penalty="l2", l1_ratio=0.3), {"C"}),
        (LogisticRegression(penalty=None, C=7.0, l1_ratio=0.4), set[str]()),
        (LogisticRegression(penalty=None, C=7.0, l1_ratio=0.4, solver="saga", random_state=1), {"random_state"}),
        (LogisticRegression(penalty="l1", l1_ratio=0.4, solver="saga", random_state=1), {"C", "random_state"}),
        (LogisticRegression(penalty="l2", l1_ratio=0.4, solver="sag", random_state=1), {"C", "random_state"}),
        (
            LogisticRegression(penalty="elasticnet", l1_ratio=0.4, solver="saga", random_state=1),
            {"C", "random_state", "l1_ratio"},
        ),
        (
            LogisticRegression(penalty="l1", l1_ratio=0.4, solver="liblinear", random_state=1),
            {"C", "random_state", "intercept_scaling"},
        ),
    ],
    ids=shown,
)
def test_what_is_not_looked_at_changes_nothing(regression: Any, looked_at: set[str]) -> None:
    data = [CANCER] if regression.solver == "liblinear" else [CANCER, IRIS]
    first = clone(regression).set_params(max_iter=30)
    fits = [PlainFit(first, X, y, attributes=ATTRIBUTES) for X, y in data]
    for name, values in VALUES.items():
        for value in values:
            other = clone(first).set_params(**{name: value})
            assert (key(other) == key(first)) == (name not in looked_at), (name, value)
            if name not in looked_at:
                for fit in fits:
                    fit.assert_same(other, f"{name}={value}")
    other = clone(first).set_params(**{name: values[0] for name, values in VALUES.items() if name not in looked_at})
    for X, y in data:
        weights = np.linspace(0.1, 2, len(y))
        PlainFit(first, sparse.csr_matrix(X), y, attributes=ATTRIBUTES, sample_weight=weights).assert_same(other, other)


def test_what_warns_or_is_refused_is_not_taken_for_what_is_not() -> None:
    unpenalised = LogisticRegression(penalty=None, C=2.0)
    for C in (1.0, 1, 0, -1, None, "2", float("nan")):
        assert key(clone(unpenalised).set_params(C=C)) != key(unpenalised), C
    for ratio in (0, 1, None, 2, "0.5"):
        assert key(LogisticRegression(penalty="l2", l1_ratio=ratio)) != key(
            LogisticRegression(penalty="l2", l1_ratio=0.5)
        )
    others: list[dict[str, Any]] = [
        {"intercept_scaling": 0},
        {"random_state": "3"},
        {"random_state": -1},
        {"penalty": "l2"},
        {"dual": True},
    ]
    for other in others:
        assert key(LogisticRegression(**other)) != key(LogisticRegression()), other
    others = [{"solver": "other"}, {"solver": None}, {"penalty": "other"}, {"penalty": ["l1"]}]
    for other in others:
        assert key(LogisticRegression(**other, random_state=3)) != key(LogisticRegression(**other)), other


@pytest.mark.slow
def test_a_grid_of_penalties_is_searched_as_scikit_learn_does() -> None:
    grid = {"penalty": ["l2", None], "C": [0.1, 2.0, 10.0, 100.0]}
    ours = assert_same_search(LogisticRegression(), grid, *IRIS, cv=3)
    rule_of(Inert, LogisticRegression())  # not in force everywhere: then it shares nothing
    assert (ours.guard.groups, ours.guard.trips) == (1, 0)
    assert np.count_nonzero(ours.cv_results_["mean_fit_time"] > 0) == 5
