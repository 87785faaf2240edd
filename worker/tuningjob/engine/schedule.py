"""What to evaluate next: cells cut into tasks that share work, the longest first, watched by the guard. Pure."""

import itertools
import math
import random
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from tuningjob.engine.evaluate import AtWork, Evaluated, Outcome
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.outline import Outline, Path
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.work import CellKey, Work

# Cutting between candidates that share nothing is free, down to this many tasks a process; where something would be done
# twice, down to this many.
FINE: Final = 16
COARSE: Final = 4
# Below this a task is not worth its dispatch (about a millisecond with all that is around it).
SHORTEST_SECONDS: Final = 0.05
_SAMPLE: Final = 16


@dataclass(frozen=True, eq=False)
class Task:
    """Candidates to be evaluated on one split, by one process. ``plain``: nothing is to be shared."""

    id: int
    split: int
    candidates: tuple[int, ...]
    plain: bool = False


class GuardTripped(RuntimeWarning):
    """A shared fit gave other bits than a fit of its own: its group was fitted again, nothing shared."""


@dataclass(eq=False)
class _Group:
    """Candidates that one nested axis serves: one cell of them is also fitted the plain way."""

    cells: list[CellKey]
    sample: CellKey
    plain: Outcome | None = None
    condemned: bool = False
    held: dict[CellKey, Evaluated] = field(default_factory=dict)


