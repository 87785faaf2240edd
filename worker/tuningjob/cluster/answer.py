"""What a cluster answered, as scikit-learn's ``fit`` leaves it: from text, with the parameters' objects made here.

Nothing is unpickled. ``cv_results_`` is laid out by scikit-learn's own code, and every number in it is the pod's: the
text has all digits of each.
"""

import io
import json
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
import sklearn.model_selection

from tuningjob.aliases import Anything, Estimator
from tuningjob.elsewhere import FETCH_BEST
from tuningjob.engine.sklearn_private import results_table
from tuningjob.errors import ArtifactRefused
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE
from tuningjob.search.problem import prepare_estimator
from tuningjob.search.scoring import scorers, scoring_of
from tuningjob.search.selection import choose
from tuningjob.search.splitters import made_splitter
from tuningjob.search.written import to_literals

_MODEL: Final = "_model"
_FETCH: Final = "_fetch"


class _Fetches:
    """A search whose ``best_estimator_`` is fetched when it is first asked for."""

    @property
    def best_estimator_(self) -> Estimator:
        """The model, refitted on all data by a pod. Loading it runs what its file says."""
        kept = vars(self)
        if _MODEL not in kept:
            if _FETCH not in kept:
                raise AttributeError("best_estimator_")
            setattr(self, _MODEL, kept[_FETCH]())
        return kept[_MODEL]

    @best_estimator_.setter
    def best_estimator_(self, model: Estimator) -> None:
        setattr(self, _MODEL, model)

    def __getstate__(self) -> dict[str, Any]:
        """Without the way to the cluster: what was not fetched before a copy is not in it."""
        return {name: value for name, value in vars(self).items() if name != _FETCH}


class GridSearchCV(_Fetches, sklearn.model_selection.GridSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


class RandomizedSearchCV(_Fetches, sklearn.model_selection.RandomizedSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


def fitted(
    spec: TuningJobSpec, results: bytes, *, fetch: Callable[[], Estimator], like: Anything = None
) -> GridSearchCV | RandomizedSearchCV:
    """The search, fitted. ``results`` is the cv_results.csv of its pods, ``fetch`` gets the model.

    ``like``: the search that was submitted, whose settings it has; without one those that the manifest tells: its
    ``cv`` is the splitter, or the number of folds. ``refit_time_`` is the pods', and left out. Raises ManifestRefused
    for what cannot be made here, ArtifactRefused for results that are of another search.
    """
    _, space, scorer = made = prepare_estimator(spec)
    of_scikit_learn = _as_scikit_learns(spec, made)
    kind = GridSearchCV if isinstance(of_scikit_learn, sklearn.model_selection.GridSearchCV) else RandomizedSearchCV
    search = kind(**(of_scikit_learn if like is None else like).get_params(deep=False))
    _leave(search, spec, (of_scikit_learn, space, scorer), results)
    setattr(search, _FETCH, fetch)
    return search


def fitted_in_place(search: Anything, spec: TuningJobSpec, results: bytes, *, fetch: Callable[[], Estimator]) -> None:
    """Leave in one of this project's searches what its ``fit`` would have left. Arguments and errors as of ``fitted``."""
    _, space, scorer = made = prepare_estimator(spec)
    _leave(search, spec, (_as_scikit_learns(spec, made), space, scorer), results)
    if "best_estimator_" in vars(search):
        del search.best_estimator_
    if search.refit:
        setattr(search, FETCH_BEST, fetch)


def _as_scikit_learns(spec: TuningJobSpec, made: tuple[Any, Any, Any]) -> Anything:
    estimator, space, scorer = made
    return space.search_cv(
        estimator,
        scoring=scoring_of(spec, scorer),
        refit=spec.metrics.deciding if spec.metrics.several else True,
        cv=made_splitter(spec.cross_validation) or spec.cross_validation.folds,
        return_train_score=spec.return_train_score,
    )


def _leave(search: Anything, spec: TuningJobSpec, made: tuple[Any, Any, Any], results: bytes) -> None:
    of_scikit_learn, space, scorer = made
    frame = _frame(results)
    table = _table(of_scikit_learn, spec, list(space.candidates), frame)
    choice = choose(spec.select, spec.metrics.deciding, table)
    search.cv_results_ = table
    search.n_splits_ = _splits(frame, spec)
    search.multimetric_ = spec.metrics.several
    search.scorer_ = scorers(spec, scorer) if spec.metrics.several else scorer
    search.best_index_ = np.int64(choice.index)
    search.best_params_ = table["params"][choice.index]
    if choice.is_best:  # where another rule has chosen, scikit-learn has none either
        search.best_score_ = table[f"mean_test_{spec.metrics.deciding}"][choice.index]


def _frame(results: bytes) -> pd.DataFrame:
    """As text: pandas' own reading of a number may be off by the last bit."""
    try:
        return pd.read_csv(io.BytesIO(results), dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise _refused(f"a table, but got: {error}") from None


def _splits(frame: pd.DataFrame, spec: TuningJobSpec) -> int:
    key = spec.metrics.deciding
    return sum(name.startswith("split") and name.endswith(f"_test_{key}") for name in map(str, frame.columns))


def _table(search: Anything, spec: TuningJobSpec, candidates: list[Any], frame: pd.DataFrame) -> dict[str, Any]:
    told = [json.dumps(to_literals(params), sort_keys=True) for params in candidates]
    if "params" not in frame or list(frame["params"]) != told:
        raise _refused(
            "of the candidates that this manifest has here, but they differ: another release of a library may have other ones"
        )
    # scikit-learn lays the table out; the numbers in it are not read from these
    scores = dict.fromkeys(spec.metrics.keys, 0.0)
    outcome: dict[str, Any] = {
        "fit_error": None,
        "test_scores": scores if spec.metrics.several else 0.0,
        "n_test_samples": 1,
        "fit_time": 0.0,
        "score_time": 0.0,
    }
    if spec.return_train_score:
        outcome["train_scores"] = outcome["test_scores"]
    splits = _splits(frame, spec)
    table = results_table(search, candidates, splits, [outcome] * (splits * len(candidates)))
    for name, values in table.items():
        if name != "params" and not name.startswith("param_"):
            table[name] = _numbers(frame, name, values.dtype)
    if any(not np.isfinite(values).all() for name, values in table.items() if name.startswith("mean_test_")):
        warnings.warn(
            "One or more of the test scores are non-finite: fits have failed. The TuningJob's message says how many, and why.",
            UserWarning,
            stacklevel=4,
        )
    return table


def _numbers(frame: pd.DataFrame, name: str, dtype: Anything) -> Anything:
    if name not in frame:
        raise _refused(f"with the column {name}, but it has none")
    try:
        return np.asarray([float(text or "nan") for text in frame[name]]).astype(dtype)
    except ValueError as error:
        raise _refused(f"with numbers in the column {name}, but got: {error}") from None


def _refused(rest: str) -> ArtifactRefused:
    return ArtifactRefused(f"{CV_RESULTS_CSV_FILE}: must be {rest}.")
