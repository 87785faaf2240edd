"""The engine in processes: fits that fail, take too long or are killed."""

import math
import os
import signal
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import ThreadpoolController

from tests.engine.fresh import in_a_fresh_process
from tests.processes import children_of
from tuningjob.engine import CellKey, Engine, Evaluated, Work
from tuningjob.engine.engine import _pools
from tuningjob.errors import WorkerDied
from tuningjob.search.cells import result_of, with_warnings

X, y = load_iris(return_X_y=True)


class Stubborn(ClassifierMixin, BaseEstimator):
    """Hangs in C, or raises, as told; else predicts the first class."""

    def __init__(self, hang: bool = False, error: str | None = None, level: int = 0) -> None:
        self.hang = hang
        self.error = error
        self.level = level

    def fit(self, X: Any, y: Any) -> "Stubborn":
        if self.hang:
            sum(range(10**12))  # no Python code runs in here: no handler of a signal either
        if self.error:
            raise ValueError(self.error)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def work(estimator: Any, candidates: list[dict[str, Any]], **settings: Any) -> Work:
    splits = list(KFold(3, shuffle=True, random_state=0).split(X))
    scorer = check_scoring(estimator, "accuracy")
    return Work(estimator=estimator, candidates=candidates, X=X, y=y, splits=splits, scorer=scorer, **settings)


def evaluated(work: Work, processes: int = 2) -> dict[CellKey, Evaluated]:
    cells = [
        CellKey(candidate, split) for candidate in range(len(work.candidates)) for split in range(len(work.splits))
    ]
    results: list[Evaluated] = []
    with Engine(work, processes) as pool:
        pool.add(cells)
        while not pool.is_done:
            results += pool.wait()
    assert sorted(result.cell for result in results) == sorted(cells), "each cell once"
    return {result.cell: result for result in results}


def scores(results: dict[CellKey, Evaluated]) -> dict[CellKey, float]:
    return {cell: result.outcome["test_scores"] for cell, result in results.items()}


@pytest.mark.slow
@in_a_fresh_process
def test_a_fit_that_takes_too_long_is_killed_and_the_others_go_on() -> None:
    searched = work(Stubborn(), [{"level": 1}, {"hang": True}, {"level": 2}], timeout=0.5)
    results = evaluated(searched)
    for split in range(3):
        assert results[CellKey(1, split)].outcome["fit_error"] == (
            "TimeoutError: the fit took longer than 0.5 s and was interrupted"
        )
        assert math.isnan(results[CellKey(1, split)].outcome["test_scores"])
        assert results[CellKey(0, split)].outcome["fit_error"] is None
        assert results[CellKey(2, split)].outcome["test_scores"] > 0


@in_a_fresh_process
@pytest.mark.slow
def test_with_error_score_raise_a_fit_that_takes_too_long_is_a_timeout_error() -> None:
    with pytest.raises(TimeoutError, match=r"longer than 0.2 s and was interrupted \(parameters \{'hang': True\}"):
        evaluated(work(Stubborn(), [{"hang": True}], timeout=0.2, error_score="raise"))


@pytest.mark.slow
@in_a_fresh_process
def test_a_shared_step_that_hangs_gives_each_candidate_its_own_chance() -> None:
    pipeline = Pipeline([("first", StubbornStep()), ("model", Stubborn())])
    candidates = [
        {"first__hang": True, "model__level": 1},
        {"first__hang": True, "model__level": 2},
        {"model__level": 1},
    ]
    results = evaluated(work(pipeline, candidates, timeout=0.3))
    assert [results[CellKey(candidate, 0)].outcome["fit_error"] is None for candidate in range(3)] == [
        False,
        False,
        True,
    ]


class StubbornStep(Stubborn):
    """The same as a transformer."""

    def transform(self, X: Any) -> Any:
        return X


@pytest.mark.slow
@in_a_fresh_process
def test_a_process_that_is_killed_from_outside_is_told() -> None:
    searched = work(Stubborn(), [{"hang": True}, {"hang": True, "level": 1}])
    with Engine(searched, 2) as pool:
        pool.add([CellKey(0, 0), CellKey(1, 0)])
        assert pool.wait(0.1) == []
        zygote = children_of(os.getpid())[0]
        os.kill(children_of(zygote)[0], signal.SIGKILL)
        with pytest.raises(
            WorkerDied, match=r"killed from outside \(it was killed by SIGKILL, mostly for lack of memory\)"
        ):
            pool.wait()


@pytest.mark.slow
@in_a_fresh_process
def test_an_exception_that_scikit_learn_would_raise_is_raised_here() -> None:
    with pytest.raises(ValueError, match=r"^no such luck$"):
        evaluated(work(Stubborn(), [{"error": "no such luck"}], error_score="raise"))
    with pytest.raises(ValueError, match=r"Invalid parameter 'depth' for estimator Stubborn"):
        evaluated(work(Stubborn(), [{"depth": 1}]))


@pytest.mark.slow
@in_a_fresh_process
def test_processes_give_the_bits_of_this_process() -> None:
    candidates = [{"model__n_estimators": n, "model__max_depth": d} for d in (1, None) for n in (1, 4, 9)]
    pipeline = Pipeline([("scale", StandardScaler()), ("model", RandomForestClassifier(random_state=0))])
    searched = work(pipeline, candidates)
    assert scores(evaluated(searched, 2)) == scores(evaluated(searched, 0))


