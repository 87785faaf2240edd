"""A nested search: scikit-learn's ``cross_validate`` of the search, with nothing copied for an outer fold.

The candidates are tried once more on the training rows of each outer fold: rows of the journal after the search's own, on splits
that are row numbers of the whole data. What a fold has chosen is fitted on all of its training rows and scored on the others
where the search is finished: as many fits as there are folds, of candidates that could be fitted on fewer rows.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from tuningjob.aliases import AnySplitter, Estimator
from tuningjob.engine import Evaluated, one_thread
from tuningjob.engine.evaluate import Evaluator
from tuningjob.engine.sklearn_private import results_table, safe_indexing
from tuningjob.engine.work import Split
from tuningjob.errors import ManifestRefused
from tuningjob.manifest.cross_validation import GROUPS
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.nested import NESTED, PLAIN_FOLDS, Nested
from tuningjob.protocol.records import NestedEstimate
from tuningjob.search.data import Dataset
from tuningjob.search.reasons import Reason, error_text, refused
from tuningjob.search.selection import choose
from tuningjob.search.splitters import given_cv, takes_groups
from tuningjob.search.stages import search_of
from tuningjob.search.written import to_literals

if TYPE_CHECKING:  # it has these folds
    from tuningjob.search.problem import SearchProblem
    from tuningjob.search.results import Results

_MOST_TOLD: Final = 3
_LONGEST: Final = 150


@dataclass(frozen=True)
class OuterFold:
    """One outer fold, and the splits of the search within its training rows: all of them numbers of rows of the whole data."""

    outer: Split
    inner: Sequence[Split]


def outer_folds(spec: TuningJobSpec, estimator: Estimator, data: Dataset, splits: int) -> list[OuterFold]:
    """The outer folds of ``spec.search.nested``. Raises ManifestRefused for what cannot be divided, twice."""
    nested = spec.search.nested
    if nested is None:
        return []
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class in y has only", UserWarning)
            around = _around(spec, nested, estimator, data)
            folds = [_fold(spec, estimator, data, outer) for outer in _divided(around, estimator, data)]
    except ValueError as error:
        raise _refused(nested, f"scikit-learn says: {error_text(error)}.") from error
    for i, fold in enumerate(folds):
        if len(fold.inner) != splits:
            told = f"The search has {splits} splits, and {len(fold.inner)} in the training rows of outer fold {i}."
            raise _refused(nested, told)
    return folds


def _around(spec: TuningJobSpec, nested: Nested, estimator: Estimator, data: Dataset) -> AnySplitter:
    """What divides the data into outer folds. Raises ManifestRefused."""
    cv = nested.around(spec.cross_validation)
    made = given_cv(cv, estimator, data)
    if cv.splitter is not None and cv.groups is not None and not takes_groups(made):
        must_be = f"a splitter that divides by groups beside {GROUPS}"
        advice = "Otherwise a group is trained on and scored. GroupKFold is one."
        raise refused(Reason.NESTED_INVALID, f"{NESTED}.splitter.class", must_be, cv.splitter.class_, advice)
    return made


def _refused(nested: Nested, advice: str) -> ManifestRefused:
    field, what = (
        ("splitter", "a splitter into outer folds") if nested.splitter else ("folds", "a number of outer folds")
    )
    got = nested.splitter.class_ if nested.splitter is not None else nested.folds or PLAIN_FOLDS
    must_be = f"{what} in each of which the search can divide the rest"
    return refused(Reason.NESTED_INVALID, f"{NESTED}.{field}", must_be, got, advice)


def _divided(cv: AnySplitter, estimator: Estimator, data: Dataset) -> list[Split]:
    splitter = check_cv(cv, data.y, classifier=is_classifier(estimator))
    found = splitter.split(data.X, data.y, groups=data.beside.get(GROUPS))
    return [(np.asarray(train), np.asarray(test)) for train, test in found]


def _fold(spec: TuningJobSpec, estimator: Estimator, data: Dataset, outer: Split) -> OuterFold:
    rows = outer[0]
    part = replace(
        data,
        X=safe_indexing(data.X, rows),
        y=None if data.y is None else safe_indexing(data.y, rows),
        beside={name: safe_indexing(column, rows) for name, column in data.beside.items()},
    )
    inner = _divided(given_cv(spec.cross_validation, estimator, part), estimator, part)
    return OuterFold(outer, [(rows[train], rows[test]) for train, test in inner])


def estimated(problem: "SearchProblem", results: "Results") -> NestedEstimate | None:
    """What the search is to be expected to score on data that it has not seen, if the manifest asks for it."""
    if not problem.folds:
        return None
    from tuningjob.search.cells import result_of, work_of  # noqa: PLC0415  they are made of problems

    splits, count = len(problem.splits), len(problem.candidates)
    search, metric = search_of(problem), problem.spec.metrics.deciding
    chosen: list[Mapping[str, Any]] = []
    for start in range(0, len(problem.folds) * count * splits, count * splits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scores that are NaN are reported as failed fits
            table = results_table(search, problem.candidates, splits, results.inner[start : start + count * splits])
        chosen.append(table["params"][choose(problem.spec.select, metric, table).index])
    work = replace(
        work_of(problem), candidates=chosen, splits=[fold.outer for fold in problem.folds], return_train_score=False
    )
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        steps = [step for i in range(len(chosen)) for step in Evaluator(work).evaluate(i, [i], plain=True)]
    outcomes = [result_of(step, problem.spec.metrics) for step in steps if isinstance(step, Evaluated)]
    scores = [next(iter(outcome.test_scores.values())) for outcome in outcomes]  # the deciding one comes first
    return nested_of(scores, [to_literals(each) for each in chosen], results.best_score, problem.metric)


def nested_of(scores: Sequence[float], chosen: Sequence[Mapping[str, Any]], best: float, metric: str) -> NestedEstimate:
    """The estimate from the score of each outer fold, what it has chosen, and the best score of the whole search."""
    mean, std = float(np.mean(scores)), float(np.std(scores))
    counted = Counter(json.dumps(each, sort_keys=True) for each in chosen).most_common()
    told = [
        f"{text[:_LONGEST]}{'…' if len(text) > _LONGEST else ''} in {count}" for text, count in counted[:_MOST_TOLD]
    ]
    more = f", and {len(counted) - _MOST_TOLD} others" if len(counted) > _MOST_TOLD else ""
    folds = f"of {len(scores)} outer folds"
    if math.isfinite(mean):
        above = best - mean
        where = f"{abs(above):.4f} {'above' if above >= 0 else 'below'} it"
        first = (
            f"Nested: {metric} {mean:.4f} ± {std:.4f} (mean and standard deviation {folds}); the best score is {where}."
        )
    else:
        first = f"Nested: {metric} is not known, because what was chosen failed in one {folds}."
    second = f"Chosen {folds}: {'; '.join(told)}{more}."
    return NestedEstimate(scores=tuple(scores), mean=mean, std=std, optimism=best - mean, told=(first, second))
