"""What a cluster answered, as scikit-learn's ``fit`` leaves it: from text, with the parameters' objects made here.

Nothing is unpickled. scikit-learn's own code lays out ``cv_results_``, and every number in it is the pod's, because the text has
all digits of each. For a search by rounds, the text says which candidates each round had; they are those that are made here, or
(``refine``) numbers between them.
"""

import copy
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import sklearn.model_selection

from tuningjob.aliases import Anything, Estimator
from tuningjob.artifacts.downloads import FIT_ATTRIBUTES, Sidecar
from tuningjob.elsewhere import FETCH_BEST
from tuningjob.engine import sklearn_private
from tuningjob.engine.sklearn_private import best_index, results_table
from tuningjob.errors import ArtifactRefused
from tuningjob.manifest.halving import SAMPLES
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE, PRUNED_COLUMN
from tuningjob.search.problem import prepare_estimator
from tuningjob.search.scoring import scorers, scoring_of
from tuningjob.search.selection import choose
from tuningjob.search.space import Space
from tuningjob.search.splitters import made_splitter
from tuningjob.search.written import to_literals

# the first columns of the table of a search by rounds: by halving, and by refinement
_OF_ROUNDS: Final = ("iter", "n_resources", "round")
_MODEL: Final = "_model"
_FETCH: Final = "_fetch"


class _Fetches:
    """A search whose ``best_estimator_`` is fetched when it is first asked for."""

    @property
    def best_estimator_(self) -> Estimator:
        """The model, which a pod refitted on all data. Loading it runs the code that its file names."""
        kept = vars(self)
        if _MODEL not in kept:
            if _FETCH not in kept:
                raise AttributeError("best_estimator_")
            setattr(self, _MODEL, kept[_FETCH]())
        return kept[_MODEL]

    @best_estimator_.setter
    def best_estimator_(self, model: Estimator) -> None:
        setattr(self, _MODEL, model)

    def _html_repr(self) -> str:
        """scikit-learn's diagram. It looks at every attribute, but does not load the model."""
        shown = self if _MODEL in vars(self) else copy.copy(self)
        diagram: str = super(_Fetches, shown)._html_repr()  # type: ignore[misc]
        return diagram

    def __getstate__(self) -> dict[str, Any]:
        """The state without the connection to the cluster: a copy lacks what was not fetched before."""
        return {name: value for name, value in vars(self).items() if name != _FETCH}


