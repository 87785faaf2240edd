"""Whatever is searched, the engine's results are scikit-learn's to the bit.

A quick profile runs with the other tests; ``TUNINGJOB_EXAMPLES=2000`` runs as many as it says.
"""

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, SelectPercentile, f_classif, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

import tuningjob
from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.engine.test_pruned_search import assert_same_winner

pytestmark = pytest.mark.slow

LOKYS_OWN = "loky, not forked"
EXAMPLES = int(os.environ.get("TUNINGJOB_EXAMPLES", "8"))
Space = dict[str, list[Any]]
# None: in this process. Those of loky are forks where nothing has threads: see the test of them.
BACKENDS = [None, None, None, "loky", LOKYS_OWN, "threading", "multiprocessing", "sequential"]
NEIGHBORS: Space = {
    "n_neighbors": [1, 2, 3, 5, 8, 400],
    "weights": ["uniform", "distance"],
    "p": [1, 2],
    "metric": ["minkowski", "euclidean", "manhattan", "chebyshev"],
    "algorithm": ["auto", "brute", "kd_tree"],
    "leaf_size": [1, 30],
}
NETWORK: Space = {
    "solver": ["lbfgs", "sgd", "adam"],
    "learning_rate": ["constant", "adaptive", "invscaling"],
    "learning_rate_init": [0.001, 0.1],
    "momentum": [0.0, 0.9],
    "power_t": [0.5, 0.1, -1],
    "early_stopping": [True, False],
    "batch_size": ["auto", 9],
    "beta_1": [0.5, 0.9],
}
DESCENT: Space = {
    "penalty": ["l1", "l2", "elasticnet", None],
    "l1_ratio": [0.1, 0.9, None],
    "learning_rate": ["optimal", "constant", "invscaling"],
    "eta0": [0.01, 0.1],
    "power_t": [0.1, 0.5],
    "epsilon": [0.1, 1.0],
}
WEIGHTS: Space = {"weights": [None, [1, 2], [0.5, 0.1], [1, 2, 3]]}
TREE: Space = {
    "max_depth": [None, 1, 2, 3, 12, 30],
    "min_samples_leaf": [1, 2, 4, 0.1],
    "min_samples_split": [2, 3, 5, 8, -1],
    "max_leaf_nodes": [None, 2, 3, 5, 12, 40, 1],
    "ccp_alpha": [0.0, 0.001, 0.02, 0.5],
}
FOREST: Space = {"n_estimators": [1, 2, 5, 9], **TREE, "max_features": ["sqrt", 0.5, None], "bootstrap": [True, False]}
BOOSTING: Space = {
    "n_estimators": [1, 3, 7, 12],
    "learning_rate": [0.1, 1.0],
    "subsample": [0.5, 1.0],
    "max_depth": [1, 3],
}
HIST: Space = {
    "max_iter": [1, 2, 6, 11],
    "learning_rate": [0.1, 0.5],
    "max_leaf_nodes": [3, 7],
    "early_stopping": [True, False],
}
SVM: Space = {
    "kernel": ["linear", "rbf", "poly", "sigmoid"],
    "C": [0.1, 1, 10.0],
    "gamma": ["scale", "auto", 0.1],
    "degree": [1, 2, 3],
    "coef0": [0.0, 1.0],
    "max_iter": [-1, 5, 1_000],
}
ALPHAS: Space = {"alpha": [0.001, 0.1, 1, 10.0, 1e3, -1.0], "fit_intercept": [True, False]}

