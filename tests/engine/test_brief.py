"""A search that is over sooner than processes are there is evaluated where it was called, and nothing but the clock can tell."""

import os
import random
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from joblib.parallel import get_active_backend, parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV as Theirs
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.engine.test_backends import a_thread, files_in_memory, trackers
from tests.engine.test_schedule import cells
from tests.processes import children_of
from tuningjob import GridSearchCV
from tuningjob.engine import CellKey, Work
from tuningjob.engine.brief import Brief, price_of
from tuningjob.engine.quick import is_quick, limited
from tuningjob.engine.sklearn_private import processes_of_loky

X, y = (data[::3] for data in load_iris(return_X_y=True))
BRIEF: dict[str, tuple[Any, dict[str, Any]]] = {
    "trees": (DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, None], "criterion": ["gini", "entropy"]}),
    "neighbours": (KNeighborsClassifier(), {"n_neighbors": [1, 2, 3], "weights": ["uniform", "distance"]}),
    "a pipeline": (
        Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(max_iter=20))]),
        {"scale": [StandardScaler(), "passthrough"], "model__C": [0.1, 1.0]},
    ),
    "a machine without a seed or a limit": (SVC(), {"C": [0.1, 1.0], "kernel": ["linear", "rbf"]}),
    "a pipeline with a machine": (
        Pipeline([("scale", StandardScaler()), ("model", SVC())]),
        {"scale": [StandardScaler(), "passthrough"], "model__gamma": [0.1, 1.0]},
    ),
    "fits that fail": (GaussianNB(), {"var_smoothing": [1e-9, -1.0]}),
}


def nobody_is_asked(*_: object, **__: object) -> None:
    raise AssertionError("a process was wanted")


def search_briefly(*, price: float) -> None:
    with (
        patch("tuningjob.engine.search_cv.price_of", return_value=price),
        patch("tuningjob.engine.brief._COPIED_SECONDS", price),
    ):
        search_all()


def search_all() -> None:
    for estimator, grid in BRIEF.values():
        searched = assert_same_search(estimator, grid, X, y, n_jobs=2, cv=3, return_train_score=True, refit=False)
        assert len(searched.cv_results_["params"]) > 1


@pytest.mark.slow
@in_a_fresh_process
def test_a_brief_search_forks_nothing_and_leaves_nothing() -> None:
    with patch("os.fork", nobody_is_asked):
        search_briefly(price=10.0)
    assert children_of(os.getpid()) == trackers()
    assert files_in_memory() == []


@pytest.mark.slow
@in_a_fresh_process
def test_a_brief_search_in_a_process_with_threads_starts_none_of_joblibs() -> None:
    with a_thread():
        search_briefly(price=10.0)
        assert processes_of_loky() == 0
    assert children_of(os.getpid()) == trackers()
    assert files_in_memory() == []


@pytest.mark.slow
@in_a_fresh_process
def test_what_is_left_of_a_search_that_turns_out_longer_is_done_by_processes() -> None:
    search_briefly(price=1e-9)
    search_all()


@pytest.mark.slow
@in_a_fresh_process
def test_what_is_left_of_a_search_that_turns_out_longer_is_done_by_joblibs_processes() -> None:
    with a_thread():
        search_briefly(price=1e-9)


@pytest.mark.slow
@in_a_fresh_process
def test_nothing_can_tell_where_a_brief_search_was_evaluated() -> None:
    np.random.seed(3)
    random.seed(3)
    drawn = np.random.get_state(legacy=False), random.getstate()
    threads = threading.active_count()
    filters = list(warnings.filters)
    read, write = os.pipe()
    stderr = os.dup(2)
    with (
        warnings.catch_warnings(record=True) as told,
        patch("tuningjob.engine.search_cv.price_of", return_value=10.0),
    ):
        warnings.simplefilter("always")
        os.dup2(write, 2)
        GridSearchCV(LogisticRegression(max_iter=1), {"C": [1.0, 2.0]}, cv=2, n_jobs=2, refit=False).fit(X, y)
        os.dup2(stderr, 2)
    os.close(write)
    assert told == [], "fits of other processes warn there"
    assert b"ConvergenceWarning" in os.read(read, 2**16)
    assert str((np.random.get_state(legacy=False), random.getstate())) == str(drawn)
    assert threading.active_count() == threads
    assert warnings.filters == filters


