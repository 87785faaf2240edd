"""Make the outer folds of a nested search, and the search's own splits within the training rows of each."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from tuningjob.aliases import AnySplitter, Estimator
from tuningjob.engine.sklearn_private import safe_indexing
from tuningjob.engine.work import Split
from tuningjob.errors import ManifestRefused
from tuningjob.manifest.cross_validation import GROUPS
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.nested import NESTED, PLAIN_FOLDS, Nested
from tuningjob.search.data import Dataset
from tuningjob.search.reasons import Reason, error_text, refused
from tuningjob.search.splitters import given_cv, takes_groups


@dataclass(frozen=True)
class OuterFold:
    """One outer fold, and the search's splits within its training rows, all as row numbers of the whole data."""

    outer: Split
    inner: Sequence[Split]


def outer_folds(spec: TuningJobSpec, estimator: Estimator, data: Dataset, splits: int) -> list[OuterFold]:
    """The outer folds of ``spec.search.nested``. Raises ManifestRefused if the data cannot be divided twice."""
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
    """The splitter that divides the data into outer folds. Raises ManifestRefused."""
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