class GridSearchCV(_Fetches, sklearn_private.Diagram, sklearn.model_selection.GridSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


class RandomizedSearchCV(_Fetches, sklearn_private.Diagram, sklearn.model_selection.RandomizedSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


class HalvingGridSearchCV(_Fetches, sklearn_private.Diagram, sklearn_private.HalvingGridSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


class HalvingRandomSearchCV(_Fetches, sklearn_private.Diagram, sklearn_private.HalvingRandomSearchCV):  # type: ignore[misc]
    """scikit-learn's, fitted on a cluster."""


FittedSearch = GridSearchCV | RandomizedSearchCV | HalvingGridSearchCV | HalvingRandomSearchCV
_KINDS: Final[Mapping[type, type[Any]]] = {
    sklearn.model_selection.GridSearchCV: GridSearchCV,
    sklearn.model_selection.RandomizedSearchCV: RandomizedSearchCV,
    sklearn_private.HalvingGridSearchCV: HalvingGridSearchCV,
    sklearn_private.HalvingRandomSearchCV: HalvingRandomSearchCV,
}


@dataclass(frozen=True)
class PublishedAnswer:
    """What pods answered: their cv_results.csv, and what they report beside it, which an older release does not.

    ``fetch`` gets the model.
    """

    results: bytes
    sidecar: Sidecar | None
    fetch: Callable[[], Estimator]


def fitted(spec: TuningJobSpec, answer: PublishedAnswer, *, like: Anything = None) -> FittedSearch:
    """The fitted search.

    ``like``: the search that was submitted, whose settings it gets. Without it the settings are the manifest's, and ``cv`` is the
    splitter or the number of folds. Raises ManifestRefused for what cannot be made here, ArtifactRefused for results of another
    search.
    """
    _, space, scorer = made = prepare_estimator(spec)
    of_scikit_learn = _as_scikit_learns(spec, made)
    kind = _KINDS[type(of_scikit_learn)]
    settings = (of_scikit_learn if like is None else like).get_params(deep=False)
    settings.pop("prune", None)  # it is this project's own; the manifest has it
    search: FittedSearch = kind(**settings)
    _leave(search, spec, (of_scikit_learn, space, scorer), answer)
    setattr(search, _FETCH, answer.fetch)
    return search


def fitted_in_place(search: Anything, spec: TuningJobSpec, answer: PublishedAnswer) -> None:
    """Leave in one of this project's searches what its ``fit`` would have left. Raises as ``fitted`` does."""
    _, space, scorer = made = prepare_estimator(spec)
    _leave(search, spec, (_as_scikit_learns(spec, made), space, scorer), answer)
    if "best_estimator_" in vars(search):
        del search.best_estimator_
    if search.refit:
        setattr(search, FETCH_BEST, answer.fetch)


def _as_scikit_learns(spec: TuningJobSpec, made: tuple[Any, Any, Any]) -> Anything:
    estimator, space, scorer = made
    return space.search_cv(
        estimator,
        scoring=scoring_of(spec, scorer),
        refit=spec.metrics.deciding if spec.metrics.several else True,
        cv=made_splitter(spec.cross_validation) or spec.cross_validation.folds,
        return_train_score=spec.return_train_score,
    )


def _leave(search: Anything, spec: TuningJobSpec, made: tuple[Any, Any, Any], answer: PublishedAnswer) -> None:
    of_scikit_learn, space, scorer = made
    frame = _frame(answer.results)
    table = _table(of_scikit_learn, spec, list(_candidates(space, spec, frame)), frame)
    choice = choose(spec.select, spec.metrics.deciding, table)
    if space.halving is not None:  # only the best of the last round
        choice = replace(choice, index=best_index(of_scikit_learn, spec.metrics.deciding, table))
    search.cv_results_ = table
    search.n_splits_ = _splits(frame, spec)
    search.multimetric_ = spec.metrics.several
    search.scorer_ = scorers(spec, scorer) if spec.metrics.several else scorer
    search.best_index_ = np.int64(choice.index)
    search.best_params_ = table["params"][choice.index]
    if choice.is_best:  # if another rule chose, scikit-learn has none either
        search.best_score_ = table[f"mean_test_{spec.metrics.deciding}"][choice.index]
    told = {} if answer.sidecar is None else answer.sidecar.attributes
    for name in FIT_ATTRIBUTES:
        if name in told:
            setattr(search, name, told[name])
        elif name in vars(search):  # left by an earlier fit
            delattr(search, name)


def _candidates(space: Space, spec: TuningJobSpec, frame: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """The candidates of the table as they are made here: the first round's, then those that later rounds kept or refined."""
    first = list(space.candidates)
    if space.halving is not None:
        yield from _halved(space.halving.resource, first, frame)
        return
    yield from first
    if spec.search.refine is not None:
        # an estimator among the values of a grid is the same object in every candidate that has it
        values = {
            (name, _told({name: value})): value
            for grid in space.given
            for name, given in grid.items()
            for value in given
        }
        for text in _texts(frame)[len(first) :]:
            yield _refined(text, values)


def _halved(resource: str, first: list[Mapping[str, Any]], frame: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """The first round, then its candidates that went on. If the resource is a parameter, it has the amount of the round."""
    known = {_told(params): params for params in first}
    given = _numbers(frame, "n_resources", np.int64)
    for row, text in enumerate(_texts(frame)):
        own = json.dumps(_without(resource, text), sort_keys=True)
        if own not in known:
            raise _refused(f"of candidates that the first round had, but got {text[:80]!r}")
        params = first[row] if row < len(first) else known[own]
        yield params if resource == SAMPLES else {**params, resource: int(given[row])}


def _without(name: str, text: str) -> Anything:
    try:
        written = json.loads(text)
    except ValueError:
        return None
    return {key: value for key, value in written.items() if key != name} if isinstance(written, dict) else None


def _texts(frame: pd.DataFrame) -> list[str]:
    """The texts of the candidates in the table."""
    return list(frame["params"]) if "params" in frame else []


def _refined(text: str, values: Mapping[tuple[str, str], Any]) -> Mapping[str, Any]:
    """A candidate between those of the grid: values of the grid and numbers, so that nothing that pods name is imported."""
    try:
        written = json.loads(text)
    except ValueError:
        written = None
    found: dict[str, Any] = {}
    for name, value in sorted(written.items()) if isinstance(written, dict) else ():
        part = name, _text({name: value})
        if part not in values and type(value) not in {int, float}:
            break
        found[name] = values.get(part, value)
    if not found or found.keys() != written.keys():
        raise _refused(f"of candidates with values of the grid, or numbers between them, but got {text[:80]!r}")
    return found


def _told(params: Mapping[str, Any]) -> str:
    return _text(to_literals(params))


def _text(literals: Anything) -> str:
    return json.dumps(literals, sort_keys=True)


def _frame(results: bytes) -> pd.DataFrame:
    """The table as text, because pandas' own reading of a number may be off by the last bit."""
    try:
        return pd.read_csv(io.BytesIO(results), dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise _refused(f"a table, but got: {error}") from None


def _splits(frame: pd.DataFrame, spec: TuningJobSpec) -> int:
    key = spec.metrics.deciding
    return sum(name.startswith("split") and name.endswith(f"_test_{key}") for name in map(str, frame.columns))


def _table(search: Anything, spec: TuningJobSpec, candidates: list[Any], frame: pd.DataFrame) -> dict[str, Any]:
    told = [_told(params) for params in candidates]
    if _texts(frame) != told:
        raise _refused(
            "of the candidates that this manifest has here, but they differ: another release of a library may have other ones"
        )
    # scikit-learn lays the table out by these; its numbers are replaced by the pods'
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
    more = {name: [0] * len(candidates) for name in _OF_ROUNDS if name in frame}
    table = results_table(search, candidates, splits, [outcome] * (splits * len(candidates)), more)
    for name, values in table.items():
        if name != "params" and not name.startswith("param_"):
            table[name] = _numbers(frame, name, values.dtype)
    ran = np.ones(len(candidates), dtype=bool)
    if spec.prune is not None:
        table[PRUNED_COLUMN] = np.asarray(_column(frame, PRUNED_COLUMN)) == "True"
        ran = ~table[PRUNED_COLUMN]
    if any(not np.isfinite(values[ran]).all() for name, values in table.items() if name.startswith("mean_test_")):
        warnings.warn(
            "One or more of the test scores are non-finite: fits have failed. The TuningJob's message says how many, and why.",
            UserWarning,
            stacklevel=4,
        )
    return table


def _column(frame: pd.DataFrame, name: str) -> list[str]:
    if name not in frame:
        raise _refused(f"with the column {name}, but it has none")
    return list(frame[name])


def _numbers(frame: pd.DataFrame, name: str, dtype: Anything) -> Anything:
    try:
        return np.asarray([float(text or "nan") for text in _column(frame, name)]).astype(dtype)
    except ValueError as error:
        raise _refused(f"with numbers in the column {name}, but got: {error}") from None


def _refused(rest: str) -> ArtifactRefused:
    return ArtifactRefused(f"{CV_RESULTS_CSV_FILE}: must be {rest}.")
