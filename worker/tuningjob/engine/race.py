"""The race of a search's candidates over the splits: which cells are still worth a fit, and in which order. Pure.

*certain*: scores have an upper bound, so a candidate's mean has one before all its splits are in: the mean of the scores that it
has and the bound for each missing one. If that is below the best complete mean, the candidate cannot be the best one.

This holds in floating-point numbers, too. Rounding is monotone, so scikit-learn's mean of the real scores is not above the mean
that the same sums give with the bound in the place of each missing score. Two things may differ: the order of the sums (the
journal has another one), and the last bits of a score at its bound (the average precision of a perfect ranking can be
1.0000000000000002). Both are less than ``MARGIN``. Candidates within the margin go on, so ties do, too, and scikit-learn breaks
them: rounding costs fits, never the winner.

A candidate with a NaN score has a NaN mean, which scikit-learn ranks as the worst other mean less one. From numbers of 16 digits
on that is the same number, so a failed candidate may win by its place. Therefore nothing is pruned by such means.

*forgiving* (Bergman, Purucker, Hutter, "Don't Waste Your Time: Early Stopping Cross-Validation", AutoML 2024): a candidate is out
once its mean so far is below the worst split of the best candidate so far. That may lose the winner.

The order is best first (greedy k-fold: Soper, Electronics 10(16), 2021): the first split of all candidates, all splits of the
best one, then the others split by split. A candidate that becomes better than the best on the same splits is finished first.

Cells that come together share more work. So if certain pruning promises to save too little, by what each candidate has so far,
the rest is evaluated at once.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuningjob.engine.work import CellKey

MARGIN: Final = 1e-12  # relative to the greatest number that is compared, or to 1 if that is greater
_TOO_LARGE: Final = 1e15  # from here on a mean less one may be the same number
_LEAST_SAVED: Final = 0.05  # of the open cells
_SUMMED: Final = 1_000  # splits: the error of adding up as many scores is a tenth of the margin

_ELSEWHERE, _OPEN, _SENT, _IN, _WITHDRAWN = range(5)  # not ours, to be sent, under way, scored, given up
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Leader:
    """The best candidate that has all its scores: their ``mean``, the ``worst`` of them, and each one if known here."""

    mean: float
    worst: float
    scores: "_Array | None" = None


class Race:
    """The state of a race: ``add`` cells, evaluate those that are ``due``, report what ``arrived``, skip what is ``withdrawn``.

    ``bound`` is the upper bound of scores; with None the forgiving rule decides which candidates are out. ``family`` gives the
    key of candidates that are best evaluated together, because one fit serves them.
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
        """Add cells to evaluate; ``known`` has scores of the same candidates on other splits."""
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
        """Drop candidates that have no cell left to evaluate, here or elsewhere."""
        stay = ((self._state != _IN) & (self._state != _WITHDRAWN)).any(axis=1)
        if stay.all():
            return
        self._candidates = [self._candidates[row] for row in np.flatnonzero(stay)]
        self._row = {candidate: row for row, candidate in enumerate(self._candidates)}
        self._kin, self._scores, self._state = self._kin[stay], self._scores[stay], self._state[stay]

    def arrived(self, cell: CellKey, score: float) -> None:
        """Take in a score by the deciding metric; NaN if the fit or the scoring failed."""
        row = self._row[cell.candidate]
        self._scores[row, cell.split], self._state[row, cell.split] = score, _IN
        self._look_for_the_bound(score)
        if (self._state[row] == _IN).all():
            scores = self._scores[row].copy()
            with np.errstate(invalid="ignore", over="ignore"):
                self.lead(Leader(float(np.average(scores)), float(scores.min()), scores))

    def heard(self, cell: CellKey, score: float) -> None:
        """Take in a score as ``arrived`` does, if the candidate takes part."""
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
        """For each candidate whether it is out: it cannot be the best, or the forgiving rule excludes it."""
        leader = self.leader
        if not self._candidates or leader is None or not self.is_sound or not abs(leader.mean) < _TOO_LARGE:
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
        """The mean of each candidate's scores so far; inf if it has none."""
        is_in = self._state == _IN
        counts = is_in.sum(axis=1)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            sums = np.where(is_in, self._scores, 0.0).sum(axis=1)
            return np.where(counts > 0, sums / counts, math.inf)

    def withdrawn(self) -> list[CellKey]:
        """The cells that have become unnecessary since the last call."""
        gone = (self._state == _OPEN) & self._out()[:, np.newaxis]
        self._state[gone] = _WITHDRAWN
        return self._cells(gone)

    @property
    def left(self) -> int:
        """The number of cells that are still to be sent, as far as is known: those of candidates that are not out."""
        return int(np.count_nonzero((self._state == _OPEN)[~self._out()]))

    @property
    def is_over(self) -> bool:
        """Whether every cell is in or withdrawn."""
        return not ((self._state == _OPEN) | (self._state == _SENT)).any()

    # --- what is next

    def due(self, wanted: int = 1) -> list[CellKey]:
        """The cells to evaluate next, on one split or all splits of some candidates: ``wanted`` tasks, if there are as many.

        A task is the cells of one family on one split. A family with a cell under way gets no further task before its result.
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
        if not due.any() and self.leader is not None and not self._pays(self.leader, is_open, counts):
            due = is_open & free[:, np.newaxis]
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

    def _pays(self, leader: Leader, is_open: "_Array", counts: "_Array") -> bool:
        """Whether pruning is expected to save enough cells, if each candidate's scores stay what they are on average."""
        if self._bound is None or is_open[counts == 0].any():
            return True
        room = self._bound - leader.mean
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            # a candidate is out once so many scores are in
            needed = np.floor(self._splits * room / (self._bound - self._means())) + 1
        saved = np.clip(np.nan_to_num(self._splits - needed, nan=0.0), 0, is_open.sum(axis=1))
        return bool(saved.sum() >= _LEAST_SAVED * is_open.sum())

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
