"""Documents are counted once for all folds, and for all settings that only select or weigh counts."""

import copy
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.engine.fingerprint import fingerprint, is_integer
from tuningjob.engine.kept import kept_for_the_search
from tuningjob.engine.rules.base import NestedTransform, register
from tuningjob.engine.sklearn_private import aligned, counting_by
from tuningjob.engine.term_counts import TermCounts, TermRows, Terms

_TEXTS: Final = frozenset({str, bytes, np.str_})
_WORDS: Final = r"(?u)\b\w\w+\b"  # which never matches a space
_MOST_COUNTS: Final = np.iinfo(np.intc).max
_OF_AN_ANALYZER: Final = (
    "encoding",
    "decode_error",
    "strip_accents",
    "lowercase",
    "stop_words",
    "token_pattern",
    "analyzer",
)
_LEFT_TO_DERIVE: Final = (
    "min_df",
    "max_df",
    "max_features",
    "binary",
    "dtype",
    "norm",
    "use_idf",
    "smooth_idf",
    "sublinear_tf",
)


@register
class CountedDocuments(NestedTransform):
    """Shares ``min_df``, ``max_df``, ``max_features``, ``binary`` of CountVectorizer and TfidfVectorizer, and the weighting.

    Only the counting is ours (``_count_vocab``, and the loops over terms in ``_sort_features`` and ``_limit_features``); all else
    is scikit-learn's. A fit numbers terms as it meets them, and each document's terms are remembered in that order, which gives
    the numbers of any fold. All words of a document come before its pairs of words, and these before its triples, and no term has
    the text of another. So the terms of a range of n-grams are those of its parts, one after the other.
    """

    estimators = (CountVectorizer, TfidfVectorizer)
    parameters = _LEFT_TO_DERIVE
    proof = "tests/engine/rules/test_documents.py::test_documents_are_counted_once"

    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        return (
            transformer.input == "content"
            and isinstance(transformer.analyzer, str)
            and not callable(transformer.strip_accents)
            and transformer.preprocessor is None
            and transformer.tokenizer is None
            and transformer.vocabulary is None
            and _is_range(transformer.ngram_range)
            and (type(X) is list or getattr(X, "ndim", None) == 1)
            and len(X) > 0
            and _TEXTS.issuperset(map(type, X))
            and _counts().keep(_parts(transformer))
        )

    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Estimator:  # noqa: ARG002
        rows = _rows(transformer, X)
        return None if rows is None else _Fold.of(rows)

    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        if common is None:
            made = clone(transformer)
            return made.fit_transform(X), made
        made = copy.copy(transformer)
        with counting_by(made, count=partial(_count, common, made), sort=_sort, limit=_limit):
            Xt = made.fit_transform(X)
        made.vocabulary_ = made.vocabulary_.as_dict()
        return Xt, made

    def transform(self, fitted: Estimator, X: Matrix) -> Matrix:
        rows = _rows(fitted, X) if self.applies(fitted, X) else None
        if rows is None:
            return fitted.transform(X)
        made = copy.copy(fitted)
        with counting_by(made, count=partial(_count_known, rows, made)):
            return made.transform(X)


def _is_range(value: Anything) -> bool:
    return type(value) is tuple and len(value) == 2 and all(map(is_integer, value)) and 1 <= value[0] <= value[1]


def _counts() -> TermCounts:
    counts: TermCounts = kept_for_the_search(TermCounts)
    return counts


def _parts(vectorizer: Estimator) -> dict[Hashable, tuple[int, int]]:
    """The n-gram ranges whose terms follow each other in each document, by all settings that an analyzer uses."""
    first, last = vectorizer.ngram_range
    is_parted = vectorizer.analyzer == "char" or (vectorizer.analyzer == "word" and vectorizer.token_pattern == _WORDS)
    ranges = [(n, n) for n in range(first, last + 1)] if is_parted else [(first, last)]
    settings = tuple(fingerprint(getattr(vectorizer, name)) for name in _OF_AN_ANALYZER)
    return {(settings, each): each for each in ranges}


def _rows(vectorizer: Estimator, X: Matrix) -> TermRows | None:
    """The documents' terms; None if they are too many to keep, or too many for a matrix with small indices."""
    vectorizer = copy.copy(vectorizer)
    vectorizer.build_analyzer()  # which warns once of the stop words
    analyzers = {}
    for part, ngrams in _parts(vectorizer).items():
        vectorizer.ngram_range = ngrams
        analyzers[part] = copy.copy(vectorizer).build_analyzer()
    rows = _counts().rows(analyzers, list(X))
    return rows if rows is not None and rows.indptr[-1] <= _MOST_COUNTS else None


