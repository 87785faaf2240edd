"""What draws, counts, writes or keeps has scikit-learn's results, to the bit: it is not shared, or shared so that it cannot tell."""

import gc
import pickle
import time
import tracemalloc
import warnings
import weakref
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import tuningjob
from tests.engine import odd
from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.guard import GuardTripped

X, y = make_classification(90, 5, n_informative=4, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=0)
# few, because an imputer fits a model for each column that has holes
HOLED = np.where(np.random.RandomState(1).uniform(size=X.shape) < 0.2, np.nan, X)[::2, :3]
SEVERAL = ["accuracy", "roc_auc_ovr", "neg_log_loss"]
REGULARISATION = {"model__C": [0.01, 1.0]}


def logistic(*steps: Any, **settings: Any) -> Pipeline:
    named = [(f"step{number}", step) for number, step in enumerate(steps)]
    return Pipeline([*named, ("model", LogisticRegression())], **settings)


def scores_twice(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    return {"first": float(estimator.score(X, y)), "second": float(estimator.score(X, y))}


# --- what draws whenever it is asked


DRAWING: dict[str, Any] = {
    "an imputer": IterativeImputer(sample_posterior=True, random_state=0, max_iter=1),
    "an imputer in a union": FeatureUnion([("a", IterativeImputer(sample_posterior=True, random_state=0, max_iter=1))]),
    "an imputer of some columns": ColumnTransformer(
        [("a", IterativeImputer(sample_posterior=True, random_state=0, max_iter=1), [0, 1, 2])]
    ),
    "an imputer in a pipeline": Pipeline([("a", IterativeImputer(sample_posterior=True, random_state=0, max_iter=1))]),
}


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["accuracy", SEVERAL, scores_twice], ids=["one", "several", "twice"])
@pytest.mark.parametrize("step", DRAWING.values(), ids=DRAWING.keys())
def test_a_transformer_of_scikit_learns_that_draws_at_each_transform_wherever_it_is(step: Any, scoring: Any) -> None:
    settings: dict[str, Any] = {"cv": 2, "scoring": scoring, "refit": False, "return_train_score": True}
    assert_same_search(logistic(step), {"model__C": [0.01, 1.0]}, HOLED, y[::2], **settings)


@pytest.mark.slow
def test_a_transformer_of_scikit_learns_that_draws_at_each_transform() -> None:
    step = IterativeImputer(sample_posterior=True, random_state=0, max_iter=1)
    assert_same_search(logistic(step), {"model__C": [0.01, 1.0]}, HOLED, y[::2], cv=2, scoring=SEVERAL, refit=False)


