"""Which fits are repeatable: what is said to draw nothing gives the same bits twice, unseeded."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from tests.engine.bits import assert_same_bits
from tests.engine.rules.proof import shown
from tests.engine.versions import SKLEARN
from tuningjob.engine.arrays import shape_of
from tuningjob.engine.seeds import is_repeatable, pca_solver

X, y = make_classification(300, 8, n_informative=4, random_state=0)
X = np.round(X * 2) / 2  # equal values: ties would show what is drawn


@pytest.mark.parametrize(
    "estimator",
    [
        PCA(3),
        PCA(svd_solver="full"),
        LogisticRegression(),
        LogisticRegression(solver="newton-cg"),
        Ridge(),
        RidgeClassifier(),
        Lasso(0.1),
        ElasticNet(0.1),
        SVC(),
        NuSVC(),
        LinearSVC(dual=False),
        HistGradientBoostingClassifier(max_iter=5),
        HistGradientBoostingRegressor(max_iter=5),
        QuantileTransformer(n_quantiles=20),
        KBinsDiscretizer(**({"quantile_method": "averaged_inverted_cdf"} if SKLEARN >= (1, 7) else {})),
        StackingClassifier([("ridge", RidgeClassifier())], final_estimator=LogisticRegression(), cv=3),
    ],
    ids=shown,
)
def test_what_is_said_to_draw_nothing_gives_the_same_bits_unseeded(estimator: Any) -> None:
    assert is_repeatable(estimator, X.shape)
    fits = [clone(estimator).fit(X, y) for _ in range(4)]
    answer = "predict" if hasattr(estimator, "predict") else "transform"
    for fit in fits[1:]:
        assert_same_bits(getattr(fit, answer)(X), getattr(fits[0], answer)(X))


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(),
        RandomForestClassifier(),
        RandomForestClassifier(random_state=np.random.RandomState(0)),
        SGDClassifier(),
        LogisticRegression(solver="saga"),
        Lasso(selection="random"),
        LinearSVC(),
        PCA(svd_solver="randomized"),
        HistGradientBoostingClassifier(early_stopping=True),
        HistGradientBoostingClassifier(max_features=0.5),
        BaggingClassifier(SVC()),
        Pipeline([("pca", PCA(2, svd_solver="arpack")), ("svc", SVC())]),
        StackingClassifier([("tree", DecisionTreeClassifier())]),
    ],
    ids=shown,
)
def test_what_draws_unseeded_is_not_repeatable(estimator: Any) -> None:
    assert not is_repeatable(estimator, X.shape)


def test_the_shape_of_sparse_rows_says_nothing_of_the_solver() -> None:
    assert shape_of(X) == X.shape
    assert shape_of(sparse.csr_matrix(X)) is None
    assert not is_repeatable(PCA(2), shape_of(sparse.csr_matrix(X)))


def test_an_ensemble_seeds_what_is_within_it() -> None:
    assert is_repeatable(BaggingClassifier(DecisionTreeClassifier(), random_state=0))
    assert is_repeatable(RandomForestClassifier(random_state=np.int64(3)))


SMALL = [
    (components, shape)
    for components in (None, 1, 2, 4, 7, 0.5, "mle")
    for shape in ((300, 8), (60, 8), (20, 30), (600, 70), (501, 60))
    if components != "mle" or shape[0] >= shape[1]
]


@pytest.mark.slow
@pytest.mark.parametrize(("components", "shape"), [*SMALL, (2, (12_000, 1_100))])
def test_the_solver_of_pca_is_told_from_the_shape(components: Any, shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=(shape[0], shape[1]))
    fitted = PCA(components, random_state=0).fit(rows)
    assert pca_solver(PCA(components), shape) == fitted._fit_svd_solver
