"""A search that prunes for certain finds what scikit-learn's finds, to the bit, and fits less."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import sklearn.model_selection
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from tests.engine.bits import assert_same_bits
from tests.engine.fresh import in_a_fresh_process
from tuningjob import GridSearchCV, RandomizedSearchCV
from tuningjob.engine import Engine, Work
from tuningjob.engine.bounds import Unbounded

X, y = load_iris(return_X_y=True)
SPACE = {"svc__C": [1e-3, 0.01, 0.1, 1.0, 10.0, 100.0], "svc__gamma": [1e-3, 0.01, 0.1, 1.0]}
SVC_PIPELINE = Pipeline([("scale", StandardScaler()), ("svc", SVC())])
SEARCHES: dict[str, tuple[Any, dict[str, list[Any]], Any, dict[str, Any]]] = {
    "a pipeline": (SVC_PIPELINE, SPACE, load_wine, {"cv": 10}),
    "a nested axis": (
        RandomForestClassifier(random_state=0),
        {"n_estimators": [2, 5, 15], "max_depth": [1, 2, None], "max_features": [1, 2]},
        load_iris,
        {"scoring": "neg_log_loss"},
    ),
    "many ties": (KNeighborsClassifier(), {"n_neighbors": [1, 2, 3, 5, 8, 13, 21, 120]}, load_iris, {"cv": 10}),
    "a loss": (
        make_pipeline(StandardScaler(), SVR()),
        {"svr__C": [0.01, 1.0, 100.0], "svr__epsilon": [0.1, 10.0, 1e3]},
        load_diabetes,
        {"scoring": "neg_mean_squared_error"},
    ),
    "r2, its own score": (Ridge(), {"alpha": [1e-3, 0.1, 1.0, 1e3, 1e6]}, load_diabetes, {"cv": 4}),
    "several metrics": (
        SVC_PIPELINE,
        SPACE,
        load_breast_cancer,
        {"scoring": ["accuracy", "f1"], "refit": "f1", "return_train_score": True},
    ),
    "fits that fail": (
        DecisionTreeClassifier(random_state=0),
        {"max_depth": [1, -1, 5], "min_samples_leaf": [1, 20, 0]},
        load_iris,
        {},
    ),
}


def searched(make: Any, data: Any, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**more).fit(*data(return_X_y=True))


@functools.cache
def scikit_learns(name: str) -> Any:
    estimator, space, data, settings = SEARCHES[name]
    return searched(sklearn.model_selection.GridSearchCV, data, estimator=estimator, param_grid=space, **settings)


def assert_same_winner(ours: Any, theirs: Any, data: Any) -> int:
    """The same answer, and the same bits in all that was run; returns how many fits were not."""
    for name in ("best_index_", "best_score_", "best_params_"):
        assert repr(getattr(ours, name)) == repr(getattr(theirs, name)), name
    assert_same_bits(ours.predict(data), theirs.predict(data), "predictions of the refitted estimator")
    table, whole = ours.cv_results_, theirs.cv_results_
    assert list(table) == [*whole, "pruned"]
    pruned = table["pruned"]
    assert not pruned[ours.best_index_]
    for name, wanted in whole.items():
        if name.startswith("split"):
            ran = ~np.isnan(table[name])
            assert ran[~pruned].tobytes() == (~np.isnan(wanted[~pruned])).tobytes()
            assert_same_bits(table[name][ran], wanted[ran], name)
        elif name.startswith(("mean_test", "std_test", "mean_train", "std_train")):
            assert_same_bits(table[name][~pruned], wanted[~pruned], name)
            assert np.isnan(table[name][pruned]).all()
        elif name.startswith("rank") and pruned.any():
            assert table[name][pruned].min() > table[name][~pruned].min()
    name = next(name for name in table if name.startswith("split0_test"))
    splits = [each for each in table if each.startswith("split") and each.endswith(name.removeprefix("split0"))]
    return sum(int(np.isnan(table[each][pruned]).sum()) for each in splits)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("name", SEARCHES)
def test_the_winner_is_scikit_learns_to_the_bit(name: str, n_jobs: int | None) -> None:
    estimator, space, data, settings = SEARCHES[name]
    theirs = scikit_learns(name)
    ours = searched(
        GridSearchCV, data, estimator=estimator, param_grid=space, n_jobs=n_jobs, prune="certain", **settings
    )
    left_out = assert_same_winner(ours, theirs, data(return_X_y=True)[0])
    if name in {"a pipeline", "a loss", "several metrics"}:
        assert left_out > 0


@in_a_fresh_process
@pytest.mark.slow
def test_the_winner_is_the_same_by_joblibs_processes_and_by_forks() -> None:
    from joblib import parallel_config  # noqa: PLC0415

    from tuningjob.engine.processes import may_fork  # noqa: PLC0415

    theirs = searched(sklearn.model_selection.GridSearchCV, load_wine, estimator=SVC_PIPELINE, param_grid=SPACE)
    assert may_fork()
    for backend in ("loky", "multiprocessing", "threading"):
        with parallel_config(backend=backend):
            ours = searched(
                GridSearchCV, load_wine, estimator=SVC_PIPELINE, param_grid=SPACE, n_jobs=2, prune="certain"
            )
        assert assert_same_winner(ours, theirs, load_wine(return_X_y=True)[0]) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("price", "forks"), [(10.0, False), (1e-9, True)])
@pytest.mark.parametrize("name", ["a pipeline", "many ties", "several metrics", "fits that fail"])
def test_the_winner_is_the_same_where_a_brief_search_begins_here_and_processes_end_it(
    name: str, price: float, forks: bool
) -> None:
    estimator, space, data, settings = SEARCHES[name]
    forked: list[int] = []
    with (
        patch("tuningjob.engine.search_cv.price_of", return_value=price),
        patch("tuningjob.engine.search_cv.Engine", side_effect=noted(Engine, forked)),
    ):
        ours = searched(
            GridSearchCV, data, estimator=estimator, param_grid=space, n_jobs=2, prune="certain", **settings
        )
    assert bool(forked) is forks
    left_out = assert_same_winner(ours, scikit_learns(name), data(return_X_y=True)[0])
    assert left_out > 0 or name not in {"a pipeline", "several metrics"}


def noted(make: Callable[..., Engine], asked: list[int]) -> Callable[..., Engine]:
    """``make``, which notes how many processes it was asked for."""

    def noting(work: Work, processes: int, **more: Any) -> Engine:
        asked.append(processes)
        return make(work, processes, **more)

    return noting


@pytest.mark.slow
def test_draws_that_nobody_seeded_are_scikit_learns_and_nothing_is_left_out() -> None:
    space = {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 60]}
    searches = [
        sklearn.model_selection.GridSearchCV(DecisionTreeClassifier(max_features=1), space),
        GridSearchCV(DecisionTreeClassifier(max_features=1), space, prune="certain"),
    ]
    theirs, ours = searches
    for search in searches:
        np.random.seed(0)
        search.fit(X, y)
    assert_same_bits(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert not ours.cv_results_["pruned"].any()


@pytest.mark.slow
def test_a_random_search_is_pruned_too() -> None:
    settings: dict[str, Any] = {"n_iter": 12, "random_state": 0, "cv": 8}
    theirs = sklearn.model_selection.RandomizedSearchCV(SVC_PIPELINE, SPACE, **settings).fit(X, y)
    ours = RandomizedSearchCV(SVC_PIPELINE, SPACE, prune="certain", **settings).fit(X, y)
    assert assert_same_winner(ours, theirs, X) > 0


def test_without_prune_the_table_and_the_representation_are_scikit_learns() -> None:
    search = GridSearchCV(SVC(), {"C": [1.0]}, cv=2).fit(X, y)
    assert "pruned" not in search.cv_results_
    assert repr(search) == repr(sklearn.model_selection.GridSearchCV(SVC(), {"C": [1.0]}, cv=2))


def test_prune_is_a_parameter_like_any_other() -> None:
    search = clone(GridSearchCV(SVC(), {"C": [1.0]}, prune="certain"))
    assert search.get_params()["prune"] == "certain"
    assert search.set_params(prune="forgiving").prune == "forgiving"
    with pytest.raises(ValueError, match="The 'prune' parameter of GridSearchCV must be"):
        search.set_params(prune="maybe").fit(X, y)


class ScoredByItself(LogisticRegression):
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        return 5.0


def own_metric(y_true: Any, y_pred: Any) -> float:
    return 2 * float(accuracy_score(y_true, y_pred))


@pytest.mark.parametrize(
    ("estimator", "scoring"),
    [
        (SVC(), make_scorer(own_metric)),
        (SVC(), make_scorer(accuracy_score, normalize=False)),
        (SVC(), make_scorer(accuracy_score, greater_is_better=False)),
        (SVC(), "neg_mean_poisson_deviance"),
        (SVC(), lambda estimator, X, y: 1.0),  # noqa: ARG005
        (ScoredByItself(), None),
        (make_pipeline(StandardScaler(), ScoredByItself()), None),
    ],
    ids=["a metric of one's own", "a count", "the wrong sign", "rounding that grows", "a function", "own", "own, last"],
)
def test_scores_without_a_known_bound_are_refused_with_the_table(estimator: Any, scoring: Any) -> None:
    search = GridSearchCV(estimator, {}, scoring=scoring, prune="certain")
    with pytest.raises(Unbounded, match=r"known upper bound, but got .* The table of them: accuracy, "):
        search.fit(X, y)


@pytest.mark.slow
def test_a_class_with_a_score_of_its_own_among_the_candidates_is_refused() -> None:
    pipeline = Pipeline([("model", SVC())])
    with pytest.raises(Unbounded):
        GridSearchCV(pipeline, {"model": [SVC(), ScoredByItself()]}, prune="certain").fit(X, y)
    searched = GridSearchCV(pipeline, {"model": [SVC(), LogisticRegression(max_iter=1_000)]}, prune="certain").fit(X, y)
    assert searched.best_params_


@pytest.mark.parametrize("refit", [lambda table: 0, False], ids=["a function", "none"])  # noqa: ARG005
def test_what_no_single_score_decides_is_refused(refit: Any) -> None:
    search = GridSearchCV(SVC(), {"C": [1.0]}, scoring=["accuracy", "f1_macro"], refit=refit, prune="certain")
    with pytest.raises(ValueError, match="refit must be"):
        search.fit(X, y)


def test_weights_below_zero_have_no_bound() -> None:
    weights = np.ones(len(X))
    search = GridSearchCV(SVC(), {"C": [0.01, 1.0]}, prune="certain")
    assert search.fit(X, y, sample_weight=weights).best_score_ > 0.9
    weights[0] = -1
    with pytest.raises(Unbounded, match="but got a sample_weight below 0"):
        search.fit(X, y, sample_weight=weights)


class FailsOnSome(ClassifierMixin, BaseEstimator):
    """``level`` 1 fails on each split, 2 and 3 on some."""

    def __init__(self, level: float = 0) -> None:
        self.level = level

    def fit(self, X: Any, y: Any) -> "FailsOnSome":
        is_first = X[0, 0] == 5.1  # the rows of the first split of two begin with another one
        if self.level == 1 or (self.level == 2 and not is_first) or (self.level == 3 and is_first):
            raise ValueError("not these")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_an_error_score_above_the_bound_is_the_bound() -> None:
    settings: dict[str, Any] = {"param_grid": {"level": [0, 2, 1]}, "error_score": 3.0, "cv": 4, "refit": False}
    theirs = searched(sklearn.model_selection.GridSearchCV, load_iris, estimator=FailsOnSome(), **settings)
    ours = searched(GridSearchCV, load_iris, estimator=FailsOnSome(), prune="certain", **settings)
    assert ours.best_index_ == theirs.best_index_ == 2
    assert ours.best_score_ == 3.0


def test_where_every_fit_fails_the_error_is_scikit_learns() -> None:
    with pytest.raises(ValueError, match="All the 8 fits failed"):
        GridSearchCV(FailsOnSome(), {"level": [1, 1]}, cv=4, prune="certain").fit(X, y)


def test_that_scores_are_not_finite_is_said_only_of_what_was_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = GridSearchCV(SVC(), {"C": [1e-9, 1.0]}, prune="certain").fit(X, y)
    assert ours.cv_results_["pruned"].tolist() == [True, False]
    with (
        pytest.warns(UserWarning, match="test scores are non-finite"),
        pytest.warns(sklearn.exceptions.FitFailedWarning),
    ):
        GridSearchCV(FailsOnSome(), {"level": [0, 3]}, cv=2, prune="certain").fit(X, y)


def test_verbose_says_how_many_fits_were_not_needed(capsys: pytest.CaptureFixture[str]) -> None:
    GridSearchCV(SVC(), {"C": [1e-9, 1.0]}, cv=5, prune="certain", verbose=1).fit(X, y)
    assert capsys.readouterr().out.splitlines() == [
        "Fitting 5 folds for each of 2 candidates, totalling 10 fits",
        "2 of 10 fits were not needed",
    ]


@pytest.mark.slow
def test_the_forgiving_rule_takes_any_scorer() -> None:
    certain, forgiving = (
        GridSearchCV(GaussianNB(), {"var_smoothing": np.logspace(-9, 3, 24)}, cv=10, scoring=scoring, prune=prune).fit(
            X, y
        )
        for scoring, prune in (("accuracy", "certain"), (make_scorer(own_metric), "forgiving"))
    )
    ran = [
        sum(np.isfinite(search.cv_results_[f"split{split}_test_score"]).sum() for split in range(10))
        for search in (certain, forgiving)
    ]
    assert max(ran) < 240


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "neg_log_loss", "f1", "r2", "matthews_corrcoef"])
def test_a_perfect_score_is_at_its_bound(name: str) -> None:
    """And no higher than by the last bits, which the margin is for."""
    from sklearn.metrics import get_scorer  # noqa: PLC0415

    from tuningjob.engine.bounds import bound_of  # noqa: PLC0415
    from tuningjob.engine.race import MARGIN  # noqa: PLC0415

    class Perfect(ClassifierMixin, BaseEstimator):
        classes_ = np.array([0, 1])

        def fit(self, X: Any, y: Any) -> "Perfect":
            return self

        def predict(self, X: Any) -> Any:
            return (X[:, 0] > 0.5).astype(int)

        def predict_proba(self, X: Any) -> Any:
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    column = np.linspace(0, 1, 997)[:, np.newaxis]
    score = get_scorer(name)(Perfect().fit(column, column), column, (column[:, 0] > 0.5).astype(int))
    bound = bound_of(get_scorer(name))
    assert bound is not None
    assert score <= bound + MARGIN
    assert math.isclose(score, bound, abs_tol=0.5)
