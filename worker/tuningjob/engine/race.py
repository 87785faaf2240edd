"""Which cells of a search are still worth a fit, and in which order: a race of its candidates over the splits. Pure.

*certain*: scores have an upper bound, so a candidate's mean has one before all its splits are in: the scores that it has, and the
bound for each that it lacks. Is that below the best mean that any candidate has come to, the candidate cannot be the best one.

It is exact in floating-point numbers, too. Rounding is monotone, so scikit-learn's mean of the real scores is not above the mean
that the same sums give with the bound in the place of each score that is not there. What may differ is the order of the sums (the
journal adds up in another one), and the last bits of a score at its bound (the average precision of a perfect ranking can be
1.0000000000000002): both are less than ``MARGIN``. What is within the margin goes on, so ties do too, and are broken where
scikit-learn breaks them: rounding costs fits, never the winner.

A candidate with a NaN score has a NaN mean, which scikit-learn ranks as one less than the worst that is none. From numbers of 16
digits on one less is the same, and a candidate that failed may be the best one, by its place: so nothing is pruned by such means.

*forgiving* (Bergman, Purucker, Hutter, "Don't Waste Your Time: Early Stopping Cross-Validation", AutoML 2024): a candidate is out
once its mean so far is below the worst split of the best candidate so far. That may lose the winner.

The order is best first (greedy k-fold: Soper, Electronics 10(16), 2021): the first split of all, all splits of the best one of
them, then split by split what is left; a candidate that has become better on the same splits is finished first.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuningjob.engine.work import CellKey

MARGIN: Final = 1e-12  # of the greatest number that is compared, and at least of 1
_TOO_LARGE: Final = 1e15  # a mean of which one less may be the same
_SUMMED: Final = 1_000  # splits: added up one after the other, they are off by a tenth of that

_ELSEWHERE, _OPEN, _SENT, _IN, _WITHDRAWN = range(5)  # of a cell: not ours, to be sent, under way, scored, given up
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Leader:
    """The best candidate that has all its scores: their ``mean``, the ``worst`` of them; and each, where they are known here."""

    mean: float
    worst: float
    scores: "_Array | None" = None


class Race:
    """``add`` cells, evaluate what is ``due``, say what ``arrived``; what is ``withdrawn`` need not be evaluated any more.

    ``bound``: no score is above it; None: what is out is decided by the forgiving rule. ``family``: what candidates have in
    common that are best evaluated together, because one fit serves them.
    """

    def __init__(
        self, splits: int, *, bound: float | None, family: Callable[[int], Hashable] = lambda candidate: candidate
    ) -> None:
        self._splits = splits
        self._margin = MARGIN * max(1.0, splits / _SUMMED)
        self._bound = bound
        self._family = family
        self._families: dict[Hashable, int] = {}
        self._candidates: list[int] = []
        self._row: dict[int, int] = {}
        self._kin: _Array = np.empty(0, dtype=np.int64)
        self._scores: _Array = np.empty((0, splits))
        self._state: _Array = np.empty((0, splits), dtype=np.int8)
        self.leader: Leader | None = None
        self.is_sound = True  # no score was above the bound

    def add(self, cells: Iterable[CellKey], known: Mapping[CellKey, float] | None = None) -> None:
        """More cells to evaluate; ``known`` are scores of the same candidates on other splits."""
        cells, known = list(cells), known or {}
        self._forget()
        new = [each for each in dict.fromkeys(cell.candidate for cell in [*cells, *known]) if each not in self._row]
        self._row.update({candidate: len(self._candidates) + at for at, candidate in enumerate(new)})
        self._candidates += new
        kin = [self._families.setdefault(self._family(candidate), len(self._families)) for candidate in new]
        self._kin = np.append(self._kin, np.array(kin, dtype=np.int64))
        self._scores = np.vstack([self._scores, np.full((len(new), self._splits), math.nan)])
        self._state = np.vstack([self._state, np.full((len(new), self._splits), _ELSEWHERE, dtype=np.int8)])
        for cell in cells:
            self._state[self._row[cell.candidate], cell.split] = _OPEN
        for cell, score in known.items():
            self.arrived(cell, score)

    def _forget(self) -> None:
        """Drop candidates of which nothing is left to be done, here or elsewhere."""
        stay = ((self._state != _IN) & (self._state != _WITHDRAWN)).any(axis=1)
        if stay.all():
            return
        self._candidates = [self._candidates[row] for row in np.flatnonzero(stay)]
        self._row = {candidate: row for row, candidate in enumerate(self._candidates)}
        self._kin, self._scores, self._state = self._kin[stay], self._scores[stay], self._state[stay]

    def arrived(self, cell: CellKey, score: float) -> None:
        """Take in a score by the deciding metric; NaN where the fit or the scoring failed."""
        row = self._row[cell.candidate]
        self._scores[row, cell.split], self._state[row, cell.split] = score, _IN
        self._look_for_the_bound(score)
        if (self._state[row] == _IN).all():
            scores = self._scores[row].copy()
            with np.errstate(invalid="ignore", over="ignore"):
                self.lead(Leader(float(np.average(scores)), float(scores.min()), scores))

    def heard(self, cell: CellKey, score: float) -> None:
        """``arrived``, if the candidate takes part."""
        if cell.candidate in self._row:
            self.arrived(cell, score)

    def _look_for_the_bound(self, score: float) -> None:
        if self._bound is not None and score > self._bound + self._margin * max(1.0, abs(self._bound)):
            self.is_sound = False

    def lead(self, leader: Leader) -> None:
        """Take in a candidate that has all its scores."""
        self._look_for_the_bound(leader.mean)
        if not math.isnan(leader.mean) and (self.leader is None or leader.mean > self.leader.mean):
            self.leader = leader

    # --- what is out

    def _out(self) -> "_Array":
        """Of each candidate whether it cannot, or by the forgiving rule shall not, be the best."""
        leader = self.leader
        if leader is None or not self.is_sound or not abs(leader.mean) < _TOO_LARGE:
            return np.zeros(len(self._candidates), dtype=bool)
        is_in = self._state == _IN
        has_failed = (is_in & np.isnan(self._scores)).any(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            if self._bound is None:
                best = self._means()
                limit: Any = np.full(len(best), leader.worst)
            else:
                best = np.average(np.where(is_in, self._scores, self._bound), axis=1)
                greatest = np.max(np.abs(self._scores), axis=1, initial=1.0, where=is_in & np.isfinite(self._scores))
                limit = leader.mean - self._margin * np.maximum(greatest, max(abs(self._bound), abs(leader.mean)))
            out: _Array = has_failed | (best < limit)
            return out

    def _means(self) -> "_Array":
        """The mean of what is in; of nothing inf."""
        is_in = self._state == _IN
        counts = is_in.sum(axis=1)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            sums = np.where(is_in, self._scores, 0.0).sum(axis=1)
            return np.where(counts > 0, sums / counts, math.inf)

    def withdrawn(self) -> list[CellKey]:
        """Cells that need not be evaluated any more, since the last call."""
        gone = (self._state == _OPEN) & self._out()[:, np.newaxis]
        self._state[gone] = _WITHDRAWN
        return self._cells(gone)

    @property
    def left(self) -> int:
        """How many cells are still to be sent, as far as is known."""
        return int(np.count_nonzero(self._state == _OPEN))

    @property
    def is_over(self) -> bool:
        """Whether every cell is in or withdrawn."""
        return not ((self._state == _OPEN) | (self._state == _SENT)).any()

    # --- what is next

    def due(self, wanted: int = 1) -> list[CellKey]:
        """The cells to evaluate next, on one split or all splits of some candidates: ``wanted`` tasks, if there are as many.

        A task is what there is of a family on a split. None of a family of which something is under way: it is to be known first
        what that comes to.
        """
        due = np.zeros_like(self._state, dtype=bool)
        is_open = (self._state == _OPEN) & ~self._out()[:, np.newaxis]
        busy = (self._state == _SENT).any(axis=1)
        free = is_open.any(axis=1) & ~np.isin(self._kin, self._kin[busy])
        counts = (self._state == _IN).sum(axis=1)
        new = free & (counts == 0)
        while new.any() and (not due.any() or self._tasks(due) < wanted):
            due |= self._first_open(new, is_open & ~due)
            new &= (is_open & ~due).any(axis=1)
        free &= counts > 0
        means = np.where(free, np.nan_to_num(self._means(), nan=-math.inf), -math.inf)
        order = iter(np.argsort(-means, kind="stable").tolist())
        while self._tasks(due) < wanted and free.any():
            row = next(order)
            if not free[row]:
                continue
            if self.leader is None or self._is_ahead(row, self.leader):
                kin = free & (self._kin == self._kin[row])
                due |= is_open & kin[:, np.newaxis]
                free &= ~kin
            else:
                fewest = free & (counts == counts[free].min())
                due |= self._first_open(fewest, is_open)
                free &= ~fewest
                order = iter(np.argsort(-means, kind="stable").tolist())
        self._state[due] = _SENT
        return self._cells(due)

    def _tasks(self, due: "_Array") -> int:
        rows, splits = np.nonzero(due)
        return int(np.unique(self._kin[rows] * self._splits + splits).size)

    def _is_ahead(self, row: int, leader: Leader) -> bool:
        """Whether a candidate is better than the leader on the splits that it has."""
        is_in = self._state[row] == _IN
        with np.errstate(invalid="ignore", over="ignore"):
            theirs = leader.mean if leader.scores is None else float(leader.scores[is_in].mean())
            return float(self._scores[row, is_in].mean()) > theirs

    def _first_open(self, rows: "_Array", is_open: "_Array") -> "_Array":
        due = np.zeros_like(is_open)
        chosen = np.flatnonzero(rows)
        due[chosen, is_open[chosen].argmax(axis=1)] = True
        return due

    def _cells(self, chosen: "_Array") -> list[CellKey]:
        return [CellKey(self._candidates[row], split) for row, split in np.argwhere(chosen).tolist()]