CLASSIFIERS: list[tuple[Any, Space]] = [
    (RandomForestClassifier(random_state=0), {**FOREST, "criterion": ["gini", "entropy", "log_loss"]}),
    (ExtraTreesClassifier(random_state=1), FOREST),
    (DecisionTreeClassifier(random_state=0), {**TREE, "max_features": [None, 1]}),
    (ExtraTreeClassifier(random_state=0), {**TREE, "splitter": ["random", "best"]}),
    (GradientBoostingClassifier(random_state=0), BOOSTING),
    (GradientBoostingClassifier(random_state=0, n_iter_no_change=2), BOOSTING),
    (HistGradientBoostingClassifier(random_state=0, min_samples_leaf=5), HIST),
    (AdaBoostClassifier(random_state=0), {"n_estimators": [1, 3, 6, 10], "learning_rate": [0.5, 1.0]}),
    (
        BaggingClassifier(random_state=0),
        {"n_estimators": [1, 2, 5], "max_samples": [0.5, 1.0], "max_features": [0.5, 1.0]},
    ),
    (KNeighborsClassifier(), NEIGHBORS),
    (
        LogisticRegression(),
        {
            "C": [0.01, 1, 100.0],
            "max_iter": [2, 30, 100, 500],
            "solver": ["lbfgs", "newton-cg", "saga"],
            "penalty": ["l2", None, "deprecated"],
            "random_state": [0, 1],
        },
    ),
    (SVC(), SVM),
    (SVC(random_state=0, probability=False), SVM),
    (LinearSVC(random_state=0), {"C": [0.1, 1.0], "max_iter": [20, 1_000, 2_000]}),
    (
        SGDClassifier(random_state=0),
        {"alpha": [1e-4, 1e-2], "max_iter": [3, 100, 1_000], "loss": ["hinge", "log_loss"], **DESCENT},
    ),
    (MLPClassifier([3], max_iter=5, random_state=0), NETWORK),
    (MultinomialNB(), {"alpha": [0.0, 0.1, 1.0, -1.0]}),
    (BernoulliNB(), {"alpha": [0.1, 1, 1e-12], "force_alpha": [True, False], "binarize": [0.0, 0.5]}),
    (
        VotingClassifier([("tree", DecisionTreeClassifier(max_depth=2, random_state=0)), ("bayes", GaussianNB())]),
        {**WEIGHTS, "voting": ["hard", "soft"], "tree__max_depth": [1, 2]},
    ),
    (
        StackingClassifier(
            [("tree", DecisionTreeClassifier(max_depth=2, random_state=0)), ("bayes", GaussianNB())],
            LogisticRegression(),
            cv=2,
        ),
        {"final_estimator__C": [0.1, 1.0, -1.0], "tree__max_depth": [1, 2], "passthrough": [True, False]},
    ),
    (RidgeClassifier(), ALPHAS),
    (GaussianNB(), {"var_smoothing": [1e-9, 1e-3, 1.0]}),
    (LinearDiscriminantAnalysis(), {"solver": ["svd", "lsqr"], "tol": [1e-4, 1e-2]}),
    (DummyClassifier(random_state=0), {"strategy": ["prior", "stratified", "uniform"]}),
]
REGRESSORS: list[tuple[Any, Space]] = [
    (RandomForestRegressor(random_state=0), FOREST),
    (ExtraTreesRegressor(random_state=0), FOREST),
    (DecisionTreeRegressor(random_state=0), {**TREE, "ccp_alpha": [0.0, 0.01, 10.0]}),
    (ExtraTreeRegressor(random_state=0), {**TREE, "ccp_alpha": [0.0, 0.01, 10.0]}),
    (GradientBoostingRegressor(random_state=0), {**BOOSTING, "loss": ["squared_error", "huber"]}),
    (HistGradientBoostingRegressor(random_state=0, min_samples_leaf=5), HIST),
    (AdaBoostRegressor(random_state=0), {"n_estimators": [1, 3, 6], "loss": ["linear", "square"]}),
    (BaggingRegressor(random_state=0), {"n_estimators": [1, 2, 5], "max_samples": [0.5, 1.0]}),
    (KNeighborsRegressor(), NEIGHBORS),
    (Ridge(), {**ALPHAS, "solver": ["auto", "cholesky", "svd"]}),
    (Lasso(), {"alpha": [0.001, 0.1, 1.0], "max_iter": [2, 100, 1_000]}),
    (ElasticNet(), {"alpha": [0.01, 1.0], "l1_ratio": [0.2, 0.8], "max_iter": [3, 1_000]}),
    (SVR(), SVM),
    (MLPRegressor([3], max_iter=5, random_state=0), NETWORK),
    (SGDRegressor(random_state=0), {"alpha": [1e-4, 1e-2], "loss": ["squared_error", "huber"], **DESCENT}),
    (VotingRegressor([("ridge", Ridge()), ("near", KNeighborsRegressor())]), {**WEIGHTS, "ridge__alpha": [0.1, 1.0]}),
]
TRANSFORMERS: list[tuple[Any, Space]] = [
    (StandardScaler(), {"with_mean": [True, False], "with_std": [True, False]}),
    (MinMaxScaler(), {"feature_range": [(0, 1), (-1, 1)]}),
    (PCA(svd_solver="full"), {"n_components": [1, 2, 3, None, 0.9, 99], "whiten": [True, False]}),
    (PCA(random_state=0), {"n_components": [1, 2, 4]}),
    (PCA(svd_solver="covariance_eigh"), {"n_components": [1, 2, 4]}),
    (TruncatedSVD(random_state=0), {"n_components": [1, 2]}),
    (PolynomialFeatures(2), {"degree": [1, 2], "interaction_only": [True, False]}),
    (QuantileTransformer(n_quantiles=10, random_state=0), {"output_distribution": ["uniform", "normal"]}),
    (SimpleImputer(), {"strategy": ["mean", "median"]}),
    (
        SelectFromModel(ExtraTreesRegressor(3, random_state=0)),
        {"threshold": ["mean", "median", 0.1, None], "max_features": [1, 2, None]},
    ),
    (RFE(ExtraTreesRegressor(2, random_state=0)), {"n_features_to_select": [1, 2, None, 0.9, 99], "step": [1, 2]}),
    ("passthrough", {}),
]
SCORERS: dict[bool, list[Any]] = {
    True: [None, "accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr", ["accuracy", "balanced_accuracy"]],
    False: [None, "r2", "neg_mean_absolute_error", {"mae": make_scorer(mean_absolute_error, greater_is_better=False)}],
}


