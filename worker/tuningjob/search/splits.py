"""Make the splits of a search, and refuse invalid ones.

The reference is ``GridSearchCV(cv=…).fit(X, y, groups=…)``: splitters are called as it calls them, in the same order.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv

from tuningjob.aliases import Anything, Estimator, Target
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.cross_validation import GROUPS, PREDEFINED, SPLITTER, CrossValidation
from tuningjob.manifest.literals import shown
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.search.classes import class_counts
from tuningjob.search.columns import missing_groups
from tuningjob.search.data import Dataset
from tuningjob.search.identity import digest_of_split
from tuningjob.search.reasons import Reason, error_text, refused
from tuningjob.search.splitters import UNSEEDED, given_cv, made_splitter, takes_groups
from tuningjob.sizing import check_limit, size_of

_FOLDS: Final = "spec.crossValidation.folds"
Split = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Division:
    """The division of the data: ``cv`` is the argument of scikit-learn's search, ``splits`` has its train and test rows."""

    cv: Any
    splits: Sequence[Split]


def divide(spec: TuningJobSpec, estimator: Estimator, data: Dataset) -> Division:
    """The splits of a search, made once. Raises ManifestRefused, also if they make it larger than it may be."""
    _check_target(spec, estimator, data)
    groups = _checked_groups(spec.cross_validation, data)
    try:
        cv = given_cv(spec.cross_validation, estimator, data)
        splitter = check_cv(cv, data.y, classifier=is_classifier(estimator))
    except TypeError as error:  # several columns, some of them text
        advice = f"scikit-learn says: {error_text(error)}."
        must_be = "labels of one kind: all of them numbers, or all of them text"
        raise refused(Reason.DATA_LOAD, "spec.data.target", must_be, spec.data.target, advice) from error
    asking = _Asking(spec, estimator, data, splitter, groups)
    asking.check_groups()
    count = asking.count()
    check_limit(replace(size_of(spec), splits=count), spec)
    splits = asking.splits(count)
    # scikit-learn's own draw by their seed alone
    if not type(splitter).__module__.startswith("sklearn."):
        _check_repeats(replace(asking, splitter=made_splitter(spec.cross_validation)), splits)
    return Division(cv, splits)


def _check_target(spec: TuningJobSpec, estimator: Estimator, data: Dataset) -> None:
    missing = 0 if data.y is None else int(np.count_nonzero(pd.isna(data.y)))
    if missing and is_classifier(estimator):
        must_be, got = "data whose every target is known", f"{missing:,} of {data.samples:,} missing"
        advice = "Leave these rows out of the data."
        if spec.data.file_format == "csv":
            advice += " If that is a class: pandas reads NA, N/A, None, null and nan as missing; write another word."
        raise ManifestRefused([Problem("spec.data", must_be, got, advice, Reason.DATA_LOAD)])


def _checked_groups(cv: CrossValidation, data: Dataset) -> Target:
    groups = data.beside.get(GROUPS)
    if groups is None:
        return None
    if problems := list(
        missing_groups(groups, cv.groups)
    ):  # only sent groups, because a file's were checked with its columns
        raise ManifestRefused(problems)
    if len(groups) != data.samples:
        advice = f"It has {len(groups):,} values for {data.samples:,} rows."
        raise refused(Reason.GROUPS_INVALID, GROUPS, "a column that has a group for each row", cv.groups, advice)
    return groups


