"""The probe: it tries some fits before the search, to refuse a search in which every fit would fail.

A false refusal would be worse than a late one. So a candidate that fails on few rows is tried again on all of them, unless its
error is known to be independent of the rows. The first candidate is tried on several splits. A search is refused only if none of
up to 64 candidates succeeds; if there are more candidates, all errors must also have the same words. A fit that runs out of time
or memory, or ends its process, proves nothing. The first success ends the probe, and mostly that is the first fit.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.pipeline import Pipeline

from tuningjob.engine.processes import may_fork
from tuningjob.errors import ManifestRefused, Problem, WorkerDied
from tuningjob.manifest.literals import shown
from tuningjob.manifest.scoring import Metric
from tuningjob.search.parameters import valid_values
from tuningjob.search.problem import SearchProblem
from tuningjob.search.reasons import Reason, abridged
from tuningjob.search.trial import MeasuredFit, Trial, corner, is_same, spread_over, succeeds_here

_ROWS: Final = 128
_MOST_CANDIDATES: Final = 64
_MOST_SPLITS: Final = 10
_FIRST_SECONDS: Final = 2.0  # the longest that the probe waits for a first fit
_SECONDS: Final = 6.0
_LONGEST_ERROR: Final = 400
_VECTORISERS: Final = "sklearn.feature_extraction.text"


def refuse_what_cannot_succeed(problem: SearchProblem, *, memory_bytes: int = 0) -> None:
    """Raise ManifestRefused if every fit would fail. ``memory_bytes`` is the pod's memory, 0 if it is not known.

    It takes as long as one fit on 128 rows if that succeeds, else some seconds at most. If forking is unsafe it does nothing.
    """
    chosen = _chosen(problem)
    if not chosen or not may_fork() or succeeds_here(problem, chosen.candidates[0], _few(problem)):
        return
    try:
        with contextlib.closing(
            Trial(problem, chosen.candidates, seconds=_SECONDS, memory_bytes=memory_bytes)
        ) as trial:
            failures = _failures(problem, chosen, trial)
    except WorkerDied:
        return
    if failures:
        raise ManifestRefused([_told(problem, failures)])


# --- the candidates that are tried


@dataclass(frozen=True)
class _Chosen:
    """The candidates to try. The first ones, ``first`` in number, stand for each map of the grid and each non-numeric value."""

    candidates: list[Mapping[str, Any]]
    first: int
    is_all: bool

    def __bool__(self) -> bool:
        return bool(self.candidates)


def _chosen(problem: SearchProblem) -> _Chosen:
    maps = valid_values(problem.estimator, problem.space.tried)
    is_all = len(problem.candidates) <= _MOST_CANDIDATES
    others = list(problem.candidates) if is_all else spread_over(maps, _MOST_CANDIDATES)
    first = _distinct(_standing_for(maps))
    return _Chosen(_distinct([*first, *others]), max(2, len(first)), is_all)


def _standing_for(maps: Sequence[Mapping[str, Sequence[Any]]]) -> Iterator[Mapping[str, Any]]:
    """The least of each map, then with each non-numeric value in turn: cheap fits of different kinds."""
    least = [corner(values, 1) for values in maps]
    yield from least
    for candidate, values in zip(least, maps, strict=True):
        for name, tried in values.items():
            if len(tried) <= _MOST_CANDIDATES:
                yield from ({**candidate, name: value} for value in tried if not _is_number(value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _distinct(candidates: Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    distinct: list[Mapping[str, Any]] = []
    for candidate in candidates:
        if not any(is_same(candidate, other) for other in distinct):
            distinct.append(candidate)
    return distinct


# --- the outcome


def _failures(problem: SearchProblem, chosen: _Chosen, trial: Trial) -> list[MeasuredFit]:
    """The failed fits that prove that every fit would fail; [] if that is not proven."""
    few = _few(problem)
    first = _or_unscored(trial.measure(0, few, within=_FIRST_SECONDS))
    if first is None or first.error is None or not first.is_certain:
        return []
    known = next((each for each in _KNOWN if each.pattern.search(first.error)), None)
    everyone = range(len(chosen.candidates))
    if known is not None and known.whatever_params:
        asked = [(candidate, few, 0) for candidate in everyone[1 : chosen.first]]
    elif known is not None and known.whatever_rows:
        asked = [(candidate, few, 0) for candidate in everyone[1:]]
    else:
        splits = np.linspace(0, len(problem.splits) - 1, min(len(problem.splits), _MOST_SPLITS)).astype(int).tolist()
        asked = [(0, len(problem.splits[split][0]), split) for split in splits]
        asked += [
            (i, len(problem.splits[split][0]), split) for i in everyone[1:] for split in [splits[i % len(splits)]]
        ]
    failures = [first]
    for candidate, rows, split in asked:
        failure = trial.measure(candidate, rows, split=split)
        if first.unscored:
            failure = _or_unscored(failure, first.metric)
        if failure is None or failure.error is None or not failure.is_certain:
            return []
        failures.append(failure)
        if (known is None or not known.whatever_params) and not chosen.is_all and failure.error != failures[1].error:
            return []  # it depends on the candidate, and an untried one may succeed
        if known is not None and not known.pattern.search(failure.error):
            return []
    return failures


def _few(problem: SearchProblem) -> int:
    """The number of rows in the first fits."""
    return min(_ROWS, len(problem.splits[0][0]))


def _or_unscored(measured: MeasuredFit | None, metric: str = "") -> MeasuredFit | None:
    """A fit with a failed metric that does not decide, as a failure of that metric, or of the named one."""
    if measured is None or measured.error is not None:
        return measured
    missing = next(((key, why) for key, why in measured.unscored if metric in {"", key}), None)
    if missing is None:
        return measured
    return replace(measured, error=missing[1], is_certain=True, in_scoring=True, metric=missing[0])


def _metric(problem: SearchProblem, failure: MeasuredFit) -> Metric | None:
    """The metric that could not be scored; None for the estimator's own score, and for a failed fit."""
    metric = next((each for each in problem.spec.metrics.all if each.key == failure.metric), None)
    return None if metric is None or (metric.name is None and metric.measure is None) else metric