@pytest.mark.slow
@in_a_fresh_process
def test_a_fit_of_a_brief_search_that_fails_raises_what_scikit_learn_raises() -> None:
    raised = []
    for search in (Theirs, GridSearchCV):
        with pytest.raises(ValueError, match="var_smoothing") as caught:
            search(GaussianNB(), {"var_smoothing": [-1.0]}, cv=2, n_jobs=2, error_score="raise").fit(X, y)
        raised.append(str(caught.value))
    assert raised[0] == raised[1]


@pytest.mark.slow
@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_a_machine_that_needs_more_than_the_limit_it_has_here_is_fitted_elsewhere(error_score: Any) -> None:
    work = searched(SVC(), {"C": 2.0}, error_score=error_score)
    split = np.arange(0, 40), np.arange(40, 50)
    work = replace(work, splits=[split, split])
    drawn = np.random.get_state(legacy=False)
    with patch("tuningjob.engine.quick._MOST_MACHINE_ITERATIONS", 3), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert Brief(work, processes=2, price=10.0).evaluate(cells(2, 2)) == []
    assert told == [], "the limit is nobody's but ours"
    assert len(Brief(work, processes=2, price=10.0).evaluate(cells(2, 2))) == 4
    assert str(np.random.get_state(legacy=False)) == str(drawn)


def test_a_limit_of_ones_own_is_left_alone_and_a_machine_on_many_rows_gets_none() -> None:
    for work in (searched(SVC(max_iter=5)), searched(SVC(), X=np.zeros((1_001, 2))), searched(GaussianNB())):
        assert limited(work) is work
    pipeline = limited(searched(Pipeline([("model", SVC())])))
    assert pipeline.estimator.get_params()["model__max_iter"] > 5


class Mine(ClassifierMixin, BaseEstimator):
    """May do anything."""

    def fit(self, X: Any, y: Any) -> "Mine":
        raise AssertionError("nobody asks it to")


def first_class(y: Any, predicted: Any) -> float:
    return float(np.mean(y == predicted))


NOT_BEGUN: dict[str, Callable[[], Work]] = {
    "an estimator of one's own": lambda: searched(Mine()),
    "one whose fit may take long on few rows": lambda: searched(SVC()),
    "its limit of the candidates": lambda: limited(searched(SVC(), {"max_iter": -1})),
    "one that fits others inside": lambda: limited(searched(SVC(probability=True, random_state=0))),
    "one on many rows": lambda: limited(searched(SVC(max_iter=5), X=np.zeros((1_001, 2)))),
    "an ensemble": lambda: searched(RandomForestClassifier(random_state=0)),
    "one that draws": lambda: searched(DecisionTreeClassifier(max_features=1)),
    "one of the candidates": lambda: searched(DecisionTreeClassifier(random_state=0), {"random_state": None}),
    "a solver of the candidates": lambda: searched(LogisticRegression(), {"solver": "saga", "random_state": 0}),
    "iterations of the candidates": lambda: searched(LogisticRegression(), {"max_iter": 10**6}),
    "a quadratic criterion": lambda: searched(DecisionTreeRegressor(random_state=0, criterion="absolute_error")),
    "one that prints": lambda: searched(Pipeline([("model", GaussianNB())], verbose=True)),
    "a metric of one's own": lambda: searched(GaussianNB(), scorer=make_scorer(first_class)),
    "weights": lambda: searched(GaussianNB(), fit_params={"sample_weight": np.ones(len(y))}),
    "a large table": lambda: searched(GaussianNB(), X=np.zeros((1_000, 1_000))),
    "documents": lambda: searched(GaussianNB(), X=["one", "two"]),
}


