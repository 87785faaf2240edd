"""The published grids, each with data of a suitable kind.

`grids.json` has the calls: class names and values, read from 13 public repositories of notebooks and books (kaggleScape,
simisimon/kaggle-notebooks, introduction_to_ml_with_python, handson-ml3, ...), those that run on any table of numbers. Values are
as they were written, also those that scikit-learn takes no more (`max_features="auto"`): their fits fail on all sides.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import sklearn.model_selection
from sklearn.base import is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.searches import N_JOBS
from benchmarks.worth import fits_as_members

_GRIDS: Final = Path(__file__).with_name("grids.json")
# Of ensembles' members that scikit-learn fits in a search, all candidates and folds together: above, fewer folds and rows do.
MOST_MEMBERS: Final = 60_000
FEW_ROWS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One published call of a search, with data of a suitable kind."""

    number: int
    estimator: Any
    grid: list[dict[str, list[Any]]]
    cv: int
    scoring: str | None
    candidates: list[dict[str, Any]]
    folds: int
    is_small: bool

    @property
    def name(self) -> str:
        """The final estimator, and what is searched."""
        last = self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        axes = dict.fromkeys(
            name.rsplit("__", 1)[-1] for one in self.grid for name, values in one.items() if len(values) > 1
        )
        return f"{type(last).__name__} × {', '.join(axes) or 'nothing'}"

    def data(self) -> tuple[Any, Any]:
        """A table: of numbers of a like scale, counts for naive Bayes, a hundred columns for many components."""
        last = self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        if type(last).__module__ == "sklearn.naive_bayes":
            X, y = load_digits(return_X_y=True)
        elif isinstance(self.estimator, Pipeline) and "pca" in self.estimator.named_steps:
            X, y = make_classification(600, 100, n_informative=30, random_state=0)
        elif is_regressor(last):
            X, y = load_diabetes(return_X_y=True)
        else:
            X, y = load_breast_cancer(return_X_y=True)
            X = StandardScaler().fit_transform(X)
        return (X[:FEW_ROWS], y[:FEW_ROWS]) if self.is_small else (X, y)

    def search(self, kind: Callable[..., Any], X: Any, y: Any) -> Any:  # noqa: ANN401
        """The search, unfitted; where scikit-learn's would take many minutes, by the first of the folds."""
        is_classifier = not is_regressor(self.estimator)
        cv = sklearn.model_selection.check_cv(self.cv, y, classifier=is_classifier)
        splits = list(cv.split(X, y))[: self.folds] if self.folds < self.cv else self.cv
        return kind(self.estimator, self.grid, cv=splits, scoring=self.scoring, n_jobs=N_JOBS, refit=False)


def read() -> list[Grid]:
    """All of them, in the order of the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # some estimators will not be there for ever
        return [_grid(number, one) for number, one in enumerate(json.loads(_GRIDS.read_text(encoding="utf-8")))]


def _grid(number: int, one: dict[str, Any]) -> Grid:
    named = one["estimator"]
    is_pipeline = not isinstance(named, str)
    estimator = Pipeline([(name, _made(path)) for name, path in named]) if is_pipeline else _made(named)
    grid = [_seeded(each) for each in one["grid"]]
    candidates = list(sklearn.model_selection.ParameterGrid(grid))
    members = fits_as_members(estimator, candidates)
    folds = min(one["cv"], max(1, MOST_MEMBERS // members))
    return Grid(
        number=number,
        estimator=estimator,
        grid=grid,
        cv=one["cv"],
        scoring=one["scoring"],
        candidates=candidates,
        folds=folds,
        is_small=members * one["cv"] > MOST_MEMBERS,
    )


def _made(path: str) -> Any:  # noqa: ANN401
    """With a seed where it has one: without, two searches of scikit-learn's own differ."""
    module, name = path.rsplit(".", 1)
    estimator = getattr(import_module(module), name)()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    if "n_jobs" in estimator.get_params() and module.startswith(("xgboost", "lightgbm")):
        estimator.set_params(n_jobs=1)
    return estimator


def _seeded(grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Without None among the seeds: no two fits of it are alike."""
    return {
        name: [value for value in values if value is not None] if name.endswith("random_state") else values
        for name, values in grid.items()
    }