@pytest.mark.slow
@pytest.mark.parametrize("scoring", [SEVERAL, scores_twice], ids=["several", "twice"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_transformer_of_ones_own_that_draws_at_each_transform(place: int, scoring: Any) -> None:
    steps = [StandardScaler(), MinMaxScaler()]
    steps.insert(place, odd.DrawingTransform())
    settings: dict[str, Any] = {"cv": 2, "scoring": scoring, "refit": False, "return_train_score": True}
    assert_same_search(logistic(*steps), REGULARISATION, X, y, **settings)


GLOBALLY: dict[str, Any] = {
    "a transformer": (logistic(StandardScaler(), odd.DrawingTransform(seed=None)), "accuracy"),
    "features chosen by what draws": (logistic(StandardScaler(), SelectKBest(mutual_info_classif, k=3)), "accuracy"),
    "a splitter within": (
        Pipeline([("scale", StandardScaler()), ("model", odd.Centroids("draws globally"))]),
        "accuracy",
    ),
    "a metric": (RandomForestClassifier(3, random_state=0), make_scorer(odd.metric_that_draws)),
    "a metric beside others": (
        logistic(StandardScaler()),
        {"a": "accuracy", "b": make_scorer(odd.metric_that_draws)},
    ),
    "a function": (
        logistic(FunctionTransformer(lambda X: X + np.random.normal(size=X.shape)), StandardScaler()),
        SEVERAL,
    ),
}
GRIDS: dict[type, Any] = {RandomForestClassifier: {"n_estimators": [1, 3, 2], "max_depth": [1, 2, None]}}


@pytest.mark.alike
@pytest.mark.parametrize("name", GLOBALLY)
def test_what_draws_from_numpys_global_generator_draws_in_scikit_learns_order(name: str) -> None:
    estimator, scoring = GLOBALLY[name]
    grid = GRIDS.get(type(estimator))
    if grid is None:
        grid = REGULARISATION if "model__C" in estimator.get_params() else {"model__shrink": [0.0, 0.1, 0.2]}
    found = []
    for search in (sklearn.model_selection.GridSearchCV, tuningjob.GridSearchCV):
        np.random.seed(0)
        found.append(search(estimator, grid, cv=3, scoring=scoring, refit=False, return_train_score=True).fit(X, y))
        found.append(np.random.uniform())
    theirs, their_next, ours, our_next = found
    for key, values in theirs.cv_results_.items():
        if "_score" in key and "time" not in key:
            np.testing.assert_array_equal(ours.cv_results_[key], values, key)
    assert our_next == their_next, "the generator is where scikit-learn leaves it"


def test_a_candidate_that_draws_unseeded_is_seen_before_anything_is_fitted() -> None:
    np.random.seed(0)
    grid = {"model": [LogisticRegression(), DecisionTreeClassifier(max_features=1)]}
    theirs = sklearn.model_selection.GridSearchCV(logistic(StandardScaler()), grid, cv=3, refit=False).fit(X, y)
    np.random.seed(0)
    ours = tuningjob.GridSearchCV(logistic(StandardScaler()), grid, cv=3, refit=False).fit(X, y)
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])


@pytest.mark.slow
def test_what_counts_over_all_of_its_instances_is_fitted_as_often_and_in_the_same_order() -> None:
    results = []
    for search in (sklearn.model_selection.GridSearchCV, tuningjob.GridSearchCV):
        odd.CountingTransform.fits = 0
        found = search(logistic(odd.CountingTransform()), REGULARISATION, cv=3, refit=False, scoring=SEVERAL).fit(X, y)
        results.append([found.cv_results_[f"mean_test_{name}"].tolist() for name in SEVERAL])
    assert results[0] == results[1]


# --- what changes what it is given


SCORERS = [
    odd.scorer_that_fits_again,
    odd.scorer_that_spoils_a_step,
    odd.scorer_that_writes,
    odd.scorer_that_pickles,
    odd.scorer_that_clones,
]


@pytest.mark.slow
@pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.__name__)
@pytest.mark.parametrize("alone", [True, False])
def test_a_scorer_may_do_anything_with_what_it_is_given(scorer: Any, *, alone: bool) -> None:
    scoring = scorer if alone else {"before": "accuracy", "odd": scorer, "after": "accuracy"}
    settings: dict[str, Any] = {"cv": 3, "scoring": scoring, "refit": False, "return_train_score": True}
    assert_same_search(logistic(StandardScaler()), REGULARISATION, X, y, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (RandomForestClassifier(random_state=0), {"n_estimators": [1, 3, 5]}),
        (AdaBoostClassifier(random_state=0), {"n_estimators": [1, 3, 5]}),
        (KNeighborsClassifier(), {"n_neighbors": [1, 3, 5]}),
    ],
)
@pytest.mark.parametrize("scorer", [odd.scorer_that_fits_again, odd.scorer_that_pickles])
def test_a_scorer_may_do_anything_where_one_fit_would_serve_several(estimator: Any, grid: Any, scorer: Any) -> None:
    settings: dict[str, Any] = {"cv": 3, "scoring": scorer, "refit": False, "return_train_score": True}
    assert_same_search(estimator, grid, X, y, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("several", [True, False])
def test_a_metric_may_write_into_labels_and_predictions(*, several: bool) -> None:
    writes = make_scorer(odd.metric_that_writes)
    scoring = {"a": "accuracy", "b": writes, "c": "accuracy"} if several else writes
    settings: dict[str, Any] = {"cv": 3, "scoring": scoring, "refit": False, "return_train_score": True}
    assert_same_search(RandomForestClassifier(random_state=0), {"n_estimators": [1, 3, 5]}, X, y, **settings)
    assert_same_search(logistic(StandardScaler()), REGULARISATION, X, y, **settings)


HOWS = [way for way in odd.ODD_WAYS if way != "scales weights"]
SCORINGS: list[Any] = [None, "accuracy", ["accuracy", "balanced_accuracy"]]
BEFORE: list[Any] = [(), (StandardScaler(),), ("passthrough",), (FunctionTransformer(),)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "scoring", "before"),
    # every pair of two of the three
    [
        (how, SCORINGS[(row + column) % 3], before)
        for row, how in enumerate(HOWS)
        for column, before in enumerate(BEFORE)
    ],
    ids=str,
)
def test_a_classifier_of_ones_own_predicts_what_it_likes_whatever_comes_before(
    how: str, scoring: Any, before: Any
) -> None:
    steps = [(str(number), step) for number, step in enumerate(before)]
    estimator: Any = Pipeline([*steps, ("model", odd.Centroids(how))]) if before else odd.Centroids(how)
    grid = {"model__shrink" if before else "shrink": [0.0, 0.3]}
    settings: dict[str, Any] = {"cv": 2, "scoring": scoring, "refit": False, "return_train_score": True}
    assert_same_search(estimator, grid, X, y.astype(np.int32), **settings)


