"""The proof of Iterations."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC, LinearSVR

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_predicts, predictions, rule_of, shown
from tests.engine.versions import NEWEST, SKLEARN
from tuningjob.engine.rules import Ceiling

IRIS = (scale(load_iris().data), load_iris().target)
CANCER = (scale(load_breast_cancer().data), load_breast_cancer().target)
DIABETES = (scale(load_diabetes().data), scale(load_diabetes().target))
SPARSE = (sparse.csr_matrix(IRIS[0]), IRIS[1])
NUMBERS = make_regression(60, 15, noise=1, random_state=0)
TWO_TARGETS = make_regression(60, 9, n_targets=2, noise=1, random_state=0)
SEPARABLE = make_classification(40, 30, random_state=0)
COLLINEAR = (np.column_stack([np.arange(30.0), np.arange(30.0) * 1e8, np.ones(30)]), np.arange(30) % 2)
MANY = 50_000
# since 1.8 the ratio alone says which penalty it is
ELASTIC: dict[str, Any] = {"l1_ratio": 0.5} if SKLEARN >= (1, 8) else {"penalty": "elasticnet", "l1_ratio": 0.5}
SPARSE_COEF: dict[str, Any] = {"l1_ratio": 1.0} if SKLEARN >= (1, 8) else {"penalty": "l1"}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        *((LogisticRegression(solver=solver), IRIS) for solver in ("lbfgs", "newton-cg", "newton-cholesky")),
        *((LogisticRegression(solver=solver, random_state=0), IRIS) for solver in ("sag", "saga")),
        *((LogisticRegression(solver=solver, C=30), CANCER) for solver in ("lbfgs", "newton-cg", "newton-cholesky")),
        (LogisticRegression(solver="saga", **ELASTIC, random_state=0), SPARSE),
        (LogisticRegression(solver="liblinear", random_state=0), CANCER),
        (LogisticRegression(solver="liblinear", dual=True, random_state=0), CANCER),
        (LogisticRegression(solver="liblinear", **SPARSE_COEF, random_state=0), CANCER),
        (LogisticRegression(fit_intercept=False, class_weight="balanced"), SPARSE),
        (Lasso(0.1), DIABETES),
        (Lasso(0.1, precompute=True, positive=True), DIABETES),
        (Lasso(0.1), (sparse.csc_matrix(NUMBERS[0]), NUMBERS[1])),
        (Lasso(0.01, selection="random", random_state=0), NUMBERS),
        (Lasso(0.1), TWO_TARGETS),
        (ElasticNet(0.01, l1_ratio=0.3), DIABETES),
        (ElasticNet(1e-3, tol=1e-9), NUMBERS),
        (SGDClassifier(random_state=0), IRIS),
        (SGDClassifier(random_state=0, loss="log_loss", penalty="elasticnet", early_stopping=True), CANCER),
        (SGDClassifier(random_state=0, learning_rate="adaptive", eta0=0.1, average=True), SPARSE),
        (SGDRegressor(random_state=0), DIABETES),
        (SGDRegressor(random_state=0, average=3, early_stopping=True, learning_rate="constant"), NUMBERS),
        (Perceptron(random_state=0), IRIS),
        (Perceptron(random_state=0, penalty="l1"), CANCER),
        (MLPClassifier((5,), random_state=0, tol=1e-2, n_iter_no_change=2), IRIS),
        (MLPClassifier((5,), random_state=0, early_stopping=True, n_iter_no_change=2, learning_rate_init=0.1), IRIS),
        (MLPClassifier((5,), random_state=0, solver="lbfgs", tol=1e-2), CANCER),
        (
            MLPClassifier((5,), random_state=0, solver="sgd", learning_rate="adaptive", tol=0.1, n_iter_no_change=1),
            IRIS,
        ),
        (MLPRegressor(hidden_layer_sizes=(5,), random_state=0, tol=1e-2, n_iter_no_change=2), DIABETES),
        (MLPRegressor(hidden_layer_sizes=(5,), random_state=0, solver="lbfgs", tol=1e-1), DIABETES),
        (LinearSVC(random_state=0), IRIS),
        (LinearSVC(random_state=0, dual=True), CANCER),
        (LinearSVC(random_state=0, dual=True, loss="hinge"), IRIS),
        (LinearSVC(random_state=0, dual=False, penalty="l1"), IRIS),
        # before 1.9 its n_iter_ is the greatest of three numbers of which two were never set, and so is the warning
        *([(LinearSVC(random_state=0, multi_class="crammer_singer"), IRIS)] if SKLEARN >= NEWEST else []),
        (LinearSVR(random_state=0), DIABETES),
        (LinearSVR(random_state=0, dual=False, loss="squared_epsilon_insensitive"), DIABETES),
    ],
    ids=shown,
)
def test_a_limit_above_what_was_used_does_nothing(estimator: Any, data: tuple[Any, Any]) -> None:
    X, y = data
    rule = rule_of(Ceiling, estimator)
    high = clone(estimator).set_params(max_iter=MANY).fit(X, y)  # no warning: it converged
    reached = rule.reached(high)
    used = int(np.max(high.n_iter_))
    assert used <= reached < MANY
    height = rule.height(used)
    assert height is not None
    assert height <= reached  # so that equality is never claimed
    wanted = predictions(high, X)
    for limit in (int(reached) + 1, 10 * int(reached) + 10):
        low = clone(estimator).set_params(max_iter=limit).fit(X, y)
        assert_predicts(low, X, wanted, limit)
        for name in ("coef_", "intercept_", "coefs_", "intercepts_", "n_iter_"):
            if hasattr(high, name):
                assert_same_bits(getattr(low, name), getattr(high, name), name)
        assert rule.reached(low) == reached


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        *((LogisticRegression(solver=solver), CANCER) for solver in ("lbfgs", "newton-cg", "newton-cholesky")),
        *((LogisticRegression(solver=solver, random_state=0), CANCER) for solver in ("liblinear", "sag", "saga")),
        (Lasso(1e-3), NUMBERS),
        (ElasticNet(1e-3), NUMBERS),
        (SGDClassifier(random_state=0), CANCER),
        (SGDRegressor(random_state=0), NUMBERS),
        (Perceptron(random_state=0), CANCER),
        (MLPClassifier((5,), random_state=0), CANCER),
        (MLPRegressor(hidden_layer_sizes=(5,), random_state=0), NUMBERS),
        (LinearSVC(random_state=0, dual=True), CANCER),
        (LinearSVR(random_state=0), NUMBERS),
    ],
    ids=shown,
)
def test_a_fit_that_its_limit_stopped_claims_nothing_below(estimator: Any, data: tuple[Any, Any]) -> None:
    rule = rule_of(Ceiling, estimator)
    with pytest.warns(ConvergenceWarning):
        stopped = clone(estimator).set_params(max_iter=2).fit(*data)
    assert rule.reached(stopped) >= 2


@pytest.mark.parametrize("data", [SEPARABLE, COLLINEAR], ids=["separable", "collinear"])
def test_newton_that_goes_on_by_lbfgs_has_less_left(data: tuple[Any, Any]) -> None:
    """Its own iterations count too: the limit of lbfgs is what they left, and at equality it ends in another way."""
    estimator = LogisticRegression(C=np.inf, solver="newton-cholesky", fit_intercept=False)
    rule = rule_of(Ceiling, estimator)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        high = clone(estimator).set_params(max_iter=MANY).fit(*data)
        assert any("lbfgs" in str(warning.message) for warning in caught)
        for more in (1, 2, 50):
            low = clone(estimator).set_params(max_iter=int(rule.reached(high)) + more).fit(*data)
            assert_same_bits([low.coef_, low.n_iter_], [high.coef_, high.n_iter_])


def test_what_is_no_limit_is_left_alone() -> None:
    rule = rule_of(Ceiling, LogisticRegression())
    for value in (0, -1, None, 10.0, "10", True, 2**31, 10**400, math.inf):
        assert rule.height(value) is None
    assert rule.height(7) == rule.height(np.int64(7)) == 7.0
