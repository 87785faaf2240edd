"""Searches, results and answers for tests, with ordinary defaults."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final

from tuningjob.journal.records import NewSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import Answer, Cell, CellResult, Claim, Next, Preflight, Unit
from tuningjob.protocol.requests import ClaimRequest, Report

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: dt.datetime = NOON

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_time(self, **delta: float) -> None:
        self.now += dt.timedelta(**delta)


def a_search(search_id: str = "search-a", **changes: Any) -> NewSearch:
    fields: dict[str, Any] = {
        "id": search_id,
        "namespace": "team",
        "name": "forest",
        "model_key": "forest",
        "spec": {"estimator": {"class": "sklearn.svm.SVC"}, "parallelism": 2},
        "candidates": 6,
        "splits": 5,
        "pods": 2,
        "memory_limit": 2**40,
    }
    return NewSearch(**(fields | changes))


def a_result(cell: Cell, **changes: Any) -> CellResult:
    fields: dict[str, Any] = {
        "candidate": cell.candidate,
        "split": cell.split,
        "test_scores": {"accuracy": score_of(cell)},
        "fit_seconds": 0.25,
        "score_seconds": 0.5,
        "test_samples": 30,
    }
    return CellResult(**(fields | changes))


def score_of(cell: Cell) -> float:
    """A score that differs from cell to cell, highest for candidate 3."""
    return 0.9 - abs(cell.candidate - 3) / 10 + cell.split / 1000


def a_preflight(**changes: Any) -> Preflight:
    fields: dict[str, Any] = {
        "data_digest": "d" * 64,
        "samples": 150,
        "features": 4,
        "versions": {"scikit-learn": "1.9.1"},
    }
    return Preflight(**(fields | changes))


def an_answer(**changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "best_index": 3,
        "best_score": 0.9,
        "best_std": 0.01,
        "best_params": {"C": 1, "kernel": "rbf"},
        "metric": "accuracy",
        "failed_fits": 0,
        "refit_seconds": 0.5,
        "fit_seconds_total": 30.0,
    }
    return Answer(**(fields | changes))


@dataclass
class Pod:
    """A completion index at work, as the search's loop does it: claims, evaluates, reports."""

    journal: SearchJournal
    index: int = 0
    slots: int = 1
    holding: set[int] = field(default_factory=set)
    memory: int = 0
    rows: int = 0

    def claim(self) -> Unit | None:
        """The next unit, held from now on; None when there is none."""
        unit = self._ask().unit
        if unit is not None:
            self.holding.add(unit.id)
        return unit

    def must_claim(self) -> Unit:
        unit = self.claim()
        assert unit is not None, "nothing was left to claim"
        return unit

    def asks(self) -> Next:
        return self._ask().next

    def _ask(self) -> Claim:
        return self.journal.claim(
            ClaimRequest(index=self.index, slots=self.slots, holding=self.holding, memory=self.memory, rows=self.rows)
        )

    def report(self, *cells: Cell) -> int:
        return self.journal.report(Report(index=self.index, results=[a_result(cell) for cell in cells])).new

    def finish(self, unit: Unit) -> None:
        self.report(*unit.cells)
        self.holding.discard(unit.id)

    def work(self) -> list[Cell]:
        """Until nothing is left; returns what was evaluated, in order."""
        evaluated: list[Cell] = []
        while (unit := self.claim()) is not None:
            evaluated += unit.cells
            self.finish(unit)
        return evaluated

    def restarted(self) -> "Pod":
        """The replacement pod of the same index: it remembers nothing."""
        return Pod(self.journal, index=self.index, slots=self.slots, memory=self.memory)


ALL_CELLS: Final = [Cell(candidate, split) for candidate in range(6) for split in range(5)]


def pod(journal: SqlJournal, index: int = 0, *, slots: int = 1, search: str = "search-a") -> Pod:
    return Pod(journal.view(search), index=index, slots=slots)


def works(journal: SqlJournal, search: str = "search-a") -> None:
    """Open a search, fit half of it."""
    journal.open_search(a_search(search))
    pod = Pod(journal.view(search))
    pod.finish(pod.must_claim())
