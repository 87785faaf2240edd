"""Data as users' functions load them, and what such functions do that they should not."""

import threading
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import make_blobs
from sklearn.utils import Bunch


def load(rows: int = 90, *, random_state: int = 0) -> Any:
    return make_blobs(rows, centers=3, cluster_std=4.0, random_state=random_state)


def bunch(rows: int = 30) -> Any:
    X, y = load(rows)
    return Bunch(data=X, target=y)


def sparse() -> Any:
    X, y = load()
    return csr_matrix(np.abs(X)), y


def documents() -> Any:
    return [f"good {i}" if i % 2 else f"bad {i}" for i in range(30)], [i % 2 for i in range(30)]


def nothing_to_predict() -> Any:
    return load()[0], None


def drawn(random_state: int | None = None) -> Any:
    return make_blobs(30, random_state=random_state)


def must_be_told(random_state: Any) -> Any:
    return make_blobs(30, random_state=random_state)


def three() -> Any:
    return 1, 2, 3


def frame() -> Any:
    return {"a": [1]}


def number() -> Any:
    return 1, 2


def uneven() -> Any:
    return [[1], [2]], [1]


def empty() -> Any:
    return [], []


def locked() -> Any:
    return [threading.Lock()], [1]


def raising() -> Any:
    raise RuntimeError("the warehouse is closed")


def leaving() -> Any:
    raise SystemExit(0)


class Odd:
    """Whose attributes raise what is no AttributeError."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def odd() -> Any:
    return Odd()


NO_FUNCTION = 3
