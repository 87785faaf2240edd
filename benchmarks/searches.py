"""The searches that are compared, each made from the same problem. What a rival needs is imported only when it is asked."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from benchmarks.problem import RANDOM_STATE, Problem

N_JOBS = 2


class MakesNoSense(Exception):
    """This way of searching has nothing to say about that problem."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Two classes with scikit-learn's arguments, and the arguments of their own that both are given."""

    grid: Any
    randomized: Any
    more: dict[str, Any]


class GridSearchWithoutContexts(GridSearchCV):  # type: ignore[misc]
    """scikit-learn 1.9 pickles the callbacks' contexts of all fits with each batch, unless this asks for none."""

    def _run_search(self, evaluate_candidates: Callable[..., Any]) -> None:
        evaluate_candidates(ParameterGrid(self.param_grid))


class RandomizedSearchWithoutContexts(RandomizedSearchCV):  # type: ignore[misc]
    """The same for the randomized search."""

    def _run_search(self, evaluate_candidates: Callable[..., Any]) -> None:
        evaluate_candidates(ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state))


def _of_module(name: str, **more: Any) -> Kind:  # noqa: ANN401
    module = import_module(name)
    return Kind(grid=module.GridSearchCV, randomized=module.RandomizedSearchCV, more={"n_jobs": N_JOBS} | more)


def _scikit_learn() -> Kind:
    return _of_module("sklearn.model_selection")


def _without_contexts() -> Kind:
    return Kind(grid=GridSearchWithoutContexts, randomized=RandomizedSearchWithoutContexts, more={"n_jobs": N_JOBS})


def _dask_processes() -> Kind:
    # a pool that lives as long as this process, as joblib's does: its start is not what is measured
    pool = ProcessPoolExecutor(N_JOBS, mp_context=get_context("spawn"))
    import_module("dask").config.set(pool=pool)
    return _of_module("dask_ml.model_selection", scheduler="processes")


_KINDS: dict[str, Callable[[], Kind]] = {
    "tuningjob": lambda: _of_module("tuningjob"),
    "scikit-learn": _scikit_learn,
    "scikit-learn without contexts": _without_contexts,
    "scikit-learn with Pipeline(memory=)": _scikit_learn,
    "dask-ml threads": lambda: _of_module("dask_ml.model_selection", scheduler="threads"),
    "dask-ml processes": _dask_processes,
}


@cache
def _kind(name: str) -> Kind:
    return _KINDS[name]()


@contextmanager
def search_of(problem: Problem, *, kind: str) -> Iterator[Any]:
    """The search, not fitted yet; an empty folder for a pipeline's memory lives as long as the context.

    Raises MakesNoSense when the problem is no pipeline and the kind is about pipelines.
    """
    with TemporaryDirectory() as folder:
        estimator = clone(problem.estimator)
        if kind == "scikit-learn with Pipeline(memory=)":
            if not isinstance(estimator, Pipeline):
                raise MakesNoSense
            estimator.set_params(memory=folder)
        classes = _kind(kind)
        arguments = classes.more | {
            "cv": problem.cv,
            "scoring": problem.scoring,
            "return_train_score": problem.return_train_score,
            "refit": False,
        }
        if problem.n_iter is None:
            yield classes.grid(estimator, problem.grid, **arguments)
        else:
            yield classes.randomized(
                estimator, problem.grid, n_iter=problem.n_iter, random_state=RANDOM_STATE, **arguments
            )