class Schedule:
    """The cells of a search that are to be evaluated here, and where they stand.

    ``add`` cells, ``take`` tasks, tell what came of them (``arrived``, ``finished``, ``lost``), collect what is ``ready``.
    """

    def __init__(self, work: Work, processes: int, *, guard: bool = True, seed: int = 0, by_fold: bool = False) -> None:
        self._work = work
        self.processes = processes
        self._guard = guard
        self._random = random.Random(seed)  # noqa: S311  a sample, no secret
        self._by_fold = by_fold
        self._outline = Outline(work.estimator)
        self.forecast = Forecast()
        self._ids = itertools.count()
        self._seconds: WeakKeyDictionary[Task, tuple[int, float]] = WeakKeyDictionary()
        self._pending: list[Task] = []
        self._at_work: dict[Task, set[CellKey]] = {}
        self._groups: dict[CellKey, list[_Group]] = {}
        self._redo: set[CellKey] = set()
        self._told: set[CellKey] = set()
        self._ready: deque[Evaluated] = deque()
        self._paths: dict[int, Path] = {}
        self.guarded = 0
        self.tripped = 0

    # --- cells come in

    def add(self, cells: Iterable[CellKey]) -> None:
        """More cells to evaluate; those that share work should come together."""
        by_split: dict[int, list[int]] = {}
        for cell in cells:
            by_split.setdefault(cell.split, []).append(cell.candidate)
        places = {
            candidate: self._outline.place(self._work.candidates[candidate])
            for candidate in dict.fromkeys(candidate for column in by_split.values() for candidate in column)
        }
        self._paths.update({candidate: place.path for candidate, place in places.items()})
        if self._guard:
            self._watch(by_split, {candidate: place.axes for candidate, place in places.items()})
        for split, candidates in by_split.items():
            self._pending += [self._task(split, part) for part in self._cut(candidates, len(by_split))]

    def _cut(self, candidates: Sequence[int], splits: int) -> list[tuple[int, ...]]:
        ordered = sorted(
            candidates, key=_depth_first([self._paths[candidate] for candidate in candidates], self._paths)
        )
        fine = math.ceil(FINE * self.processes / splits)
        coarse = math.ceil(COARSE * self.processes / splits)
        parts = [ordered]
        for depth in range(1, max(len(self._paths[candidate]) for candidate in ordered) + 1):
            finer = [part for whole in parts for part in _runs(whole, partial(self._prefix, depth))]
            if depth == 1:
                parts = _joined(finer, fine)
            elif len(parts) < coarse:
                parts = _joined(finer, max(coarse, len(parts)))
        return [tuple(part) for part in parts]

    def _prefix(self, depth: int, candidate: int) -> Path:
        return self._paths[candidate][:depth]

    def _watch(self, by_split: dict[int, list[int]], axes: dict[int, tuple[tuple[Hashable, Hashable], ...]]) -> None:
        members: dict[Hashable, list[CellKey]] = {}
        values: dict[Hashable, set[Hashable]] = {}
        for split, candidates in by_split.items():
            for candidate in candidates:
                for group, value in axes[candidate]:
                    members.setdefault(group, []).append(CellKey(candidate, split))
                    values.setdefault(group, set()).add(value)
        for key, cells in members.items():
            if len(values[key]) < 2:
                continue
            # cheap ones more often: of a nested axis the largest is the shared fit itself, and would tell the least
            cheapness = [1 / self.forecast.seconds(self._work.candidates[cell.candidate]) for cell in cells]
            (sample,) = self._random.choices(cells, cheapness)
            if self._is_comparable(sample.candidate):
                group = _Group(cells, sample)
                self.guarded += 1
                for cell in cells:
                    self._groups.setdefault(cell, []).append(group)
                self._pending.append(self._task(group.sample.split, (group.sample.candidate,), plain=True))

    def _is_comparable(self, candidate: int) -> bool:
        """Whether two plain fits of it would have the same bits: else there is nothing to watch, and nothing is shared."""
        try:
            return is_repeatable(self._work.configured(candidate))
        except Exception:  # noqa: BLE001  invalid parameters: told by the fit
            return False

    # --- tasks go out

    def take(self) -> Task | None:
        """The next task: the one that is expected to take longest, cut in two where it would be the last to end."""
        if not self._pending:
            return None
        best = max(self._eligible(), key=self.seconds)
        self._pending.remove(best)
        if len(self._pending) < self.processes - 1 and not best.plain:
            best = self._halve(best)
        self._at_work[best] = {CellKey(candidate, best.split) for candidate in best.candidates}
        return best

    def at_work(self, id: int) -> Task:  # noqa: A002
        """The task of an id that was taken and has not ended."""
        return next(task for task in self._at_work if task.id == id)

    def _task(self, split: int, candidates: Iterable[int], *, plain: bool = False) -> Task:
        return Task(next(self._ids), split, tuple(candidates), plain)

    def _eligible(self) -> Sequence[Task]:
        if not self._by_fold:
            return self._pending
        # rows of a large X: no other fold is cut before those at work are done with
        open_folds = {task.split for task in self._at_work}
        return [task for task in self._pending if task.split in open_folds] or self._pending

    def _halve(self, task: Task) -> Task:
        if len(task.candidates) < 2 or (self.forecast.is_measured and self.seconds(task) < 2 * SHORTEST_SECONDS):
            return task
        for depth in range(1, max(len(self._paths[candidate]) for candidate in task.candidates) + 1):
            parts = _joined(_runs(task.candidates, partial(self._prefix, depth)), 2)
            if len(parts) == 2:
                self._pending.append(self._task(task.split, parts[1]))
                return self._task(task.split, parts[0])
        return task

    def seconds(self, task: Task) -> float:
        """What a task is expected to take, from a sample of its candidates."""
        version, seconds = self._seconds.get(task, (-1, 0.0))
        if version != self.forecast.version:
            sample = task.candidates[:: math.ceil(len(task.candidates) / _SAMPLE)]
            each = sum(self.forecast.seconds(self._work.candidates[candidate]) for candidate in sample) / len(sample)
            seconds = each * len(task.candidates)
            self._seconds[task] = (self.forecast.version, seconds)
        return seconds

    # --- results come back

    def arrived(self, task: Task, result: Evaluated) -> None:
        """A cell of a task that was taken."""
        self._at_work[task].discard(result.cell)
        if task.plain:
            self._accept_plain(result)
        else:
            seconds = result.outcome["fit_time"] + result.outcome["score_time"]
            self.forecast.learn(self._work.candidates[result.cell.candidate], seconds)
            self._accept(result)

    def _accept(self, result: Evaluated) -> None:
        groups = self._groups.get(result.cell)
        if groups is None:
            self._ready.append(result)
        elif not any(group.condemned for group in groups):
            for group in list(groups):
                group.held[result.cell] = result
                self._judge(group)

    def _accept_plain(self, result: Evaluated) -> None:
        if result.cell in self._redo:
            self._redo.discard(result.cell)
            self._told.add(result.cell)
            self._ready.append(result)
            return
        for group in self._groups.get(result.cell, []):
            if group.sample == result.cell and group.plain is None:
                group.plain = result.outcome
                self._judge(group)
                return

    def _judge(self, group: _Group) -> None:
        shared = group.held.get(group.sample)
        if group.plain is None or shared is None or group.condemned:
            return
        if _same_bits(group.plain, shared.outcome):
            self._acquit(group)
        else:
            self._condemn(group)

    def _acquit(self, group: _Group) -> None:
        # what is held is released where no other group has a doubt; what has not arrived yet will not be held
        for cell in group.cells:
            groups = self._groups[cell]
            groups.remove(group)
            if not groups:
                del self._groups[cell]
                if cell in group.held:
                    self._ready.append(group.held[cell])

    def _condemn(self, group: _Group) -> None:
        group.condemned = True
        self.tripped += 1
        params = self._work.candidates[group.sample.candidate]
        warnings.warn(
            f"sharing one fit between {len(group.cells)} cells gave other bits than a fit of its own for {params}: "
            "they are fitted again one by one. Please report it, with the versions and the estimator.",
            GuardTripped,
            stacklevel=2,
        )
        again = [cell for cell in group.cells if cell not in self._redo and cell not in self._told]
        self._redo.update(again)
        self._pending += [self._task(cell.split, (cell.candidate,), plain=True) for cell in again]

    def ready(self) -> list[Evaluated]:
        """What may be believed, since the last call."""
        results = list(self._ready)
        self._ready.clear()
        return results

    def finished(self, task: Task) -> None:
        """All cells of a task have arrived."""
        left = self._at_work.pop(task)
        if left:
            raise RuntimeError(f"a task ended without {len(left)} of its cells: {sorted(left)[:3]}")

    def lost(self, task: Task, at_work: AtWork | None) -> CellKey | None:
        """The process of a task is gone, in the middle of the fit of ``at_work``; what it had left is to be done again.

        Returns the cell that was being fitted if it was one alone: whatever killed the process, it was that one, and it is
        left to the caller (see ``give``). Of a fit that several share, each gets its own chance.
        """
        left = self._at_work.pop(task)
        fitting = [] if at_work is None else [cell for cell in at_work.cells if cell in left]
        untouched = left.difference(fitting)
        rest = tuple(candidate for candidate in task.candidates if CellKey(candidate, task.split) in untouched)
        if rest:
            self._pending.append(self._task(task.split, rest, plain=task.plain))
        if len(fitting) == 1:
            return fitting[0]
        self._pending += [self._task(cell.split, (cell.candidate,)) for cell in fitting]
        return None

    def give(self, task: Task, result: Evaluated) -> None:
        """The result of a cell that cannot be evaluated: the one that ``lost`` returned."""
        if task.plain:
            for group in self._groups.get(result.cell, []):
                if group.sample == result.cell and group.plain is None and result.cell not in self._redo:
                    # nothing to compare with: one slow fit says nothing about the bits of the shared one
                    self._acquit(group)
                    return
            self._accept_plain(result)
        else:
            self._accept(result)

    @property
    def open_splits(self) -> set[int]:
        """Splits whose rows are still needed."""
        return {task.split for task in self._at_work} | {task.split for task in self._pending}

    @property
    def unfinished(self) -> int:
        """Tasks that are pending or at work."""
        return len(self._pending) + len(self._at_work)

    @property
    def pending(self) -> int:
        """Tasks that nobody has taken."""
        return len(self._pending)


