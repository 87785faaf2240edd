"""Make scikit-learn's ``cv_results_`` from cells, by scikit-learn's own code, and write the result files of a search."""

import json
import math
import os
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import joblib
import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv

from tuningjob import __version__
from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.artifacts.downloads import FIT_ATTRIBUTES, Sidecar
from tuningjob.artifacts.store import artifact_at
from tuningjob.engine.fingerprint import nested_estimators
from tuningjob.engine.pruned import with_pruned
from tuningjob.engine.sklearn_private import best_index, keep_splitter, results_table
from tuningjob.errors import SearchFailed
from tuningjob.manifest import wellknown
from tuningjob.manifest.spelling import spelled
from tuningjob.protocol import records
from tuningjob.protocol.records import CellResult
from tuningjob.search.kernels import kernels_in_use
from tuningjob.search.problem import SearchProblem, library_versions
from tuningjob.search.reasons import Reason, abridged, exception_in, reason_of
from tuningjob.search.scoring import scorers
from tuningjob.search.selection import Selection, choose, gaps_of
from tuningjob.search.stages import came_to, outcome_of, search_of
from tuningjob.search.written import json_of, literal_of, to_literals

LEADERBOARD_ROWS: Final = 100
_OF_ROUNDS: Final = ("iter", "n_resources", "round")
_TRACEBACK_LINES: Final = 12
_MOST_ERRORS: Final = 100  # the most that are counted apart
SearchCV: TypeAlias = GridSearchCV | RandomizedSearchCV
# joblib's argument for each spec.artifacts.compression. The level is joblib's own, 3: on a forest the highest ones took 3 to 25
# times as long for 6 to 18 % less (docs/artifacts.md).
_COMPRESS: Final[Mapping[str, Any]] = {"none": 0, "lz4": ("lz4", 3), "gzip": ("gzip", 3), "xz": ("xz", 3)}


@dataclass(frozen=True)
class ResultTexts:
    """The texts about the results, in the form of the files."""

    verdict: str
    report: str


@dataclass(frozen=True)
class DefaultScores:
    """The results of the defaults: the deciding test ``scores`` on each split, and the mean ``seconds`` of a split.

    ``failed`` is how many of their fits failed, the first one with ``error``. ``is_shared`` says that they needed no fit, because
    they are a candidate.
    """

    scores: list[float]
    seconds: float
    failed: int = 0
    error: str = ""
    is_shared: bool = False