@pytest.mark.parametrize("how", ["draws", "writes", "writes when fitted", "keeps its data", "a column"])
def test_a_classifier_of_ones_own_predicts_what_it_likes(how: str) -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", odd.Centroids(how))])
    settings: dict[str, Any] = {"cv": 2, "scoring": ["accuracy", "balanced_accuracy"], "refit": False}
    assert_same_search(
        pipeline, {"model__shrink": [0.0, 0.3]}, X, y.astype(np.int32), return_train_score=True, **settings
    )
    assert_same_search(odd.Centroids(how), {"shrink": [0.0, 0.3]}, X, y, return_train_score=True, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "frame"),
    # each of the three that write, first and last, of frames and of arrays
    [
        ([StandardScaler(copy=False), StandardScaler()], True),
        ([StandardScaler(), StandardScaler(copy=False)], False),
        ([MinMaxScaler(copy=False), StandardScaler()], False),
        ([StandardScaler(), MinMaxScaler(copy=False)], True),
        ([odd.WritingTransform(), StandardScaler()], True),
        ([odd.WritingTransform(), StandardScaler()], False),
        ([StandardScaler(), odd.WritingTransform()], False),
    ],
    ids=str,
)
def test_a_transformer_that_writes_into_its_data(steps: list[Any], *, frame: bool) -> None:
    data = pd.DataFrame(X) if frame else X
    settings: dict[str, Any] = {"cv": 2, "scoring": SEVERAL, "refit": False, "return_train_score": True}
    assert_same_search(logistic(*steps), REGULARISATION, data, y, **settings)


@pytest.mark.slow
def test_frames_between_steps_are_no_more_shared_than_arrays() -> None:
    pipeline = logistic(StandardScaler().set_output(transform="pandas"), odd.WritingTransform())
    settings: dict[str, Any] = {"cv": 2, "scoring": SEVERAL, "refit": False, "return_train_score": True}
    assert_same_search(pipeline, REGULARISATION, pd.DataFrame(X), y, **settings)


@pytest.mark.parametrize("piped", [True, False])
def test_weights_that_a_fit_scales_in_place(*, piped: bool) -> None:
    estimator: Any = odd.Centroids("scales weights")
    grid = {"shrink": [0.0, 0.1, 0.2]}
    weights = np.linspace(0.5, 2.0, len(y))
    if piped:
        estimator = Pipeline([("scale", StandardScaler()), ("model", estimator)])
        grid = {"model__shrink": [0.0, 0.1, 0.2]}
    fit_params = {"model__sample_weight" if piped else "sample_weight": weights}
    assert_same_search(estimator, grid, X, y, cv=2, refit=False, fit_params=fit_params)
    np.testing.assert_array_equal(weights, np.linspace(0.5, 2.0, len(y)))