@pytest.mark.slow
@in_a_fresh_process
def test_a_large_x_is_cut_once_for_all_processes_and_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3_000, 60))
    labels = (data[:, 0] + rng.normal(size=3_000) > 0).astype(int)
    splits = list(KFold(3, shuffle=True, random_state=0).split(data))
    searched = replace(
        work(RandomForestClassifier(random_state=0, max_depth=3), [{"n_estimators": n} for n in (1, 2, 3, 4)]),
        X=data,
        y=labels,
        splits=splits,
    )
    assert scores(evaluated(searched, 2)) == scores(evaluated(searched, 0))


@pytest.mark.slow
@in_a_fresh_process
def test_rows_that_were_given_back_are_there_again_for_cells_that_come_later() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3_000, 60))
    labels = (data[:, 0] + rng.normal(size=3_000) > 0).astype(int)
    splits = list(KFold(3, shuffle=True, random_state=0).split(data))
    candidates = [{"max_features": features} for features in (0.2, 0.4, 0.6, 0.8)]
    searched = replace(work(RandomForestClassifier(3, random_state=0), candidates), X=data, y=labels, splits=splits)
    later: dict[CellKey, Evaluated] = {}
    with Engine(searched, 1) as pool:
        for candidate in range(4):
            # a worker claims one unit after the other, all of them on the same split
            pool.add([CellKey(candidate, 0)])
            while not pool.is_done:
                later |= {result.cell: result for result in pool.wait()}
    at_once = scores(evaluated(searched, 0))
    assert scores(later) == {cell: at_once[cell] for cell in later}
    assert len(later) == 4


def test_cells_may_be_added_as_the_work_goes_on() -> None:
    searched = work(Stubborn(), [{"level": level} for level in range(4)])
    here = Engine(searched, 0)
    assert here.wants_more
    assert here.wait() == []
    seen: list[CellKey] = []
    for candidate in range(4):
        here.add([CellKey(candidate, 0), CellKey(candidate, 1)])
        while not here.is_done:
            seen += [result.cell for result in here.wait()]
    assert seen == [CellKey(candidate, split) for candidate in range(4) for split in range(2)]


@pytest.mark.slow
@in_a_fresh_process
def test_where_nothing_may_be_forked_joblibs_processes_give_the_same_bits() -> None:
    candidates = [{"n_estimators": n, "max_depth": d} for d in (1, None) for n in (1, 4)]
    searched = work(RandomForestClassifier(random_state=0), candidates)
    with patch("tuningjob.engine.engine.may_fork", return_value=False):
        assert scores(evaluated(searched, 2)) == scores(evaluated(searched, 0))


class Counted(Stubborn):
    """Knows how many fitted ones there are."""

    alive = 0
    most = 0

    def fit(self, X: Any, y: Any) -> "Counted":
        super().fit(X, y)
        self.model_ = _Model()
        return self


class _Model:
    def __init__(self) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


@pytest.mark.alike
@pytest.mark.parametrize("pipeline", [False, True])
def test_a_fitted_model_is_let_go_when_it_was_scored(*, pipeline: bool) -> None:
    Counted.alive = Counted.most = 0
    name = "model__level" if pipeline else "level"
    estimator = Pipeline([("scale", StandardScaler()), ("model", Counted())]) if pipeline else Counted()
    evaluated(work(estimator, [{name: level} for level in range(30)]), 0)
    assert Counted.alive == 0
    assert Counted.most <= 3


@in_a_fresh_process
def test_libraries_with_threads_are_looked_for_before_anything_is_forked_and_not_again() -> None:
    read, write = os.pipe()

    def look() -> ThreadpoolController:
        os.write(write, f"{os.getpid()} ".encode())
        return ThreadpoolController()

    searched = work(SVC(), [{"C": 1.0}, {"C": 2.0}])
    evaluated(searched)  # imports what rules about it there are
    _pools.cache_clear()
    with patch("tuningjob.engine.engine.ThreadpoolController", look):
        evaluated(searched)
        evaluated(searched)
    assert os.read(read, 4096).split() == [str(os.getpid()).encode()]


@in_a_fresh_process
def test_splits_may_be_masks_or_lists() -> None:
    rng = np.random.default_rng(0)
    data, labels = rng.normal(size=(3_000, 60)), rng.integers(0, 2, 3_000)
    mask = np.arange(3_000) % 3 == 0
    splits: Any = [(mask, ~mask), (list(range(100)), list(range(100, 200)))]
    searched = replace(work(Stubborn(), [{}, {"level": 1}]), X=data, y=labels, splits=splits)
    assert scores(evaluated(searched, 2)) == scores(evaluated(searched, 0))


def test_scoring_that_fails_says_so_for_each_of_the_candidates_that_are_one_fit() -> None:
    candidates: list[dict[str, Any]] = [{"kernel": "linear", "gamma": gamma} for gamma in (0.1, 1.0, 10.0)]
    searched = replace(work(SVC(), candidates), scorer=check_scoring(SVC(), "neg_log_loss"))
    here = Engine(searched, 0, around=with_warnings)
    here.add([CellKey(candidate, 0) for candidate in range(3)])
    results = []
    while not here.is_done:
        results += here.wait()
    assert len(results) == 3
    for each in results:
        assert math.isnan(each.outcome["test_scores"])
        assert "none of the following attributes: predict_proba" in (result_of(each).error or "")
