"""The work of a search, as every process that evaluates it needs it, and the rows of one fold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils import get_tags

from tuningjob.aliases import Anything, Estimator, Matrix
from tuningjob.engine.arrays import bytes_of, freeze
from tuningjob.engine.fingerprint import nested_estimators
from tuningjob.engine.known import is_known
from tuningjob.engine.sklearn_private import BaseComposition, check_method_params, num_samples, safe_indexing
from tuningjob.engine.slices import SharedRows
from tuningjob.engine.term_counts import TermCounts

# A few small transformers may stay even if the data are large, because a FeatureUnion has several branches, not one path.
SMALLEST_MEMO: Final = 64 * 2**20
_COUNT_TERMS: Final = frozenset({"CountVectorizer", "TfidfVectorizer"})

Split = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


class CellKey(NamedTuple):
    """The key of a cell: one candidate on one split."""

    candidate: int
    split: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything that a process needs to evaluate any cell of a search, as scikit-learn's ``_fit_and_score`` takes it.

    ``splits`` are (train, test) indices. ``scorer`` is a scorer or scikit-learn's ``_MultimetricScorer``. ``fit_params`` and
    ``score_params`` have values for all samples. ``timeout`` is the longest that one fit may take, in seconds.
    A fit of one of the ``expendable`` candidates that ends its process counts as failed.
    """

    estimator: Any
    candidates: Sequence[Mapping[str, Any]]
    X: Any
    y: Any
    splits: Sequence[Split]
    scorer: Any
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)
    return_train_score: bool = False
    error_score: Any = math.nan
    timeout: float | None = None
    expendable: frozenset[int] = frozenset()
    verbose: int = 0
    rows: SharedRows | None = None

    def configured(self, candidate: int) -> Anything:
        """A candidate's estimator, unfitted, as scikit-learn makes it: values that are estimators are cloned as well."""
        return clone(self.estimator).set_params(**clone(self.candidates[candidate], safe=False))


class Side(NamedTuple):
    """The rows that are scored of one side of a split, train or test."""

    X: Any
    y: Any
    params: Mapping[str, Any]

    @classmethod
    def cut(cls, work: Work, indices: "np.ndarray[Any, Any]", X: Matrix = None) -> "Side":
        """Rows for a single scoring, cut as scikit-learn cuts them, so that the scorer may write into them.

        If ``X`` is given, it is used instead: that of the fold, which is read-only.
        """
        y = None if work.y is None else safe_indexing(work.y, indices)
        params = check_method_params(work.X, params=work.score_params, indices=indices)
        return cls(safe_indexing(work.X, indices) if X is None else X, y, params)


@dataclass(frozen=True)
class Fold:
    """The rows of one split, cut once, read-only where they can be."""

    split: int
    X_train: Any
    y_train: Any
    X_test: Any
    y_test: Any
    fit_params: Mapping[str, Any]
    train_score_params: Mapping[str, Any]
    test_score_params: Mapping[str, Any]

    def fill(self, work: "Work") -> None:
        """Fill the shared rows again, because they may have been given back while this split had no cell left."""
        if work.rows is not None:
            work.rows.take(2 * self.split)
            work.rows.take(2 * self.split + 1)

    @property
    def train_side(self) -> Side:
        """The training rows, for scorers that do not write into them."""
        return Side(self.X_train, self.y_train, self.train_score_params)

    @property
    def test_side(self) -> Side:
        """The test rows, for scorers that do not write into them."""
        return Side(self.X_test, self.y_test, self.test_score_params)

    @property
    def test_samples(self) -> int:
        """The number of test rows."""
        return int(num_samples(self.X_test))

    @property
    def size(self) -> int:
        """The size of X on both sides, in bytes."""
        return bytes_of(self.X_train) + bytes_of(self.X_test)


def fold_of(work: Work, split: int) -> Fold:
    """Cut the rows of a split, as scikit-learn's ``_safe_split`` does for estimators that need no kernel matrix."""
    train, test = work.splits[split]

    def rows_of(data: Matrix, indices: "np.ndarray[Any, Any]") -> Anything:
        return None if data is None else freeze(safe_indexing(data, indices))

    return Fold(
        split,
        rows_of(work.X, train) if work.rows is None else work.rows.take(2 * split),
        rows_of(work.y, train),
        rows_of(work.X, test) if work.rows is None else work.rows.take(2 * split + 1),
        rows_of(work.y, test),
        _frozen(work.fit_params, check_method_params(work.X, params=work.fit_params, indices=train)),
        _frozen(work.score_params, check_method_params(work.X, params=work.score_params, indices=train)),
        _frozen(work.score_params, check_method_params(work.X, params=work.score_params, indices=test)),
    )


def _frozen(whole: Mapping[str, Any], cut: Mapping[str, Any]) -> Mapping[str, Any]:
    # a parameter without a row for each sample is the caller's own object
    return {name: value if value is whole[name] else freeze(value) for name, value in cut.items()}


def shared_rows(work: Work) -> SharedRows | None:
    """The splits' rows of X, shared by all processes forked afterwards; None if each process cuts its own."""
    selections = [np.asarray(indices) for split in work.splits for indices in split]
    if not SharedRows.supports(work.X) or bytes_of(work.X) < SharedRows.WORTHWHILE:
        return None
    if any(selection.dtype.kind not in "iu" for selection in selections):
        return None  # masks, for example, are rare, and each process cuts them as scikit-learn does
    return SharedRows(work.X, selections)


def held_bytes(work: Work, processes: int, *, smallest_memo: int = SMALLEST_MEMO) -> int:
    """The most bytes that an engine holds besides its fits: X, y, rows of folds in use, transformed rows and counted terms.

    With ``smallest_memo=0`` it is the expected size, if data grow little when they are transformed, and not the upper bound.
    """
    whole = bytes_of(work.X)
    rows = max(
        (whole * (len(train) + len(test)) // max(1, num_samples(work.X)) for train, test in work.splits), default=0
    )
    # an unknown estimator is given its own rows
    shared = SharedRows.supports(work.X) and whole >= SharedRows.WORTHWHILE and is_known(work.estimator)
    in_use = min(2, len(work.splits)) * rows if shared else processes * rows
    within = list(nested_estimators(work.estimator))
    memo = max(rows, smallest_memo) if any(isinstance(each, BaseComposition) for each in within) else 0
    counts = TermCounts.LIMIT if smallest_memo and any(type(each).__name__ in _COUNT_TERMS for each in within) else 0
    return whole + bytes_of(work.y) + in_use + processes * (memo + counts)


def wants_kernel(estimator: Estimator) -> bool:
    """Whether X is a matrix between samples, so that its columns must be cut as well."""
    return bool(get_tags(estimator).input_tags.pairwise)


def dispatches_arrays() -> bool:
    """Whether scikit-learn may use arrays on other devices, where nothing here was proved."""
    return bool(get_config()["array_api_dispatch"])