def _told(problem: SearchProblem, failures: Sequence[MeasuredFit]) -> Problem:
    # the most common error of the last fits, which may have had more rows
    tried = [each for each in failures if each.rows == failures[-1].rows]
    (error, _), *_ = Counter(each.error or "" for each in tried).most_common(1)
    failure = next(each for each in tried if each.error == error)
    candidates = len({each.candidate for each in failures})
    metric = _metric(problem, failure)
    each = (
        "The only candidate that was tried" if candidates == 1 else f"Each of {candidates} candidates that were tried"
    )
    how = "was fitted, but scoring it failed" if failure.in_scoring else "failed"
    return Problem(
        "spec.estimator" if metric is None else metric.field,
        "one that some fit can succeed with" if metric is None else "one that some fit can be scored by",
        _name_of(problem) if metric is None else shown(_called(metric)),
        f"{each} on {failure.rows:,} rows {how}: {abridged(error, _LONGEST_ERROR)}. {_advice(problem, failure)}".rstrip(),
        Reason.EVERY_FIT_FAILS,
    )


def _called(metric: Metric | None) -> str:
    if metric is None:
        return "the estimator's score"
    return metric.name or (metric.measure and (metric.measure.function or metric.measure.scorer)) or metric.key


def _name_of(problem: SearchProblem) -> str:
    spec = problem.spec.estimator
    parts = spec.pipeline or spec.columns or spec.union
    return shown([part.name for part in parts]) if parts else shown(spec.class_ or spec.factory)


# --- known errors, with advice

_Advice: TypeAlias = Callable[[SearchProblem, MeasuredFit], str]


@dataclass(frozen=True)
class _Known:
    """A known error: with ``whatever_rows`` it is independent of the fitted rows; it may be independent of parameters, too."""

    pattern: re.Pattern[str]
    advice: _Advice
    whatever_rows: bool = True
    whatever_params: bool = False


def _advice(problem: SearchProblem, failure: MeasuredFit) -> str:
    error = failure.error or ""
    first = problem.estimator.steps[0][1] if isinstance(problem.estimator, Pipeline) else problem.estimator
    if type(first).__module__ == _VECTORISERS and np.ndim(problem.data.X) == 2:
        column = str(problem.data.X.columns[0]) if isinstance(problem.data.X, pd.DataFrame) else "0"
        name = type(first).__name__
        return (
            f"X is a table, and {name} takes one column of texts. Put it into a sklearn.compose.ColumnTransformer, with the "
            f"column's name alone and not in a list: transformers: [[text, {{class: {_VECTORISERS}.{name}}}, {column}]]."
        )
    return next((each.advice(problem, failure) for each in _KNOWN if each.pattern.search(error)), "")