@dataclass(frozen=True)
class Results:
    """The results of a search.

    ``cv_results`` is scikit-learn's cv_results_. ``metric`` is the deciding one, by its name in the columns. ``choice`` is the
    candidate chosen by scikit-learn's rule or by one of the manifest. ``errors`` counts the failed fits by error, and
    ``first_failed`` is the first candidate with one. ``pruned_fits`` is the number of fits that were not needed. ``defaults`` has
    the results of the estimator with its defaults, if a baseline is scored. ``attributes`` has further attributes of the fitted
    search, if it went by stages. ``inner`` has what ``_fit_and_score`` returned in each outer fold of a nested search.
    """

    cv_results: dict[str, Any]
    metric: str
    choice: Selection
    best_params: dict[str, Any]
    failed_fits: int
    fit_seconds_total: float
    errors: "Counter[str]"
    first_failed: int | None
    defaults: DefaultScores | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    inner: Sequence[dict[str, Any]] = ()
    pruned_fits: int = 0

    @property
    def best_index(self) -> int:
        """The number of the candidate that is the answer."""
        return self.choice.index

    @property
    def best_score(self) -> float:
        """The answer's mean test score by the deciding metric."""
        return float(self.cv_results[f"mean_test_{self.metric}"][self.best_index])

    @property
    def best_std(self) -> float:
        """The population standard deviation of the answer's test scores over the splits."""
        return float(self.cv_results[f"std_test_{self.metric}"][self.best_index])

    @property
    def best_scores(self) -> dict[str, float]:
        """The answer's mean test score by each metric, the deciding one first."""
        names = [name for name in self.cv_results if name.startswith("mean_test_")]
        scores = {name.removeprefix("mean_test_"): float(self.cv_results[name][self.best_index]) for name in names}
        return {self.metric: scores[self.metric], **scores}

    @property
    def choice_told(self) -> records.Choice | None:
        """The rule of the choice, for the journal; None if it is scikit-learn's own."""
        choice = self.choice
        if choice.is_best:
            return None
        passed = choice.passed_over
        score = math.nan if passed is None else float(self.cv_results[f"mean_test_{self.metric}"][passed])
        return records.Choice(rule=choice.rule, passed_over=passed, score=score, why=choice.why)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the results; each begins with its reason."""
        choice, total = self.choice, len(self.cv_results["params"])
        risky = int(choice.risky.sum())
        if not risky:
            return ()
        its = "the best one is among them" if choice.risky[self.best_index] else "the best one is not among them"
        told = (
            f"{Reason.OVERFIT_GAP}: the train score of {risky:,} of {total:,} candidates is above their test score by more than "
            f"{choice.gap:g}; {its}. Simplify or regularise the model, or set spec.select.maxOverfitGap."
        )
        return (told,)


def gather(problem: SearchProblem, cells: Iterable[CellResult]) -> Results:
    """Make the results from all cells of a search, in order. Raises SearchFailed if every fit failed."""
    outcomes: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    defaults: list[CellResult] = []
    failed_candidates = 0
    first_error: str | None = None
    first_failed: int | None = None
    errors: Counter[str] = Counter()
    failed = pruned = 0
    seconds = 0.0
    for cell in cells:
        candidate = None
        if problem.is_of_defaults(cell.candidate):
            defaults.append(cell)
        elif problem.is_beside(cell.candidate):
            beside.append(outcome_of(cell, problem.spec))
        else:
            candidate = len(outcomes) // len(problem.splits)
            outcomes.append(outcome_of(cell, problem.spec))
            failed_candidates += cell.error is not None
        seconds += cell.fit_seconds + cell.score_seconds
        pruned += cell.pruned
        if cell.error is not None:
            failed += 1
            reason = reason_of(cell.error)
            if reason in errors or len(errors) < _MOST_ERRORS:
                errors[reason] += 1
            first_error = first_error or cell.error
            first_failed = candidate if first_failed is None else first_failed
    if failed_candidates == len(outcomes):
        raise SearchFailed(every_fit_failed(failed_candidates, first_error or ""))
    table, attributes = _came_to(problem, outcomes)
    metric = problem.spec.metrics.deciding
    choice = choose(problem.spec.select, metric, table)
    if problem.space.halving is not None:  # only the last round competes
        choice = replace(choice, index=best_index(search_of(problem), metric, table))
    return Results(
        table,
        metric,
        choice,
        table["params"][choice.index],
        failed,
        seconds,
        errors,
        first_failed,
        _scored(defaults, problem) if defaults else None,
        attributes,
        beside,
        pruned,
    )


def _scored(defaults: Sequence[CellResult], problem: SearchProblem) -> DefaultScores:
    errors = [cell.error for cell in defaults if cell.error is not None]
    return DefaultScores(
        scores=[cell.test_scores.get(problem.spec.metrics.deciding, math.nan) for cell in defaults],
        seconds=math.fsum(cell.fit_seconds + cell.score_seconds for cell in defaults) / len(defaults),
        failed=len(errors),
        error=reason_of(errors[0]) if errors else "",
        is_shared=problem.shared_with is not None
        and not any(cell.fit_seconds + cell.score_seconds for cell in defaults),
    )


def _came_to(problem: SearchProblem, outcomes: list[dict[str, Any]]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """``cv_results_``, and the other attributes that scikit-learn's search would have set by then."""
    if problem.stage is not None:
        came = came_to(problem, outcomes)
        return came.table, came.attributes
    with warnings.catch_warnings():
        # NaN scores are reported as a number of failed fits where results are shown
        warnings.filterwarnings("ignore", message="One or more of the .* scores are non-finite", category=UserWarning)
        splits = len(problem.splits)
        make = partial(results_table, search_of(problem), problem.candidates, splits, outcomes)
        return (make() if problem.spec.prune is None else with_pruned(outcomes, splits, make)), {}