def searched(estimator: Any, *candidates: dict[str, Any], X: Any = X, scorer: Any = None, **more: Any) -> Work:
    known = GridSearchCV(estimator, {})._get_scorers()[0] if scorer is None and hasattr(estimator, "score") else scorer
    return Work(estimator=estimator, candidates=[{}, *candidates], X=X, y=y, splits=(), scorer=known, **more)


@pytest.mark.parametrize("name", NOT_BEGUN)
def test_what_may_take_long_or_be_noticed_is_not_begun(name: str) -> None:
    assert not is_quick(NOT_BEGUN[name](), 0.02)


def test_what_is_known_bounded_and_seeded_is_begun() -> None:
    assert is_quick(searched(GaussianNB(), {"var_smoothing": 1.0}), 0.02)
    assert is_quick(searched(DecisionTreeClassifier(random_state=0, max_features=1), {"max_depth": 2}), 0.02)
    assert is_quick(limited(searched(SVC(), {"C": 2.0})), 0.02)


@pytest.mark.parametrize(
    ("seconds", "rounds"), [([1.0, 1.0], 2), ([0.001, 1.0], 2), ([0.001, 0.002, 0.001], 3), ([1.0, 0.001, 1.0], 3)]
)
def test_it_goes_on_as_long_as_what_was_measured_says_so(seconds: list[float], rounds: int) -> None:
    """Two processes that cost 0.1 s; two candidates on two splits: a fit or two, then a split at a time."""
    left = iter(seconds)
    asked: list[list[CellKey]] = []

    def timed(_engine: object, cells: list[CellKey]) -> tuple[float, list[Any]]:
        asked.append(cells)
        return next(left), []

    work = Work(estimator=GaussianNB(), candidates=[{}, {}], X=X, y=y, splits=(), scorer=None)
    brief = Brief(work, processes=2, price=0.1)
    with patch("tuningjob.engine.brief._timed", timed):
        list(brief._rounds(None, cells(2, 2)))  # type: ignore[arg-type]
    assert len(asked) == rounds
    assert len({cell for part in asked for cell in part}) == sum(map(len, asked)), "no cell twice"


def test_processes_of_joblibs_with_other_threads_are_not_stood_in_for() -> None:
    with a_thread(), parallel_config("loky", inner_max_num_threads=4):
        assert price_of(2, get_active_backend()[0]) == 0
    with a_thread(), parallel_config("loky", inner_max_num_threads=1):
        assert price_of(2, get_active_backend()[0]) > 0


@in_a_fresh_process
def test_short_searches_in_a_row_start_joblibs_processes_once_they_have_lost_as_much_for_want_of_them() -> None:
    """A second each here, half of it by two processes: of three searches the third is worth starting them, two seconds are not."""
    prices = []
    took = patch("tuningjob.engine.brief._timed", lambda _, cells: (float(len(cells)), [object()] * len(cells)))
    with a_thread():
        backend, _ = get_active_backend()
        for _ in range(3):
            prices.append(price_of(2, backend))
            with took:
                Brief(searched(GaussianNB()), processes=2, price=10.0).evaluate(cells(1, 1))
        with patch("tuningjob.engine.brief.processes_of_loky", return_value=2):
            there = price_of(2, backend)
        gone = price_of(2, backend)
    assert prices[1] == pytest.approx(prices[0] - 0.5 + there)
    assert prices[2] == there, "they may as well be started"
    assert gone == prices[0], "what was lost before they were there is paid"


@in_a_fresh_process
def test_forked_processes_cost_what_forking_took_here_before_on_top() -> None:
    before = price_of(2, get_active_backend()[0])
    with patch("tuningjob.engine.brief.seconds_to_fork", {2: 0.25}.__getitem__):
        assert price_of(2, get_active_backend()[0]) == pytest.approx(before + 0.25)


def test_no_price_no_search_here() -> None:
    assert Brief(searched(GaussianNB()), processes=2, price=0).evaluate(cells(1, 1)) == []
