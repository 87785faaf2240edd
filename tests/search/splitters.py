"""Splitters as users write them: right ones, and ones that are wrong in each way."""

from collections.abc import Iterator
from typing import Any

import numpy as np


class Halves:
    """The first rows of each half are tested with; nothing is drawn."""

    def __init__(self, size: int = 5, *, as_masks: bool = False) -> None:
        self.size = size
        self.as_masks = as_masks

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return 2

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        rows = np.arange(len(X))
        for start in (0, len(X) // 2):
            test = (rows >= start) & (rows < start + self.size)
            yield (~test, test) if self.as_masks else (list(rows[~test]), list(rows[test]))


class EachGroup(Halves):
    """As many splits as there are groups."""

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return len(set(groups))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        for group in sorted(set(groups)):
            yield np.flatnonzero(np.asarray(groups) != group), np.flatnonzero(np.asarray(groups) == group)


class Drawing(Halves):
    """From numpy's own generator, which nobody seeded."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        for _ in range(2):
            rows = np.random.permutation(len(X))
            yield rows[self.size :], rows[: self.size]


class Seeded(Halves):
    """By a seed that it must be given."""

    def __init__(self, random_state: int | None = None) -> None:
        super().__init__()
        self.random_state = random_state

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        draw = np.random.default_rng(self.random_state)
        for _ in range(2):
            rows = draw.permutation(len(X))
            yield rows[self.size :], rows[: self.size]


class Wrong(Halves):
    """Wrong in the way that it is asked for."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> Any:
        return {"none": 0, "text": "two", "three": 3, "one": 1}.get(self.how, 2)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        if self.how == "raises":
            raise KeyError("patient")
        if self.how == "exits":
            raise SystemExit(3)
        for train, test in super().split(X, y, groups):
            wrong: dict[str, Any] = {
                "outside": (train, [len(X)]),
                "negative": ([-1], test),
                "empty": (train, []),
                "flat": (train, 3),
                "texts": (["a"], test),
                "short mask": ([True, False], test),
                "one side": (train,),
            }
            yield wrong.get(self.how, (train, test))


class Unpicklable(Halves):
    """Keeps what no file can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = (row for row in range(3))


class Refusing(Halves):
    """Takes no argument that it is given."""

    def __init__(self, size: int = 5) -> None:
        raise ValueError(f"size {size} is too large")