def _depth_first(paths: Iterable[Path], of: dict[int, Path]) -> Callable[[int], tuple[int, ...]]:
    """A key that sorts candidates along the tree of their paths, branches in the order in which they were first met."""
    rank: dict[Path, int] = {}
    for path in paths:
        for depth in range(1, len(path) + 1):
            rank.setdefault(path[:depth], len(rank))
    return lambda candidate: tuple(rank[of[candidate][:depth]] for depth in range(1, len(of[candidate]) + 1))


def _runs(candidates: Sequence[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    runs: list[list[int]] = []
    last: Hashable = None
    for candidate in candidates:
        if not runs or key(candidate) != last:
            runs.append([])
            last = key(candidate)
        runs[-1].append(candidate)
    return runs


def _joined(parts: Sequence[Sequence[int]], wanted: int) -> list[list[int]]:
    """Neighbouring parts put together until at most ``wanted`` are left, of about equal size."""
    if len(parts) <= wanted:
        return [list(part) for part in parts]
    total = sum(map(len, parts))
    joined: list[list[int]] = []
    taken = 0
    for part in parts:
        if not joined or taken >= len(joined) * total / wanted:
            joined.append([])
        joined[-1] += part
        taken += len(part)
    return joined


def _same_bits(one: Outcome, other: Outcome) -> bool:
    return all(_bits(one.get(name)) == _bits(other.get(name)) for name in ("test_scores", "train_scores")) and (
        (one["fit_error"] is None) == (other["fit_error"] is None)
    )


def _bits(scores: Any) -> Any:  # noqa: ANN401  a number, or one by metric
    if isinstance(scores, dict):
        return {name: _bits(score) for name, score in scores.items()}
    return None if scores is None else np.float64(scores).tobytes()
