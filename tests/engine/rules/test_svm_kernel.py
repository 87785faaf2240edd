"""The proof of UnusedByKernel."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import scale
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_predicts, assert_same_predictions, predictions, rule_of, shown
from tests.engine.versions import warns_since
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.rules import Inert

IRIS = load_iris(return_X_y=True)
CANCER = (scale(load_breast_cancer().data[:200]), load_breast_cancer().target[:200])
DIABETES = tuple(part[:150] for part in load_diabetes(return_X_y=True))
VALUES: dict[str, list[Any]] = {
    "gamma": ["scale", "auto", 0.0, 0.1, 7, np.float32(2.5)],
    "degree": [3, 0, 5, np.int64(2), 2**31 - 1],
    "coef0": [0.0, -1, 2.5, 1e200],
    "cache_size": [200, 1e-9, 0.01, 5000],
}
LOOKED_AT = {
    "linear": set[str](),
    "precomputed": set[str](),
    "rbf": {"gamma"},
    "sigmoid": {"gamma", "coef0"},
    "poly": {"gamma", "degree", "coef0"},
}


def key(svm: Any) -> Any:
    """What the engine compares."""
    return of_estimator(svm, instead=rule_of(Inert, svm).normal_form(svm))


@pytest.mark.alike
@pytest.mark.parametrize("kernel", sorted(LOOKED_AT))
@pytest.mark.parametrize(
    ("svm", "data"),
    [
        (SVC(C=3), IRIS),
        (SVC(class_weight="balanced", break_ties=True, decision_function_shape="ovr"), IRIS),
        (SVC(decision_function_shape="ovo", shrinking=False), CANCER),
        (NuSVC(nu=0.3), CANCER),
        (SVR(), DIABETES),
        (NuSVR(nu=0.2), DIABETES),
        (OneClassSVM(nu=0.2), DIABETES),
    ],
    ids=shown,
)
def test_a_kernel_does_not_look_at_the_parameters_of_another(svm: Any, data: tuple[Any, Any], kernel: str) -> None:
    X, y = data
    X = rbf_kernel(X) if kernel == "precomputed" else X
    first = clone(svm).set_params(kernel=kernel)
    plain = clone(first).fit(X, y)
    wanted = predictions(plain, X)
    for name, values in VALUES.items():
        for value in values[1:]:
            other = clone(first).set_params(**{name: value})
            assert (key(other) == key(first)) == (name not in LOOKED_AT[kernel]), name
            if name not in LOOKED_AT[kernel]:
                assert_predicts(other.fit(X, y), X, wanted, f"{name}={value}")
                assert_same_bits(other.dual_coef_, plain.dual_coef_)
                assert_same_bits(other.support_, plain.support_)


def test_sparse_rows_and_probabilities_do_not_look_at_them_either() -> None:
    X, y = CANCER
    for rows in (X, sparse.csr_matrix(X)):
        for kernel, values in (
            ("linear", {"gamma": 9.0, "degree": 7, "coef0": 3.0}),
            ("rbf", {"degree": 7, "coef0": 3.0}),
        ):
            with warns_since((1, 9), "`probability` parameter was deprecated"):
                one, other = (
                    SVC(kernel=kernel, probability=True, random_state=0, **each).fit(rows, y)
                    for each in ({}, {"cache_size": 0.001, **values})
                )
            assert key(clone(one)) == key(clone(other))
            assert_same_predictions(other, one, rows)


def test_values_that_scikit_learn_refuses_are_not_taken_for_others() -> None:
    refused: dict[str, list[Any]] = {
        "gamma": [-1, -0.5, "some", None, float("nan"), float("inf"), 10**400, [1.0], True],
        "degree": [-1, 2.0, None, "3", 2**31, True],
        "coef0": [None, "0", float("inf"), float("nan"), 10**400],
        "cache_size": [0, -1, None, "200", float("inf"), 1e300],
    }
    for kernel, (name, values) in product(("linear", "rbf"), refused.items()):
        svm = SVC(kernel=kernel)
        for value in values:
            assert key(clone(svm).set_params(**{name: value})) != key(svm), (name, value)


def test_parameters_of_an_unknown_kernel_count() -> None:
    for kernel in (rbf_kernel, "nonsense", None, ["linear"]):
        svm = SVC(kernel=kernel)
        for name, values in VALUES.items():
            assert key(clone(svm).set_params(**{name: values[1]})) != key(svm)
    assert key(SVC(C=1.0, kernel="linear")) != key(SVC(C=2.0, kernel="linear"))
    assert key(SVC(kernel="linear")) != key(SVC(kernel="rbf"))
