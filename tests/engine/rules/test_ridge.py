"""The proof of RidgePenalty."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_regression
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import train_test_split

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, assert_same_layout, rule_of, shown
from tuningjob.engine.rules import NestedFit

PENALTIES = [{"alpha": alpha} for alpha in (1.0, 1e-6, 0.1, 3, np.float32(7.7), 1e6)]
DIABETES = load_diabetes(return_X_y=True)
TALL = make_regression(300, 40, noise=3, random_state=0)
WIDE = make_regression(50, 90, noise=3, random_state=0)
SQUARE = make_regression(40, 30, noise=3, random_state=0)
DIGITS = tuple(part[:600] for part in load_digits(return_X_y=True))
CANCER = load_breast_cancer(return_X_y=True)
WINE = load_wine(return_X_y=True)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["auto", "cholesky", "svd"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("ridge", "data"),
    [
        (Ridge(), DIABETES),
        (Ridge(), TALL),
        (Ridge(), WIDE),
        (Ridge(), SQUARE),
        (RidgeClassifier(), CANCER),
        (RidgeClassifier(), DIGITS),
        (RidgeClassifier(class_weight="balanced"), WINE),
        (RidgeClassifier(), (WIDE[0], np.digitize(WIDE[1], [-50, 50]))),
    ],
    ids=shown,
)
def test_one_gram_matrix_serves_every_penalty(
    ridge: Any, data: tuple[Any, Any], fit_intercept: bool, solver: str
) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    for laid_out in (X, np.asfortranarray(X)):
        check(clone(ridge).set_params(fit_intercept=fit_intercept, solver=solver), laid_out, y, X_test)


def check(ridge: Any, X: Any, y: Any, X_test: Any, **fit_params: Any) -> None:
    """Predictions, and all that was fitted."""
    pairs = assert_nested_fits_are_plain_fits(ridge, PENALTIES, X, y, X_test, fit_params=fit_params)
    for made, wanted in pairs:
        assert vars(made).keys() == vars(wanted).keys()
        assert type(made.intercept_) is type(wanted.intercept_)
        assert made.solver_ == wanted.solver_
        for name in ("coef_", "intercept_"):
            assert_same_bits(getattr(made, name), getattr(wanted, name), name)
        assert_same_layout(made.coef_, wanted.coef_)


@pytest.mark.slow
def test_weights_and_targets_of_any_type_are_served() -> None:
    X, X_test, y, _ = train_test_split(*DIABETES, random_state=0)
    weights = np.linspace(0.1, 2, len(y))
    check(Ridge(), X, y, X_test, sample_weight=weights)
    check(Ridge(fit_intercept=False, solver="svd"), X, y.astype(int), X_test, sample_weight=weights)
    check(Ridge(), X, pd.Series(y), X_test)
    check(Ridge(), X, y.astype(object), X_test)
    X, X_test, y, _ = train_test_split(CANCER[0], np.array(["no", "yes"])[CANCER[1]], random_state=0)
    check(RidgeClassifier(), X, y, X_test, sample_weight=np.linspace(0.1, 2, len(y)))
    X.flags.writeable = False
    check(RidgeClassifier(class_weight={"no": 3}), X, y, X_test)


def test_a_template_that_came_out_otherwise_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rule_of(NestedFit, Ridge())
    # equal columns of next to no penalty have no Cholesky factor: scikit-learn goes on by another solver
    X, y = np.ones((9, 3)), np.arange(9.0)
    with pytest.raises(RuntimeError, match="was solved by 'svd'"):
        next(iter(rule.fit([Ridge(1e-300, fit_intercept=False), Ridge()], X, y, {})))
    X, y = DIABETES
    nothing = np.zeros((1, X.shape[1]))
    monkeypatch.setattr("tuningjob.engine.rules.ridge._by_cholesky", lambda *_: lambda _: nothing)
    with pytest.raises(RuntimeError, match="came out otherwise"):
        next(iter(rule.fit([Ridge(), Ridge(2)], X, y, {})))


def test_what_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, Ridge())
    X, y = DIABETES
    for other in (
        *(Ridge(solver=solver) for solver in ("lsqr", "sparse_cg", "sag", "saga", "lbfgs", "nonsense", None, ["svd"])),
        Ridge(positive=True),
        Ridge(copy_X=False),
    ):
        assert not rule.applies(other, X, y)
    for rows in (sparse.csr_matrix(X), pd.DataFrame(X), X.astype(np.float32), X.tolist()):
        assert not rule.applies(Ridge(), rows, y)
    assert not rule.applies(Ridge(), X, np.column_stack([y, y]))
    for alpha in (0, 0.0, -1.0, True, None, "1", np.array([1.0]), [1.0], float("inf"), float("nan"), 10**400):
        assert not rule.accepts(Ridge(alpha=alpha))