@dataclass(frozen=True)
class _Asking:
    """One splitter, and the data that it is to divide."""

    spec: TuningJobSpec
    estimator: Any
    data: Dataset
    splitter: Any
    groups: Any

    def check_groups(self) -> None:
        """Raise ManifestRefused for groups that the splitter would ignore, or that are too few for it."""
        if self.groups is None:
            return
        cv = self.spec.cross_validation
        if cv.splitter is not None and not takes_groups(self.splitter):
            advice = f"{type(self.splitter).__name__} does not look at them: choose another, or leave the groups out."
            raise refused(Reason.GROUPS_INVALID, GROUPS, "given for a splitter of groups alone", cv.groups, advice)
        if not isinstance(self.splitter, GroupKFold | StratifiedGroupKFold):
            return
        folds, distinct = self.splitter.n_splits, int(pd.Series(self.groups).nunique())
        if folds > distinct:
            field = _FOLDS if cv.folds is not None else cv.arguments.field_of("n_splits")
            must_be = f"a number of folds that the {distinct:,} groups can fill"
            advice = f"{cv.groups} has {distinct:,} different values, and no group is divided."
            raise ManifestRefused([Problem(field, must_be, str(folds), advice, Reason.FOLDS_UNFILLABLE)])

    def count(self) -> int:
        """The number of splits, as the splitter says it. Raises ManifestRefused if it gives no such number."""
        with self.in_its_words():
            count = self.splitter.get_n_splits(self.data.X, self.data.y, groups=self.groups)
        if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
            raise self.refused(f"get_n_splits must give a number from 1 on, but gave {shown(count)}.")
        return int(count)

    def splits(self, count: int) -> list[Split]:
        """All ``count`` splits. Raises ManifestRefused if they do not divide the rows."""
        with self.in_its_words():
            found = list(islice(self.splitter.split(self.data.X, self.data.y, groups=self.groups), count + 1))
            splits = [(_rows(train), _rows(test)) for train, test in found]
        if len(splits) != count:
            more = "more" if len(splits) > count else f"{len(splits):,}"
            raise self.refused(f"get_n_splits says {count:,} splits, but split gives {more}.")
        for i, sides in enumerate(splits):
            for side, rows in zip(("train", "test"), sides, strict=True):
                wrong = _what_is_wrong(rows, self.data.samples)
                if wrong:
                    raise self.refused(f"Of split {i} the {side} side {wrong}.")
        return [(_numbered(train), _numbered(test)) for train, test in splits]

    @contextmanager
    def in_its_words(self) -> Iterator[None]:
        """Turn the splitter's exceptions into refusals of the search."""
        try:
            with warnings.catch_warnings():
                # an own warning says it
                warnings.filterwarnings("ignore", "The least populated class in y has only", UserWarning)
                yield
        except ManifestRefused:
            raise
        except ValueError as error:
            if self.spec.cross_validation.folds is None:
                raise self.refused(f"It says: {error_text(error)}.") from error
            raise ManifestRefused([self._unfillable(error)]) from error
        except (Exception, SystemExit) as error:
            raise self.refused(f"It says: {error_text(error)}.") from error

    def refused(self, advice: str) -> ManifestRefused:
        """A refusal of the splitter as a whole."""
        cv = self.spec.cross_validation
        if cv.splitter is None:
            field, got = (_FOLDS, str(cv.folds)) if cv.folds is not None else (PREDEFINED, str(cv.predefined))
        else:
            field, got = SPLITTER, cv.splitter.class_
            if self.groups is None and takes_groups(self.splitter, otherwise=False):
                advice += " Name the column of the groups by spec.crossValidation.groups."
        return refused(Reason.SPLITTER_INVALID, field, "a splitter that can divide these data", got, advice)

    def _unfillable(self, error: ValueError) -> Problem:
        folds, says = self.spec.cross_validation.folds or 0, f"scikit-learn says: {error}"
        must_be = f"a number of folds that the {self.data.samples} samples can fill"
        counts = class_counts(self.estimator, self.data)
        if counts and max(counts.values()) < folds:
            rarest, most = min(counts, key=lambda label: counts[label]), max(counts.values())
            advice = f"The fewest members has class {rarest!r}, {counts[rarest]}; no class has more than {most}. {says}"
            return Problem(_FOLDS, must_be, str(folds), advice, Reason.CLASS_COUNTS)
        return Problem(_FOLDS, must_be, str(folds), says, Reason.FOLDS_UNFILLABLE)


def _rows(side: Anything) -> "np.ndarray[Any, Any]":
    return np.asarray(side)


def _numbered(rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Row numbers, also for a mask, as the numbers of the rows that it selects."""
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _what_is_wrong(rows: "np.ndarray[Any, Any]", samples: int) -> str:
    if rows.shape == (0,):
        return "is empty"
    if rows.ndim != 1 or not (rows.dtype == bool or np.issubdtype(rows.dtype, np.integer)):
        return f"must be the numbers of rows, but has {rows.ndim} dimensions of {rows.dtype}"
    if rows.dtype == bool and len(rows) != samples:
        return f"is a mask of {len(rows):,} rows, and there are {samples:,}"
    rows = _numbered(rows)
    if not len(rows):
        return "is empty"
    if rows.min() < 0 or rows.max() >= samples:
        return f"names row {rows.min() if rows.min() < 0 else rows.max()}, and there are {samples:,}, from 0 on"
    return ""


def _check_repeats(again: _Asking, splits: Sequence[Split]) -> None:
    """Raise ManifestRefused if the splitter divides the same data differently when it is called again."""
    others = again.splits(again.count())
    if list(map(digest_of_split, others)) != list(map(digest_of_split, splits)):
        cv = again.spec.cross_validation
        got = cv.splitter.class_ if cv.splitter is not None else ""
        advice = f"Made and asked twice, it gave two divisions: let it draw by a seed of its own. {UNSEEDED}"
        raise refused(Reason.SPLITTER_UNSEEDED, SPLITTER, "a splitter that divides the same data alike", got, advice)