def _classes(problem: SearchProblem) -> int:
    return len(pd.unique(np.asarray(problem.data.y).ravel()))


def _of_two_classes(problem: SearchProblem, failure: MeasuredFit) -> str:
    metric, classes = _metric(problem, failure), _classes(problem)
    if metric is not None and metric.measure is not None and metric.measure.function is not None:
        return f"Say in {metric.field}.params which class counts (pos_label), or how classes are averaged (average: macro)."
    scoring = _called(metric)
    others = [name for name in (f"{scoring}_macro", f"{scoring}_weighted") if name in get_scorer_names()]
    averaged = f"Write scoring: {' or '.join(others)}" if others else ""
    if classes > 2:
        return f"{scoring} is for two classes, and the target has {classes}. {averaged or 'Choose another scorer'}."
    if "multiclass" in (failure.error or ""):
        return (
            "Predicted are other labels than the target has: give the target the labels that the estimator predicts "
            "(an outlier detector: 1 and -1)."
        )
    number = "give the target as 0 and 1, where 1 is the class that counts"
    return f"{scoring} takes 1 for the class that counts (scikit-learn's pos_label). " + (
        f"{averaged}, or {number}." if averaged else f"{number[0].upper()}{number[1:]}."
    )


def _of_text(problem: SearchProblem, failure: MeasuredFit) -> str:
    y = np.asarray(problem.data.y)
    is_meant = failure.in_scoring or not is_classifier(problem.estimator)
    if is_meant and y.dtype.kind in "OUST" and any(isinstance(each, str) for each in y[:100].flat):
        return (
            "The target is text: choose a classifier and a scorer for classes, or another column as spec.data.target."
        )
    return (
        "Put an encoder before the estimator in spec.estimator.pipeline (sklearn.preprocessing.OneHotEncoder, by a "
        "sklearn.compose.ColumnTransformer for some columns), or name the numeric columns in spec.data.features."
    )


def _known(pattern: str, advice: "str | _Advice", **kind: bool) -> _Known:
    return _Known(re.compile(pattern), advice if callable(advice) else lambda *_: advice, **kind)


_KNOWN: Final = (
    _known(r"pos_label=1 is not a valid label.*\['", _of_two_classes, whatever_params=True),
    _known(r"Target is multiclass but average='binary'", _of_two_classes, whatever_params=True),
    _known(r"y_true takes value in \{'.* and pos_label is not specified", _of_two_classes, whatever_params=True),
    _known(
        r"multi_class must be in \('ovo', 'ovr'\)",
        lambda problem, failure: (
            f"{_called(_metric(problem, failure))} is for two classes, and the target has {_classes(problem)}. Write scoring: "
            "roc_auc_ovr or roc_auc_ovo, which need predict_proba."
        ),
        whatever_params=True,
    ),
    _known(
        r"Invalid classes inferred from unique values of `y`.*got \['",
        "It takes classes that are numbered 0, 1, 2 and so on: number them in the data; no step of a pipeline does that.",
    ),
    _known(
        r"at least 1 validation dataset for early stopping|[Ff]or early stopping, at least one dataset",
        "A search gives fit no validation set: leave early stopping out, and try numbers of rounds (n_estimators) in the grid. "
        "scikit-learn's HistGradientBoosting takes a part of the training rows by itself.",
    ),
    _known(r"could not convert string to float|data must be int, float, bool or category", _of_text),
    _known(
        r"DateTime64DType|datetime64|Timestamp",
        "A date is no number: name the other columns in spec.data.features, or make numbers of it in the data.",
    ),
    _known(
        r"Unknown label type: continuous",
        "The target is measured, not a class: choose a regressor, or another column as spec.data.target.",
    ),
    _known(
        r"continuous is not supported",
        "The scorer is for classes, and the target is measured: choose another scorer, such as r2.",
    ),
    _known(
        r"[Ii]nfinity",
        "Leave the rows with infinities out of the data, or make missing values of them.",
        whatever_rows=False,
    ),
    _known(
        r"contains NaN|missing values",
        "Put sklearn.impute.SimpleImputer before the estimator in spec.estimator.pipeline.",
        whatever_rows=False,
    ),
)