@dataclass(frozen=True)
class Data:
    """A small data set, told by how it is made: on a grid there are ties, and equal rows."""

    seed: int
    samples: int
    features: int
    on_a_grid: bool
    quantiles: tuple[float, ...]
    form: str

    def make(self, *, classes: bool) -> tuple[Any, Any]:
        rng = np.random.default_rng(self.seed)
        X: Any = rng.normal(size=(self.samples, self.features))
        if self.on_a_grid:
            X = np.round(X * 2) / 2
        signal = X[:, 0] + 0.5 * X[:, 1] + 0.3 * rng.normal(size=self.samples)
        y: Any = np.digitize(signal, np.quantile(signal, self.quantiles)) if classes else signal
        match self.form:
            case "float32":
                X = X.astype(np.float32)
            case "fortran":
                X = np.asfortranarray(X)
            case "sparse":
                X = sparse.csr_matrix(np.where(np.abs(X) < 0.4, 0, X))
            case "frame":
                X, y = pd.DataFrame(X, columns=[f"f{i}" for i in range(self.features)]), pd.Series(y)
            case "int32":
                X, y = X.astype(np.float32), y.astype(np.int32 if classes else np.float32)
            case "strings" if classes:
                y = np.array(["no", "yes", "maybe"])[y]
            case "ints":
                X = np.round(X * 3).astype(np.int64)
        return X, y


FORMS = ["plain", "plain", "float32", "fortran", "sparse", "frame", "strings", "ints", "int32"]
DATA = st.builds(
    Data,
    seed=st.integers(0, 2**16),
    samples=st.integers(24, 70),
    features=st.integers(2, 6),
    on_a_grid=st.booleans(),
    quantiles=st.sampled_from([(0.5,), (0.3, 0.7)]),
    form=st.sampled_from(FORMS),
)


@st.composite
def grids(draw: st.DrawFn, space: Space, prefix: str = "", most: int = 3) -> Space:
    """Some of a space's parameters, some of their values."""
    names = draw(st.lists(st.sampled_from(sorted(space)), unique=True, max_size=most)) if space else []
    values = {name: st.lists(st.sampled_from(space[name]), unique_by=repr, min_size=1, max_size=3) for name in names}
    return {prefix + name: draw(values[name]) for name in names}


def _foreign() -> Any:
    # seconds of imports, which the fast suite does without
    importlib.import_module("tests.lone_catboost")
    return importlib.import_module("tests.engine.foreign")