@dataclass(frozen=True)
class _Fold:
    """Documents as in ``_count_vocab``: terms (by ``numbers``) and columns are in the order in which they are met."""

    terms: Terms
    numbers: NDArray[np.intp]
    counts: NDArray[np.intc]
    columns: NDArray[np.intc]
    indptr: NDArray[np.intc]

    @classmethod
    def of(cls, rows: TermRows) -> "_Fold":
        first_met = np.full(len(rows.terms), len(rows.numbers))
        np.minimum.at(first_met, rows.numbers, np.arange(len(rows.numbers)))
        numbers = np.flatnonzero(first_met < len(rows.numbers))
        numbers = numbers[np.argsort(first_met[numbers])]
        columns = np.empty(len(rows.terms), np.intc)
        columns[numbers] = np.arange(len(numbers))
        X = _matrix(rows.counts, columns[rows.numbers], rows.indptr, len(numbers), np.intc)
        return cls(rows.terms, numbers, X.data, X.indices, X.indptr)


@dataclass
class _Vocabulary:
    """Replaces the dict that a fit makes: the numbers of its terms, in its order, and the column of each."""

    terms: Terms
    numbers: NDArray[np.intp]
    columns: NDArray[np.intp]
    are_sorted_last: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The dict of columns by terms; after sorting they are Python's integers, after limiting numpy's."""
        columns = self.columns.tolist() if self.are_sorted_last else self.columns
        return dict(zip(self.terms.names(self.numbers), columns, strict=True))


def _matrix(counts: Anything, columns: Anything, indptr: Anything, width: int, dtype: Anything) -> Matrix:
    X = sparse.csr_array((counts, columns, indptr.astype(np.intc)), shape=(len(indptr) - 1, width), dtype=dtype)
    X.sort_indices()
    return X


def _count(fold: _Fold, made: Estimator, raw_documents: Matrix, fixed_vocab: bool) -> tuple[_Vocabulary, Any]:  # noqa: ARG001, FBT001
    """Count as ``_count_vocab`` does in a fit."""
    made.build_analyzer()  # for its warning of stop words, which it remembers
    if not len(fold.numbers):
        raise ValueError("no terms")  # scikit-learn says it in a plain fit
    # a copy of the counts, which "binary" writes into
    X = _matrix(np.array(fold.counts), fold.columns, fold.indptr, len(fold.numbers), made.dtype)
    return _Vocabulary(fold.terms, fold.numbers, np.arange(len(fold.numbers))), aligned(X)


def _count_known(rows: TermRows, made: Estimator, raw_documents: Matrix, fixed_vocab: bool) -> tuple[Any, Any]:  # noqa: ARG001, FBT001
    """Count as ``_count_vocab`` does in a fitted vectorizer, without the terms that it does not know."""
    made.build_analyzer()
    vocabulary = made.vocabulary_
    numbers = rows.terms.numbers(vocabulary)
    column_of = np.full(len(rows.terms), -1, np.intc)
    column_of[numbers[numbers >= 0]] = np.fromiter(vocabulary.values(), np.intp, len(vocabulary))[numbers >= 0]
    columns = column_of[rows.numbers]
    is_known = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(is_known)])[rows.indptr]
    return vocabulary, aligned(_matrix(rows.counts[is_known], columns[is_known], indptr, len(vocabulary), made.dtype))


def _sort(X: Matrix, vocabulary: _Vocabulary) -> Matrix:
    """Sort the columns as ``_sort_features`` does."""
    in_order = vocabulary.terms.alphabetically(vocabulary.numbers)
    columns = np.empty(len(in_order), np.intp)
    columns[in_order] = np.arange(len(in_order))
    new_columns = np.empty(len(in_order), X.indices.dtype)
    new_columns[vocabulary.columns] = columns
    X.indices = new_columns.take(X.indices, mode="clip")
    vocabulary.columns, vocabulary.are_sorted_last = columns, True
    return X


def _limit(X: Matrix, vocabulary: _Vocabulary, high: float, low: float, limit: int | None) -> Matrix:
    """Leave out terms as ``_limit_features`` does."""
    documents = np.bincount(X.indices, minlength=X.shape[1])
    mask = (documents <= high) & (documents >= low)
    if limit is not None and mask.sum() > limit:
        often = np.asarray(X.sum(axis=0)).ravel()
        best = (-often[mask]).argsort()[:limit]
        limited = np.zeros(len(mask), dtype=bool)
        limited[np.where(mask)[0][best]] = True
        mask = limited
    if not mask.any():
        raise ValueError("no terms are left")  # scikit-learn says it in a plain fit
    is_left = mask[vocabulary.columns]
    vocabulary.numbers = vocabulary.numbers[is_left]
    vocabulary.columns = (np.cumsum(mask) - 1)[vocabulary.columns[is_left]]
    vocabulary.are_sorted_last = False
    return X[:, np.where(mask)[0]]