# --- predict is called once


@pytest.mark.parametrize("how", ["int64", "float", "object", "a column", "draws", "warns", "raises", "writes", ""])
@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_predict_is_called_once_for_each_scoring(how: str, scoring: Any) -> None:
    told = []
    for search in (sklearn.model_selection.GridSearchCV, tuningjob.GridSearchCV):
        odd.Centroids.predictions = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            grid = {"shrink": [0.0, 0.1]}
            search(odd.Centroids(how), grid, cv=2, scoring=scoring, refit=False).fit(X, y.astype(np.int32))
        called = [warning for warning in caught if "predict was called" in str(warning.message)]
        failed = [
            str(warning.message).strip().splitlines()[-1]
            for warning in caught
            if "Scoring failed" in str(warning.message)
        ]
        told.append((odd.Centroids.predictions, len(called), failed))
    assert told[1] == told[0]
    assert told[1][0] == 4


# --- nothing is left behind


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda frozen: frozen,
        lambda frozen: ColumnTransformer([("frozen", frozen, [0, 1, 2, 3, 4])]),
        lambda frozen: FeatureUnion([("frozen", frozen)]),
        lambda frozen: Pipeline([("frozen", frozen)]),
    ],
    ids=["step", "columns", "union", "nested"],
)
def test_a_frozen_part_is_untouched_and_what_was_found_can_be_pickled(wrap: Any) -> None:
    frozen = FrozenEstimator(StandardScaler().fit(X))
    before = set(vars(frozen)), set(vars(frozen.estimator))
    settings: dict[str, Any] = {"cv": 2, "scoring": SEVERAL, "refit": "accuracy", "return_train_score": True}
    ours = assert_same_search(logistic(wrap(frozen), MinMaxScaler()), REGULARISATION, X, y, **settings)
    assert (set(vars(frozen)), set(vars(frozen.estimator))) == before
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))


@pytest.mark.slow
def test_a_pipelines_own_memory_caches_as_it_does_in_scikit_learn(tmp_path: Path) -> None:
    cached = []
    for search, folder in (
        (sklearn.model_selection.GridSearchCV, tmp_path / "theirs"),
        (tuningjob.GridSearchCV, tmp_path / "ours"),
    ):
        pipeline = logistic(StandardScaler(), memory=str(folder))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search(pipeline, REGULARISATION, cv=2, scoring=SEVERAL, refit=False, return_train_score=True).fit(X, y)
        cached.append(len(list(folder.rglob("output.pkl"))))
    assert cached[1] == cached[0] == 2


@pytest.mark.slow
def test_after_a_search_no_rows_of_a_fold_are_kept() -> None:
    given: list[Any] = []
    transform = StandardScaler.transform

    def noting(self: Any, X: Any, copy: Any = None) -> Any:
        given.append(weakref.ref(X))
        return transform(self, X, copy)

    with patch.object(StandardScaler, "transform", noting):
        tuningjob.GridSearchCV(logistic(StandardScaler()), REGULARISATION, cv=2, scoring=SEVERAL, refit=False).fit(X, y)
    gc.collect()
    assert given
    assert not any(reference() is not None for reference in given)


def test_a_search_sets_nothing_on_what_scikit_learn_shows_to_others() -> None:
    seen: set[str] = set()

    def look(estimator: Any, *_: Any) -> float:
        for _, step in estimator.steps:
            seen.update(name for name, value in vars(step).items() if callable(value))
        return 0.0

    search = tuningjob.GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("model", RandomForestClassifier(random_state=0))]),
        {"model__n_estimators": [1, 2]},
        cv=2,
        scoring={"a": "accuracy", "look": look},
        refit="a",
    ).fit(X, y)
    assert not seen
    assert not {name for name, value in vars(search.best_estimator_).items() if callable(value)}