@st.composite
def estimators(draw: st.DrawFn, *, classes: bool, foreign: bool = False) -> tuple[Any, Any]:
    """An estimator and its grid: alone, at the end of a pipeline, or with steps replaced by others."""
    catalog = CLASSIFIERS if classes else REGRESSORS
    transformers = TRANSFORMERS
    if foreign:
        others = _foreign()
        catalog = catalog[:9] + 2 * (others.FOREIGN_CLASSIFIERS if classes else others.FOREIGN_REGRESSORS)
        transformers = TRANSFORMERS[:3] + others.FOREIGN_TRANSFORMERS
    final, space = draw(st.sampled_from(catalog))
    shape = draw(st.sampled_from(["alone", "alone", "pipeline", "pipeline", "union", "columns", "replaced", "nested"]))
    if shape == "alone":
        return final, draw(grids(space))
    first, first_space = draw(st.sampled_from(transformers))
    second, second_space = draw(st.sampled_from(transformers))
    if shape == "union":
        score = f_classif if classes else f_regression
        first = FeatureUnion([("pca", PCA(svd_solver="full")), ("best", SelectKBest(score))])
        first_space = {"pca__n_components": [1, 2], "best__k": [1, 2, "all"]}
    elif shape == "columns" and not foreign:
        first = ColumnTransformer([("a", StandardScaler(), [0]), ("b", MinMaxScaler(), [1])], remainder="passthrough")
        first_space = {"a__with_mean": [True, False], "b__feature_range": [(0, 1), (0, 2)]}
    elif shape == "nested":
        first = Pipeline([("x", first), ("y", SelectPercentile(f_classif if classes else f_regression))])
        first_space = {"y__percentile": [30, 60, 100], **{f"x__{name}": values for name, values in first_space.items()}}
    elif foreign and shape == "columns":
        first = ColumnTransformer([("a", first, [0]), ("b", second, [1])], remainder="passthrough")
        first_space = {f"a__{name}": values for name, values in first_space.items()}
    pipeline = Pipeline([("first", first), ("second", second), ("model", final)])
    grid = {
        **draw(grids(first_space, "first__", 2)),
        **draw(grids(second_space, "second__", 1)),
        **draw(grids(space, "model__", 2)),
    }
    if shape == "replaced":
        other, other_space = draw(st.sampled_from(catalog))
        more = {**draw(grids(other_space, "model__", 2)), "model": [other], "first": ["passthrough", StandardScaler()]}
        return pipeline, [grid, more]
    return pipeline, grid


@st.composite
def splitters(draw: st.DrawFn, *, classes: bool) -> Any:
    """Numbers of folds, and splitters with seeds."""
    choices: list[Any] = [
        2,
        3,
        KFold(2, shuffle=True, random_state=1),
        ShuffleSplit(2, random_state=0),
        GroupKFold(2),
        LeaveOneGroupOut(),
    ]
    if classes:
        choices += [StratifiedKFold(2), RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0)]
    return draw(st.sampled_from(choices))


class OnlyIterable:
    """Splits that can be iterated, and nothing else."""

    def __init__(self, splits: Sequence[Any]) -> None:
        self._splits = splits

    def __iter__(self) -> Iterator[Any]:
        return iter(self._splits)


def odd_splits(samples: int) -> list[Any]:
    """Iterables of pairs of what selects rows."""
    rows, half = np.arange(samples), samples // 2
    return [
        [(range(half), range(half, samples)), (range(half, samples), range(half))],
        [(rows % 3 == 0, rows % 3 > 0)],
        [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])],
        OnlyIterable([(rows[::2], rows[1::2])]),
        [(rows[:half].tolist(), rows[half:][::-1]), (rows[half:], rows[:half])],
    ]


SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def any_search(data: st.DataObject, *, foreign: bool, n_jobs: int, backend: str | None = None) -> None:
    """One search, drawn and held to scikit-learn's."""
    classes = data.draw(st.booleans())
    X, y = data.draw(DATA).make(classes=classes)
    estimator, grid = data.draw(estimators(classes=classes, foreign=foreign))
    samples = X.shape[0]
    cv = data.draw(st.one_of(splitters(classes=classes), st.sampled_from(odd_splits(samples) if foreign else [2])))
    # draws from global generators are scikit-learn's in one process alone
    alone = n_jobs == 1
    scoring = data.draw(st.sampled_from(SCORERS[classes] + (_foreign().ODD_SCORERS[classes, alone] if foreign else [])))
    fit_params: dict[str, Any] = {}
    if isinstance(cv, GroupKFold | LeaveOneGroupOut):
        fit_params["groups"] = np.arange(samples) % 3
    if data.draw(st.integers(0, 4)) == 0:
        name = "model__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
        fit_params[name] = np.linspace(0.5, 2, samples)
    multi = isinstance(scoring, list | dict)
    with contextlib.ExitStack() as chosen:
        if backend is not None:
            chosen.enter_context(joblib.parallel_config(backend=backend.split(",")[0]))
        if backend == LOKYS_OWN:
            chosen.enter_context(patch("tuningjob.engine.search_cv.may_fork", return_value=False))
        assert_same_search(
            estimator,
            grid,
            X,
            y,
            n_jobs=n_jobs,
            cv=cv,
            scoring=scoring,
            refit=next(iter(scoring)) if multi else data.draw(st.booleans()),
            return_train_score=data.draw(st.booleans()),
            error_score=data.draw(st.sampled_from([np.nan, np.nan, np.nan, -1.0, "raise"])),
            fit_params=fit_params,
        )


