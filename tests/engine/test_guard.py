"""The guard: a rule that is wrong is found out, its results are thrown away, and the answer is still scikit-learn's."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

import tuningjob
from tests.engine.compare import assert_same_results, assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tuningjob.engine import CellKey, Work
from tuningjob.engine.guard import GuardTripped
from tuningjob.engine.rules import NestedFit, register
from tuningjob.engine.rules.base import _rules
from tuningjob.engine.schedule import Schedule

X, y = load_iris(return_X_y=True)


class FirstColumns(ClassifierMixin, BaseEstimator):
    """Nearest class mean in the first ``width`` columns. ``fits`` counts, over all instances."""

    fits = 0

    def __init__(self, width: int = 1) -> None:
        self.width = width

    def fit(self, X: Any, y: Any) -> "FirstColumns":
        type(self).fits += 1
        self.classes_ = np.unique(y)
        self.means_ = np.array([X[y == label].mean(axis=0) for label in self.classes_])
        return self

    def predict(self, X: Any) -> Any:
        distances = [((X - mean)[:, : self.width] ** 2).sum(axis=1) for mean in self.means_]
        return self.classes_[np.argmin(distances, axis=0)]


class RightRule(NestedFit):
    """One fit has the means of all columns, whatever the width."""

    estimators = (FirstColumns,)
    parameters = ("width",)
    proof = "tests/engine/test_guard.py::test_a_rule_of_ones_own_saves_fits_and_changes_no_bit"

    def is_proved_here(self) -> bool:
        return True

    def applies(self, estimator: Any, X: Any, y: Any) -> bool:
        return True

    def accepts(self, estimator: Any) -> bool:
        return True

    def fit(self, estimators: Sequence[Any], X: Any, y: Any, fit_params: Mapping[str, Any]) -> Iterator[Any]:
        first = estimators[0].fit(X, y)
        for estimator in estimators:
            estimator.classes_, estimator.means_ = first.classes_, first.means_
            yield estimator


class WrongRule(RightRule):
    """Forgets the width."""

    def fit(self, estimators: Sequence[Any], X: Any, y: Any, fit_params: Mapping[str, Any]) -> Iterator[Any]:
        for estimator in list(super().fit(estimators, X, y, fit_params)):
            wrong = FirstColumns(estimator.width)
            wrong.classes_, wrong.means_ = estimator.classes_, estimator.means_[::-1]
            yield wrong


class FailingRule(RightRule):
    """Raises in the middle."""

    def fit(self, estimators: Sequence[Any], X: Any, y: Any, fit_params: Mapping[str, Any]) -> Iterator[Any]:
        fits = super().fit(estimators, X, y, fit_params)
        yield next(fits)
        raise RuntimeError("no more")


@pytest.fixture(autouse=True)
def no_rule_is_left_behind() -> Iterator[None]:
    FirstColumns.fits = 0
    yield
    _rules.pop(FirstColumns, None)


GRID = {"width": [1, 2, 3, 4]}


def test_a_rule_of_ones_own_saves_fits_and_changes_no_bit() -> None:
    register(RightRule)
    assert_same_search(FirstColumns(), GRID, X, y, cv=3, refit=False)
    theirs, shared, watched = 4 * 3, 3, 1
    assert FirstColumns.fits == theirs + shared + watched


def test_a_wrong_rule_trips_the_guard_and_is_fitted_again_one_by_one() -> None:
    register(WrongRule)
    search = tuningjob.GridSearchCV(FirstColumns(), GRID, cv=3)
    with pytest.warns(
        GuardTripped, match=r"sharing one fit between 12 cells gave other bits .* fitted again one by one"
    ):
        search.fit(X, y)
    assert (search.guard.groups, search.guard.trips) == (1, 1)
    _rules.pop(FirstColumns)
    plain = tuningjob.GridSearchCV(FirstColumns(), GRID, cv=3).fit(X, y)
    assert_same_results(search.cv_results_, plain.cv_results_)


@in_a_fresh_process
def test_a_wrong_rule_is_found_out_in_other_processes_too() -> None:
    register(WrongRule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuardTripped)
        ours = assert_same_search(FirstColumns(), GRID, X, y, cv=3, n_jobs=2)
    assert ours.guard.trips == 1


@pytest.mark.slow
@in_a_fresh_process
def test_a_rule_registered_by_hand_goes_along_to_joblibs_processes() -> None:
    register(WrongRule)
    no_fork = patch("tuningjob.engine.engine.may_fork", return_value=False)
    with no_fork, patch("tuningjob.engine.search_cv.may_fork", return_value=False), warnings.catch_warnings():
        warnings.simplefilter("ignore", GuardTripped)
        ours = assert_same_search(FirstColumns(), GRID, X, y, cv=3, n_jobs=2)
    assert ours.guard.trips == 1


def test_a_rule_that_raises_falls_back_to_plain_fits() -> None:
    register(FailingRule)
    ours = assert_same_search(FirstColumns(), GRID, X, y, cv=3)
    assert ours.guard.trips == 0


@pytest.mark.slow
def test_what_begins_alike_is_watched_once_also_where_a_rule_could_serve_other_beginnings() -> None:
    pipeline = Pipeline([("pca", PCA(svd_solver="full")), ("model", LogisticRegression())])
    forest = RandomForestClassifier(2, random_state=0)
    searches: list[tuple[Any, Any]] = [(pipeline, {"model__C": [0.1, 1.0, 10.0]}), (forest, {"max_depth": [50, 60]})]
    for estimator, grid in searches:
        assert assert_same_search(estimator, grid, X, y, cv=3).guard.groups == 1
    assert assert_same_search(pipeline, {"pca__n_components": [1, 2]}, X, y, cv=3).guard.groups == 1


@pytest.mark.slow
def test_what_draws_unseeded_is_neither_shared_nor_watched() -> None:
    forest = RandomForestClassifier(max_features=4, bootstrap=False)
    search = tuningjob.GridSearchCV(forest, {"n_estimators": [1, 2, 3]}, cv=3, n_jobs=2).fit(X, y)
    assert search.guard.groups == 0


def test_the_sample_of_the_guard_is_the_same_each_time() -> None:
    def watched() -> list[tuple[int, int]]:
        candidates = [{"n_estimators": n, "max_depth": d} for d in (1, 2) for n in (1, 2, 3)]
        work = Work(
            estimator=RandomForestClassifier(random_state=0), candidates=candidates, X=X, y=y, splits=[], scorer=None
        )
        schedule = Schedule(work, 1)
        schedule.add([CellKey(candidate, split) for candidate in range(6) for split in range(5)])
        return [(task.candidates[0], task.split) for task in iter(schedule.take, None) if task.plain]

    assert len(watched()) == 2
    assert watched() == watched()