@pytest.mark.slow
@pytest.mark.parametrize("piped", [True, False])
def test_a_large_parameter_is_copied_no_more_often_than_in_scikit_learn_and_no_copy_is_kept(*, piped: bool) -> None:
    made = []
    for search in (sklearn.model_selection.GridSearchCV, tuningjob.GridSearchCV):
        model = odd.Centroids(extra=odd.Large())
        estimator = Pipeline([("scale", StandardScaler()), ("model", model)]) if piped else model
        grid = {"model__shrink" if piped else "shrink": np.linspace(0, 0.5, 40).tolist()}
        gc.collect()
        odd.Large.made, odd.Large.most = 0, odd.Large.alive
        search(estimator, grid, cv=2, refit=False).fit(X, y)
        made.append(odd.Large.made)
        assert odd.Large.most <= odd.Large.alive + 4
    assert made[1] <= made[0] + 4


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_a_large_array_among_the_parameters_is_not_held_for_each_candidate(*, large: bool) -> None:
    # of a known estimator: small ones are, to be compared
    init = np.ones((3, 5)) if not large else np.ones((3, 20_000))
    data = np.random.default_rng(0).normal(size=(12, init.shape[1]))
    search = tuningjob.GridSearchCV(KMeans(3, init=init, n_init=1), {"max_iter": list(range(1, 31))}, cv=2, refit=False)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.fit(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * (init.nbytes + data.nbytes) + 5_000_000


# --- the guard


def test_a_scorer_that_never_says_the_same_trips_no_guard() -> None:
    calls = iter(range(10_000))
    for scoring in (lambda *_: float(next(calls)), make_scorer(lambda *_: float(next(calls)))):
        search = tuningjob.GridSearchCV(
            RandomForestClassifier(random_state=0), {"n_estimators": [1, 2, 3, 4]}, cv=3, scoring=scoring, refit=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", GuardTripped)
            search.fit(X, y)
        assert search.guard.trips == 0


@pytest.mark.slow
@in_a_fresh_process
def test_a_scorer_that_never_says_the_same_trips_no_guard_in_processes() -> None:
    scoring = make_scorer(lambda *_: time.perf_counter())
    search = tuningjob.GridSearchCV(
        RandomForestClassifier(random_state=0),
        {"n_estimators": [1, 2, 3, 4]},
        cv=3,
        scoring=scoring,
        refit=False,
        n_jobs=2,
    )
    search.fit(X, y)
    assert search.guard.trips == 0


def test_a_cloned_copy_of_this_searches_parameters_is_what_it_was() -> None:
    estimator = logistic(StandardScaler())
    search = tuningjob.GridSearchCV(estimator, REGULARISATION, cv=KFold(2)).fit(X, y)
    assert repr(clone(search)) == repr(tuningjob.GridSearchCV(estimator, REGULARISATION, cv=KFold(2)))


@pytest.mark.slow
@pytest.mark.alike
@pytest.mark.parametrize("wrap", [lambda step: step, lambda step: FeatureUnion([("a", step)])], ids=["step", "union"])
def test_what_is_known_is_fitted_once_for_each_fold_and_asked_once_for_its_rows(wrap: Any) -> None:
    calls: Counter[str] = Counter()
    fit, transform = MinMaxScaler.fit, MinMaxScaler.transform

    def counted_fit(self: Any, *args: Any) -> Any:
        calls["fits"] += 1
        return fit(self, *args)

    def counted_transform(self: Any, *args: Any) -> Any:
        calls["transforms"] += 1
        return transform(self, *args)

    pipeline = logistic(wrap(MinMaxScaler()), StandardScaler())
    grid = {**REGULARISATION, "step1__with_mean": [True, False]}
    with (
        patch.object(MinMaxScaler, "fit", counted_fit),
        patch.object(MinMaxScaler, "transform", counted_transform),
        # on a busy machine what was measured may have another fold's task come in between, which fits once more
        patch.object(Forecast, "seconds", lambda *_: 1.0),
    ):
        tuningjob.GridSearchCV(pipeline, grid, cv=3, scoring=SEVERAL, refit=False).fit(X, y)
    of_the_guard = 1
    assert calls["fits"] == 3 + of_the_guard
    # the training rows when it is fitted, and the test rows; the guard asks scikit-learn's way, for each metric
    assert calls["transforms"] == 3 * 2 + 1 + len(SEVERAL) - 1