def fitted_search(
    problem: SearchProblem,
    results: Results,
    best_estimator: Estimator,
    refit_seconds: float,
) -> SearchCV:
    """The search object as scikit-learn's ``fit`` would have left it, so that all code for fitted searches works with it."""
    search = search_of(problem)
    for name, value in results.attributes.items():
        setattr(search, name, value)
    keep_splitter(search, check_cv(search.cv, problem.data.y, classifier=is_classifier(problem.estimator)))
    search.n_splits_ = len(problem.splits)
    search.multimetric_ = problem.spec.metrics.several
    search.best_index_ = np.int64(results.best_index)
    if results.choice.is_best:  # if another rule has chosen, scikit-learn has none either
        search.best_score_ = results.cv_results[f"mean_test_{results.metric}"][results.best_index]
    search.best_params_ = results.best_params
    search.best_estimator_ = best_estimator
    search.refit_time_ = refit_seconds
    if hasattr(best_estimator, "feature_names_in_"):
        search.feature_names_in_ = best_estimator.feature_names_in_
    search.scorer_ = scorers(problem.spec, problem.scorer) if problem.spec.metrics.several else problem.scorer
    search.cv_results_ = results.cv_results
    return search


def every_fit_failed(count: int, traceback: str) -> str:
    """The reason of a search without an answer, with the end of the first traceback."""
    traceback = traceback.strip()
    lines = traceback.split("\n")
    # the first line of a long reason, which has its kind
    first = min(max(0, len(lines) - _TRACEBACK_LINES), traceback.count("\n", 0, exception_in(traceback)))
    end = "\n".join(abridged(line) for line in lines[first : first + _TRACEBACK_LINES])
    return f"all {count} fits failed; the first one ended with:\n{end}"


def to_frame(results: Results) -> pd.DataFrame:
    """cv_results_ as a frame: one row a candidate, parameters in columns that a file can hold, ``params`` as JSON."""
    columns: dict[str, Any] = {}
    for name, values in results.cv_results.items():
        if name == "params":
            columns[name] = [json.dumps(to_literals(params), sort_keys=True) for params in values]
        elif name.startswith("param_"):
            columns[name] = _parameter_column(values)
        else:
            columns[name] = values
    return pd.DataFrame(columns)


def _json(value: ParamValue) -> str:
    return json_of(literal_of(value))


def _parameter_column(values: "np.ma.MaskedArray[Any, Any]", write: Callable[[Any], str] = _json) -> pd.Series:
    """A column of one type keeps numbers and text; mixed or other values become JSON. Absent parameters are missing values."""
    absent = np.ma.getmaskarray(values)
    plain = [None if gone else _item(value) for value, gone in zip(values.data, absent, strict=True)]
    kinds = {_kind(value) for value, gone in zip(plain, absent, strict=True) if not gone}
    dtypes: dict[frozenset[type], str] = {
        frozenset({int}): "Int64",
        frozenset({float}): "Float64",
        frozenset({bool}): "boolean",
        frozenset({str}): "string",
    }
    dtype = dtypes.get(frozenset(kinds))
    try:
        if dtype is not None:
            return pd.Series(plain, dtype=dtype)
    except OverflowError:
        pass  # an integer beyond 64 bits is written as JSON
    return pd.Series(
        [None if gone else write(value) for value, gone in zip(plain, absent, strict=True)],
        dtype="string",
    )


def _item(value: ParamValue) -> Anything:
    return value.item() if isinstance(value, np.generic) else value


def _kind(value: ParamValue) -> type:
    # in a column of numbers NaN would mean a missing value
    return object if isinstance(value, float) and not math.isfinite(value) else type(value)


def leaderboard(results: Results, rows: int = LEADERBOARD_ROWS) -> pd.DataFrame:
    """A readable table of the best candidates: rank, index, mean and std of the test score, seconds of a fit, parameters.

    It is ordered by the deciding metric, and has the means of the others. If there are train scores, it has their mean, its
    excess over the test score's (``gap``), and whether that is too large (``risky``).
    """
    table, metric = results.cv_results, results.metric
    ranks = table[f"rank_test_{metric}"]
    # the last round of halving first, because scores with less of the resource are not comparable
    best = np.lexsort((ranks, -np.asarray(table.get("iter", np.zeros(len(ranks))))))[:rows]
    columns: dict[str, Any] = {f"rank_test_{metric}": ranks[best], "candidate": best}
    columns |= {name: np.asarray(table[name])[best] for name in _OF_ROUNDS if name in table}
    columns |= {name: table[name][best] for name in (f"mean_test_{metric}", f"std_test_{metric}")}
    columns |= {
        name: values[best] for name, values in table.items() if name.startswith("mean_test_") and name not in columns
    }
    gaps = gaps_of(table, metric)
    if gaps is not None:
        columns[f"mean_train_{metric}"] = table[f"mean_train_{metric}"][best]
        columns["gap"] = gaps[best]
        columns["risky"] = results.choice.risky[best]
    if wellknown.PRUNED_COLUMN in table:
        columns[wellknown.PRUNED_COLUMN] = table[wellknown.PRUNED_COLUMN][best]
    columns["mean_fit_time"] = table["mean_fit_time"][best]
    columns |= {
        name: _parameter_column(values[best], lambda value: spelled(literal_of(value)))
        for name, values in table.items()
        if name.startswith("param_")
    }
    return pd.DataFrame(columns)


