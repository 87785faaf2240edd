"""Splits in whatever iterable: scikit-learn takes rows as ranges, lists, masks, and from generators."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process

X, y = (data[::3] for data in load_iris(return_X_y=True))
n = len(X)
half = n // 2
mask = np.arange(n) % 2 == 0


def pairs() -> Iterator[Any]:
    yield np.arange(0, n, 2), np.arange(1, n, 2)
    yield np.arange(1, n, 2), np.arange(0, n, 2)


class Pairs:
    """An iterable that is nothing else."""

    def __iter__(self) -> Iterator[Any]:
        return pairs()


SPLITS: Mapping[str, Callable[[], Any]] = {
    "ranges": lambda: [(range(0, n, 2), range(1, n, 2)), (range(1, n, 2), range(0, n, 2))],
    "lists": lambda: [[list(train), list(test)] for train, test in pairs()],
    "tuples": lambda: tuple((tuple(train), tuple(test)) for train, test in pairs()),
    "masks": lambda: [(mask, ~mask), (~mask, mask)],
    "lists of booleans": lambda: [(list(mask), list(~mask))],
    "a generator": pairs,
    "an iterable": Pairs,
    "a map": lambda: map(tuple, pairs()),
    "one array": lambda: np.array(list(pairs())),
    "series": lambda: [(pd.Series(train), pd.Index(test)) for train, test in pairs()],
    "from the end": lambda: [(np.arange(-n, -half), np.arange(-half, 0))],
    "small integers": lambda: [(np.arange(half, dtype=np.int8), np.arange(half, n, dtype=np.uint8))],
    "a range and a mask": lambda: [(range(0, n, 2), list(range(1, n, 2))), (mask, range(3))],
    "rows twice": lambda: [(np.r_[np.arange(n), np.arange(n)], np.arange(n))],
    "no test rows": lambda: [(np.arange(n), np.array([], dtype=int))],
    # of these scikit-learn has an error
    "an empty list": lambda: [(list(range(n)), [])],
    "floats": lambda: [(np.arange(half, dtype=float), np.arange(half, n, dtype=float))],
    "rows that are not there": lambda: [(range(half), range(half, n + 5))],
    "slices": lambda: [(slice(0, half), slice(half, n))],
    "columns": lambda: [(np.arange(half)[:, None], np.arange(half, n)[:, None])],
    "text": lambda: [("abc", "def")],
    "no splits": list,
}


@pytest.mark.alike
@pytest.mark.parametrize("name", SPLITS)
def test_splits_of_any_kind_are_taken_as_scikit_learn_takes_them(name: str) -> None:
    # a generator is read once, by the constructor: as scikit-learn, which is why each search has its own
    for estimator, grid in (
        (GaussianNB(), {"var_smoothing": [1e-9, 1.0]}),
        (Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]), {"model__C": [0.1, 1.0]}),
    ):
        assert_same_search(estimator, grid, X, y, n_jobs=1, each_time={"cv": SPLITS[name]})


@pytest.mark.slow
@in_a_fresh_process
def test_splits_of_any_kind_are_taken_where_their_rows_are_shared_by_processes() -> None:
    wide = np.repeat(X, -(-(2**20 + 1) // X.nbytes), axis=1)  # just more than 1 MiB
    for make in SPLITS.values():
        assert_same_search(GaussianNB(), {"var_smoothing": [1e-9, 1.0]}, wide, y, n_jobs=2, each_time={"cv": make})
