"""The list of what may be remembered by its input, held to it: each class answers twice alike, draws nothing and changes nothing."""

import importlib
import pickle
import random
import warnings
from types import FunctionType
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.cluster import FeatureAgglomeration, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, f_regression, mutual_info_classif
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring, fbeta_score, get_scorer, get_scorer_names, make_scorer, silhouette_score
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.neighbors import BallTree, KDTree
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.estimator_checks import _enforce_estimator_tags_X

from tests.engine import odd
from tests.engine.bits import assert_same_bits
from tuningjob.engine.arrays import freeze
from tuningjob.engine.known import can_share, is_a_scorer, is_known, is_known_scorer, known_steps, may_share, names

ANSWERS = ("transform", "predict", "predict_proba", "decision_function", "score_samples")
TEXTS = ["one two three", "two three four five", "five six one", "six", "one one two"] * 8
OF_TEXT = {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer", "DictVectorizer", "FeatureHasher"}


def data_for(name: str, estimator: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y: Any = np.arange(40) % 2 if not is_regressor(estimator) else rng.uniform(1, 2, 40)
    if name in OF_TEXT:
        if name in {"DictVectorizer", "FeatureHasher"}:
            return [{word: len(word) for word in text.split()} for text in TEXTS], y
        return TEXTS, y
    X = rng.uniform(0.5, 3.0, size=(40, 4)).round(2)
    if name == "CategoricalNB":
        X = np.floor(X)
    if name.startswith(("MultiTask", "MultiOutput")) or name.endswith("Chain"):
        y = np.column_stack([y, y[::-1]])
    if name == "IsotonicRegression":
        return X[:, 0], y
    if name == "KernelCenterer":
        X = X @ X.T
    return _enforce_estimator_tags_X(estimator, X), y


def find(module: str, name: str) -> Any:
    found = getattr(importlib.import_module(module), name, None)
    return found if found is not None else getattr(importlib.import_module(f"{module}.text"), name)


def state(value: Any, depth: int = 6) -> Any:
    """All that an estimator holds, as far as an answer could depend on it."""
    if isinstance(value, KDTree | BallTree):
        return joblib.hash(value.get_arrays())  # it counts its queries, besides
    if isinstance(value, list | tuple):
        return [state(item, depth) for item in value]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, value.tobytes()  # a spline lays its numbers out anew
    if depth and hasattr(value, "__dict__") and not isinstance(value, type | FunctionType):
        return {name: state(item, depth - 1) for name, item in vars(value).items() if name != "_stop_words_id"}
    return joblib.hash(value) if depth else None


def of_the_world() -> Any:
    return pickle.dumps((np.random.get_state(), random.getstate()))


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), names())
def test_a_second_call_gives_the_same_draws_nothing_and_changes_nothing(module: str, name: str) -> None:
    estimator = next(iter(_construct_instances(find(module, name))))
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    X, y = data_for(name, estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = clone(estimator).fit(freeze(X), freeze(y))
        asked = [method for method in ANSWERS if hasattr(fitted, method)]
        assert asked or name in {"MissingIndicator", "LocalOutlierFactor"}
        for method in asked:
            before = state(fitted), of_the_world()
            first, second = getattr(fitted, method)(X), getattr(fitted, method)(X)
            assert_same_bits(first, second, f"{name}.{method}")
            assert (state(fitted), of_the_world()) == before


def test_what_is_known_is_known_all_the_way() -> None:
    scaler, forest = StandardScaler(), RandomForestClassifier(random_state=0)
    known = [
        forest,
        Pipeline([("scale", scaler), ("pass", "passthrough"), ("forest", forest)]),
        ColumnTransformer([("a", scaler, [0]), ("b", PCA(), slice(1, 3))], remainder=scaler),
        FunctionTransformer(np.log1p),
        SelectKBest(f_regression, k=2),
        IterativeImputer(random_state=0),
    ]
    unknown = [
        odd.Owner(),
        Pipeline([("scale", scaler), ("model", odd.Centroids())]),
        ColumnTransformer([("a", scaler, [0]), ("b", odd.DrawingTransform(), [1])]),
        FunctionTransformer(lambda X: X),
        FunctionTransformer(np.add, kw_args={"out": np.zeros(3)}),
        FunctionTransformer(np.sort),
        SelectKBest(mutual_info_classif, k=2),
        IterativeImputer(sample_posterior=True, random_state=0),
        StandardScaler(copy=False),
        FrozenEstimator(StandardScaler()),
        FeatureAgglomeration(pooling_func=np.max),
        KMeans(init=np.zeros((2, 100_000))),
        SVC(kernel=lambda a, b: a @ b.T),
        LogisticRegression(class_weight={0: odd}),
    ]
    assert [is_known(estimator) for estimator in known] == [True] * len(known)
    assert [is_known(estimator) for estimator in unknown] == [False] * len(unknown)


def test_a_pipeline_is_shared_up_to_its_first_step_that_is_not_known() -> None:
    steps = [("a", StandardScaler()), ("b", "passthrough"), ("c", odd.DrawingTransform()), ("d", StandardScaler())]
    pipeline = Pipeline([*steps, ("model", LogisticRegression())])
    assert (known_steps(pipeline), may_share(pipeline)) == (2, True)
    assert not may_share(Pipeline([("b", "passthrough"), ("model", odd.Centroids())]))
    assert not may_share(Pipeline([("a", odd.DrawingTransform()), ("model", LogisticRegression())]))
    assert not may_share(Pipeline([("a", StandardScaler()), ("model", odd.Centroids(extra=np.zeros(10**6)))]))
    assert not can_share(odd.Centroids())
    assert not can_share(Pipeline([("a", StandardScaler()), ("model", odd.Centroids(extra=object()))]))


def test_scorers_are_known_by_what_they_do_with_an_estimator() -> None:
    estimator = LogisticRegression()
    ours = [get_scorer(name) for name in get_scorer_names()] + [
        check_scoring(estimator),
        make_scorer(fbeta_score, beta=2, average="macro"),
        _MultimetricScorer(scorers={"a": check_scoring(estimator), "b": get_scorer("f1")}),
    ]
    assert all(is_known_scorer(scorer) and is_a_scorer(scorer) for scorer in ours)
    of_predictions_alone = [make_scorer(odd.metric_that_draws), make_scorer(silhouette_score)]
    assert all(is_a_scorer(scorer) and not is_known_scorer(scorer) for scorer in of_predictions_alone)
    of_anything = [
        odd.scorer_that_fits_again,
        _MultimetricScorer(scorers={"a": get_scorer("f1"), "b": odd.scorer_that_writes}),
    ]
    assert not any(is_a_scorer(scorer) for scorer in of_anything)