@SETTINGS
@given(st.data())
def test_any_search_is_scikit_learns_to_the_bit(data: st.DataObject) -> None:
    any_search(data, foreign=False, n_jobs=data.draw(st.sampled_from([1, 1, 1, 2])))


BOUNDED = {
    True: [None, "accuracy", "balanced_accuracy", "neg_log_loss", "f1_macro", ["f1_macro", "accuracy"]],
    False: [None, "r2", "neg_mean_squared_error", "neg_median_absolute_error", ["r2", "neg_root_mean_squared_error"]],
}


@SETTINGS
@given(st.data())
def test_of_any_search_that_prunes_for_certain_the_winner_is_scikit_learns_to_the_bit(data: st.DataObject) -> None:
    classes = data.draw(st.booleans())
    X, y = data.draw(DATA).make(classes=classes)
    estimator, grid = data.draw(estimators(classes=classes, foreign=False))
    scoring = data.draw(st.sampled_from(BOUNDED[classes]))
    cv = data.draw(
        st.sampled_from([2, 3, 5, 8, KFold(4, shuffle=True, random_state=1), ShuffleSplit(6, random_state=0)])
    )
    settings = {
        "cv": cv,
        "scoring": scoring,
        "refit": scoring[0] if isinstance(scoring, list) else True,
        "return_train_score": data.draw(st.booleans()),
        "error_score": data.draw(st.sampled_from([np.nan, np.nan, np.nan, -1.0])),
    }
    theirs = fitted_or_raised(sklearn.model_selection.GridSearchCV(estimator, grid, **settings), X, y)
    n_jobs = data.draw(st.sampled_from([None, None, None, 2]))
    pruning = tuningjob.GridSearchCV(estimator, grid, n_jobs=n_jobs, prune="certain", **settings)
    ours = fitted_or_raised(pruning, X, y)
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), f"{ours!r} is not {theirs!r}"
    else:
        assert_same_winner(ours, theirs, X)


def fitted_or_raised(search: Any, X: Any, y: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return search.fit(X, y)
        except Exception as error:  # noqa: BLE001  of any estimator
            return error


@in_a_fresh_process  # CatBoost starts a thread that never ends: pytest's own process could fork nothing any more
def test_any_search_of_what_is_not_known_is_scikit_learns_to_the_bit() -> None:
    @settings(SETTINGS, database=None)
    @given(st.data())
    def search_of_what_is_not_known(data: st.DataObject) -> None:
        backend = data.draw(st.sampled_from(BACKENDS))
        any_search(data, foreign=True, n_jobs=1 if backend is None else 2, backend=backend)

    search_of_what_is_not_known()


@in_a_fresh_process
def test_any_search_in_forks_is_scikit_learns_to_the_bit() -> None:
    @settings(SETTINGS, max_examples=min(max(1, EXAMPLES // 4), 25), database=None)
    @given(st.data())
    def search_in_forks(data: st.DataObject) -> None:
        any_search(data, foreign=data.draw(st.booleans()), n_jobs=2)

    search_in_forks()


def test_clusterers_and_outlier_detectors_need_no_y() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    assert_same_search(KMeans(random_state=0, n_init=2), {"n_clusters": [2, 3], "max_iter": [5, 300]}, X, None, cv=3)
    detector = IsolationForest(random_state=0)
    scoring = lambda estimator, X: float(estimator.score_samples(X).mean())  # noqa: E731
    assert_same_search(detector, {"n_estimators": [3, 6, 9]}, X, None, cv=3, scoring=scoring)
