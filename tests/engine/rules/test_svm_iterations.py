"""The proof of LibsvmIterations."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_predicts, predictions, rule_of, shown
from tuningjob.engine.rules import Ceiling

IRIS = load_iris(return_X_y=True)
CANCER = (scale(load_breast_cancer().data[:300]), load_breast_cancer().target[:300])
DIABETES = (scale(load_diabetes().data[:200]), scale(load_diabetes().target[:200]))


@pytest.mark.parametrize(
    ("svm", "data"),
    [
        (SVC(), IRIS),
        (SVC(C=100, kernel="linear"), IRIS),
        (SVC(C=1000, gamma=0.01, shrinking=False), CANCER),
        (SVC(kernel="poly", class_weight="balanced"), (sparse.csr_matrix(CANCER[0]), CANCER[1])),
        (SVC(kernel="sigmoid"), CANCER),
        (NuSVC(nu=0.2), IRIS),
        (NuSVC(nu=0.1, kernel="linear"), CANCER),
        (SVR(C=100), DIABETES),
        (SVR(kernel="linear", C=10), DIABETES),
        (NuSVR(C=10), DIABETES),
        (OneClassSVM(nu=0.3), DIABETES),
    ],
    ids=shown,
)
def test_a_limit_above_what_was_used_does_nothing(svm: Any, data: tuple[Any, Any]) -> None:
    X, y = data
    rule = rule_of(Ceiling, svm)
    high = clone(svm).fit(X, y)  # no limit
    reached = int(rule.reached(high))
    assert reached > 10
    wanted = predictions(high, X)
    for limit in (reached + 1, 10 * reached):
        low = clone(svm).set_params(max_iter=limit).fit(X, y)
        assert_predicts(low, X, wanted, limit)
        for name in ("dual_coef_", "intercept_", "support_", "n_iter_"):
            assert_same_bits(getattr(low, name), getattr(high, name), name)
        assert rule.reached(low) == reached
    # the limit that is used up stops it, and it ends in another way
    with pytest.warns(ConvergenceWarning):
        clone(svm).set_params(max_iter=reached).fit(X, y)


def test_a_machine_that_its_limit_stopped_claims_nothing_below() -> None:
    rule = rule_of(Ceiling, SVC())
    with pytest.warns(ConvergenceWarning):
        assert rule.reached(SVC(max_iter=3).fit(*CANCER)) >= 3
    with pytest.warns(ConvergenceWarning):
        assert rule.reached(SVC(max_iter=3).fit(*IRIS)) >= 3


def test_machines_that_tell_no_iterations_claim_nothing() -> None:
    """Probabilities are had by five machines more, each limited too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for svm in (SVC(probability=True, random_state=0), NuSVC(probability=True, random_state=0)):
            assert rule_of(Ceiling, svm).reached(svm.fit(*CANCER)) == math.inf


def test_what_is_no_limit_is_left_alone() -> None:
    rule = rule_of(Ceiling, SVC())
    for value in (0, -2, None, 10.0, "10", True, 2**31, 10**400, math.inf):
        assert rule.height(value) is None
    assert rule.height(-1) == rule.height(np.int64(-1)) == math.inf
    assert rule.height(7) == 7.0