def write_files(problem: SearchProblem, results: Results, search: SearchCV, told: ResultTexts, folder: Path) -> None:
    """Write every file of wellknown.RESULT_FILES, each completely or not at all; ``search`` is fitted, ``told`` has its texts.

    Floats are written with Python's shortest repr, which reads back equal. The sidecar is written after the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / wellknown.SIDECAR_FILE).unlink(missing_ok=True)
    compression = problem.spec.artifacts.compression
    frame = to_frame(results)
    best = json.dumps(to_literals(results.best_params, search.best_estimator_), indent=2, sort_keys=True) + "\n"
    writers: dict[str, Callable[[Path], object]] = {
        wellknown.BEST_PARAMS_FILE: lambda path: path.write_text(best, encoding="utf-8"),
        wellknown.VERDICT_FILE: lambda path: path.write_text(told.verdict, encoding="utf-8"),
        wellknown.REPORT_FILE: lambda path: path.write_text(told.report, encoding="utf-8"),
        wellknown.LEADERBOARD_FILE: lambda path: leaderboard(results).to_csv(path, index=False),
        wellknown.CV_RESULTS_CSV_FILE: lambda path: frame.to_csv(path, index=False),
        wellknown.CV_RESULTS_PARQUET_FILE: lambda path: frame.to_parquet(path, index=False),
        wellknown.MODEL_FILE: lambda path: dump_model(search.best_estimator_, path, compression),
        wellknown.SEARCH_FILE: lambda path: dump_model(search, path, compression),
    }
    for name, write in writers.items():
        _atomically(folder / name, write)
    sidecar = Sidecar(
        tuningjob=__version__,
        compression=compression,
        versions=problem.versions | needed_to_load(search, compression),
        files=tuple(artifact_at(folder / name) for name in writers),
        attributes=told_attributes(search),
        kernels=kernels_in_use(),
    )
    _atomically(folder / wellknown.SIDECAR_FILE, lambda path: path.write_text(sidecar.dumps(), encoding="utf-8"))


def dump_model(value: ParamValue, path: Path, compression: str) -> None:
    """Write a value by ``joblib.dump`` with one of the compressions of ``spec.artifacts``."""
    joblib.dump(value, path, compress=_COMPRESS[compression])


def told_attributes(search: SearchCV) -> dict[str, Any]:
    """The FIT_ATTRIBUTES that a fitted search has: numbers and lists of numbers."""
    found = {name: getattr(search, name) for name in FIT_ATTRIBUTES if hasattr(search, name)}
    return {
        name: [_item(each) for each in value] if isinstance(value, list) else _item(value)
        for name, value in found.items()
    }


_KNOWN: Final = frozenset({"builtins", "sklearn"})


def needed_to_load(search: SearchCV, compression: str) -> dict[str, str]:
    """The versions of Python and of the distributions that loading the fitted search, with the same scores, requires."""
    versions = {"python": platform.python_version(), **library_versions()}
    modules = {type(each).__module__.partition(".")[0] for each in (*nested_estimators(search), search.cv)} - _KNOWN
    # looked up only if needed, because reading the owners of all installed files takes longer than a small search
    distributions = packages_distributions() if modules else {}
    names = {name for module in modules for name in distributions.get(module, ())}
    if compression == "lz4":
        names.add("lz4")
    return versions | {name: version(name) for name in sorted(names - versions.keys())}


def _atomically(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
