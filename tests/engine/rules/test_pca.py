"""The proof of PrincipalComponents."""

from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import assert_nested_transforms_are_plain, assert_same_layout, rule_of, shown
from tuningjob.engine.rules import NestedTransform

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIGITS = tuple(part[:900] for part in load_digits(return_X_y=True))
SMALL_DIGITS = tuple(part[:400] for part in DIGITS)
WIDE = make_classification(60, 90, random_state=0)


def widths(X: Any) -> list[dict[str, Any]]:
    most = min(X.shape)
    return [{"n_components": size} for size in (2, 1, most // 2, most - 1, most, None, np.int64(2))]


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(
    ("pca", "data"),
    [
        (PCA(svd_solver="full"), IRIS),
        (PCA(svd_solver="full"), DIGITS),
        (PCA(svd_solver="full"), WIDE),
        (PCA(svd_solver="covariance_eigh"), IRIS),
        (PCA(svd_solver="covariance_eigh"), CANCER),
        (PCA(svd_solver="covariance_eigh"), DIGITS),
        (PCA(), IRIS),  # auto: covariance_eigh
        (PCA(), SMALL_DIGITS),  # auto: full, as both sides are short
        (PCA(), WIDE),
    ],
    ids=shown,
)
def test_fewer_components_are_the_first_of_all(pca: Any, data: tuple[Any, Any], whiten: bool) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    pca = clone(pca).set_params(whiten=whiten)
    for laid_out in (
        np.ascontiguousarray,
        np.asfortranarray,
        lambda X: X.astype(np.float32),
        lambda X: (X * 9).astype(int),
    ):
        check(pca, laid_out(X), y, laid_out(X_test))


def check(pca: Any, X: Any, y: Any, X_test: Any) -> None:
    """Transformed rows, and all that was fitted; the engine's rows are read-only."""
    X.flags.writeable = False
    rule = rule_of(NestedTransform, pca)
    pairs = assert_nested_transforms_are_plain(pca, widths(X), X, y, X_test)
    common = rule.fit(clone(pca).set_params(n_components=3), X, y)
    for width, (_, plain) in zip(widths(X), pairs, strict=True):
        _, made = rule.derive(common, clone(pca).set_params(**width), X)
        assert vars(made).keys() == vars(plain).keys()
        for name, value in vars(plain).items():
            given = getattr(made, name)
            assert type(given) is type(value), name
            if isinstance(value, np.ndarray | np.generic):
                assert_same_bits(given, value, name)
                assert_same_layout(given, value)
            else:
                assert given == value, name
        Xt = plain.transform(X_test)
        assert_same_bits(made.inverse_transform(Xt), plain.inverse_transform(Xt))
        assert_same_bits(made.get_feature_names_out().tolist(), plain.get_feature_names_out().tolist())


@pytest.mark.parametrize("solver", ["full", "covariance_eigh"])
def test_whitened_components_are_the_same(solver: str) -> None:
    X, X_test, y, _ = train_test_split(*CANCER, random_state=0)
    both = [{"n_components": size, "whiten": whiten} for size in (3, None, 7) for whiten in (True, False)]
    for rows in (X, np.asfortranarray(X), X.astype(np.float32)):
        assert_nested_transforms_are_plain(PCA(svd_solver=solver), both, rows, y, X_test)
    assert not rule_of(NestedTransform, PCA()).applies(PCA(3, whiten="yes"), X)


def test_solvers_that_auto_chooses_by_the_number_are_not_mixed() -> None:
    X, X_test, y, _ = train_test_split(*DIGITS, random_state=0)
    X, X_test = X[:600, :63], X_test[:, :63]
    X = np.hstack([X, X[:, ::-1] + X])  # 126 columns: neither tall nor small, so that "auto" looks at the number
    X_test = np.hstack([X_test, X_test[:, ::-1] + X_test])
    rule = rule_of(NestedTransform, PCA())
    assert not rule.applies(PCA(5), X)  # randomized
    assert not rule.applies(PCA(100), X)
    assert_nested_transforms_are_plain(PCA(), [{"n_components": size} for size in (101, 126, None)], X, y, X_test)


def test_what_is_left_to_a_fit_of_its_own() -> None:
    X, _ = CANCER
    rule = rule_of(NestedTransform, PCA())
    assert rule.applies(PCA(3), X)
    for size in (0, -1, 31, 0.9, 3.0, "mle", True, "3"):
        assert not rule.applies(PCA(size), X), size
    for other in (
        PCA(3, svd_solver="randomized"),
        PCA(3, svd_solver="arpack"),
        PCA(3, svd_solver="nonsense"),
        PCA(3, copy=False),
    ):
        assert not rule.applies(other, X)
    for rows in (sparse.csr_matrix(X), X.tolist(), X[::2], X[:, ::2], X[0], X[None]):
        assert not rule.applies(PCA(1), rows)
    assert not rule.applies(PCA(3, svd_solver="covariance_eigh"), WIDE[0])
    assert not rule.applies(PCA(3).set_output(transform="pandas"), X)
    with sklearn.config_context(transform_output="pandas"):
        assert not rule.applies(PCA(3), X)
