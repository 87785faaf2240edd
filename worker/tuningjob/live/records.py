"""The records that the pages show."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SearchLine:
    """One search in a list. ``version``: of its model key, once it is complete."""

    id: str
    namespace: str
    name: str
    model_key: str
    state: str
    done: int
    failed: int
    total: int
    best_score: float | None
    opened_at: dt.datetime
    finished_at: dt.datetime | None
    version: int | None

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state != "Running"


@dataclass(frozen=True, kw_only=True)
class CellMark:
    """One fit as a figure needs it: which index reported it, and when. ``seconds`` is how long fitting and scoring took.

    ``process``: the number of its pod's process. ``is_reused``: another search evaluated it. ``is_shared``: it needed no fit of
    its own. ``is_retried``: a pod died with it before.
    """

    candidate: int
    split: int
    score: float | None
    index: int
    at: dt.datetime
    seconds: float
    is_reused: bool
    is_shared: bool
    is_retried: bool
    has_failed: bool
    process: int = 0


@dataclass(frozen=True, kw_only=True)
class FailedFit:
    """A fit that failed, and its traceback."""

    candidate: int
    split: int
    error: str


@dataclass(frozen=True, kw_only=True)
class NotedDeath:
    """A pod, or a process of a pod, that died while it held fits: its completion index, and when its successor asked."""

    index: int
    at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class WatchedSearch:
    """One search as it is now. ``marks`` are its latest fits in the order of time, ``failures`` its first failed ones, ``died``
    its latest deaths.
    """

    line: SearchLine
    splits: int
    pods: int
    deaths: int
    reused: int
    pruned: int = 0
    started_at: dt.datetime | None
    now: dt.datetime
    metric: str = ""
    best_index: int | None = None
    best_params: Mapping[str, Any] = field(default_factory=dict)
    created_by: str = ""
    image: str = ""
    expected_seconds: tuple[float, float, float] | None = None
    warnings: tuple[str, ...] = ()
    failure: str = ""
    marks: tuple[CellMark, ...] = ()
    failures: tuple[FailedFit, ...] = ()
    died: tuple[NotedDeath, ...] = ()

    @property
    def seconds_left(self) -> float | None:
        """How many more seconds it will take at the pace so far; None if that is unknown.

        Pruned fits count into the pace, because about the same share of what is left is likely to be pruned.
        """
        fitted = self.line.done - self.reused
        if self.line.is_over or self.started_at is None or fitted <= 0 or self.line.done >= self.line.total:
            return None
        passed = (self.now - self.started_at).total_seconds()
        return (self.line.total - self.line.done) * passed / fitted
