"""Term counts: the terms of each document are counted once for all folds and settings of a search.

A document is identified by its text, because the folds of a search consist of the same documents. Terms are numbered in the
order in which they are met, in any fold. A fold's own order is found again from the order within its documents.
"""

import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuningjob.aliases import Anything

# The bytes of a term besides its characters: the string object, its entry in a dict, and its number.
_BYTES_OF_A_TERM: Final = 120
_BYTES_OF_A_DOCUMENT: Final = 100
_BYTES_OF_A_COUNT: Final = 8

Analyze = Callable[[Any], Iterable[str]]


class Terms:
    """A two-way mapping between terms and their numbers."""

    def __init__(self) -> None:
        self.numbered: defaultdict[str, int] = defaultdict()
        self.numbered.default_factory = self.numbered.__len__
        self._names: list[str] = []
        self._ranks: NDArray[np.intp] = np.empty(0, np.intp)

    def __len__(self) -> int:
        return len(self.numbered)

    def names(self, numbers: NDArray[Any]) -> list[str]:
        """The terms with these numbers."""
        return list(map(self._all().__getitem__, numbers.tolist()))

    def numbers(self, names: Collection[str]) -> NDArray[np.intp]:
        """The numbers of these terms; -1 for a term that no document has."""
        return np.fromiter(map(self.numbered.get, names, repeat(-1)), np.intp, len(names))

    def alphabetically(self, numbers: NDArray[Any]) -> NDArray[np.intp]:
        """The positions of these terms when they are sorted in Python's order of strings."""
        if len(self._ranks) != len(self):
            names = self._all()
            self._ranks = np.empty(len(self), np.intp)
            self._ranks[sorted(range(len(self)), key=names.__getitem__)] = np.arange(len(self))
        return np.argsort(self._ranks[numbers])

    def _all(self) -> list[str]:
        if len(self._names) != len(self):
            self._names = list(self.numbered)
        return self._names


@dataclass(frozen=True)
class TermRows:
    """Documents as rows: ``numbers[indptr[i]:indptr[i + 1]]`` are the terms of document i, in their order in it.

    ``counts`` says how often the document has each term.
    """

    terms: Terms
    numbers: NDArray[np.intc]
    counts: NDArray[np.intc]
    indptr: NDArray[np.int64]


class TermCounts:
    """The counted terms of documents, up to ``limit`` bytes: an analyzer that exceeds it is not used here again."""

    LIMIT: Final = 2**27

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._too_large: set[Hashable] = set()
        self._forget()

    def _forget(self) -> None:
        self.bytes = 0
        self.terms = Terms()  # a new object, because existing rows refer to the old one
        # by analyzer and document: the place of its counts, which lie between two beginnings
        self._places: dict[Hashable, dict[Any, int]] = {}
        self._beginnings = array("q", [0])
        self._numbers = array("i")
        self._counts = array("i")

    def keep(self, analyzers: Iterable[Hashable]) -> bool:
        """Whether no result of these analyzers was too large to keep."""
        return self._too_large.isdisjoint(analyzers)

    def rows(self, analyzers: Mapping[Hashable, Analyze], documents: Sequence[Any]) -> TermRows | None:
        """The rows of the documents by the first analyzer, then those by the next; None if they are too large to keep."""
        if not self.keep(analyzers):
            return None
        places = []
        for analyzer, analyze in analyzers.items():
            known = self._places.setdefault(analyzer, {})
            for document in documents:
                if document not in known:
                    self._count(analyze, document)
                    known[document] = len(self._beginnings) - 2
                    if self.bytes > self.limit:
                        self._too_large.add(analyzer)
                        self._forget()
                        return None
            places.append(np.fromiter(map(known.__getitem__, documents), np.intp, len(documents)))
        return self._gather(np.stack(places, axis=1))

    def _count(self, analyze: Analyze, document: Anything) -> None:
        found = Counter(analyze(document))  # in the order of their first occurrence
        numbered = self.terms.numbered
        before = len(numbered)
        self._numbers.extend(map(numbered.__getitem__, found))
        self._counts.extend(found.values())
        self._beginnings.append(len(self._numbers))
        new = len(numbered) - before
        self.bytes += (
            new * _BYTES_OF_A_TERM
            + sum(map(sys.getsizeof, islice(reversed(numbered), new)))
            + len(found) * _BYTES_OF_A_COUNT
            + sys.getsizeof(document)
            + _BYTES_OF_A_DOCUMENT
        )

    def _gather(self, places: NDArray[np.intp]) -> TermRows:
        beginnings = np.frombuffer(self._beginnings, np.int64)
        first = beginnings[places]
        lengths = beginnings[places + 1] - first
        ends = np.cumsum(lengths)
        each = np.repeat(first.ravel() - ends + lengths.ravel(), lengths.ravel()) + np.arange(lengths.sum())
        return TermRows(
            self.terms,
            np.frombuffer(self._numbers, np.intc)[each],
            np.frombuffer(self._counts, np.intc)[each],
            np.concatenate([[0], np.cumsum(lengths.sum(axis=1))]),
        )
