"""The schedule: which cells to evaluate next, in tasks that share work, the longest first, watched by the guard. Pure."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

from tuningjob.engine.evaluate import AtWork, Evaluated
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.guard import Axes, Guard
from tuningjob.engine.outline import Node, Outline, Path
from tuningjob.engine.work import CellKey, Work

# Cuts between candidates that share nothing are free, so they make up to FINE tasks a process. Other cuts mean that work is done
# twice, so they make up to COARSE.
FINE: Final = 16
COARSE: Final = 4
# A shorter task is not worth its dispatch, which takes about a millisecond in all.
SHORTEST_SECONDS: Final = 0.05
# One process in this many does plain fits for the guard while there are any; the others begin the long tasks.
WATCHING: Final = 4
_SAMPLE: Final = 16
_BEGINNING: Final = "a beginning"


@dataclass(frozen=True, eq=False)
class Task:
    """Candidates to be evaluated on one split by one process; with ``plain`` nothing is shared."""

    id: int
    split: int
    candidates: tuple[int, ...]
    plain: bool = False

    @property
    def cells(self) -> tuple[CellKey, ...]:
        """The cells of this task."""
        return tuple(CellKey(candidate, self.split) for candidate in self.candidates)


class Schedule:
    """The cells of a search that are to be evaluated here, and the state of each.

    ``add`` cells, ``take`` tasks, report their results (``arrived``, ``finished``, ``lost``), and collect what is ``ready``. A
    result that the guard watches is ready after its verdict.
    """

    def __init__(self, work: Work, processes: int, *, guard: bool = True, seed: int = 0, by_fold: bool = False) -> None:
        self._work = work
        self.processes = processes
        self._by_fold = by_fold
        self._outline = Outline(work.estimator, work.X)
        self._guard = Guard(work, seed=seed)
        self._watches = guard
        self.forecast = Forecast()
        self._ids = itertools.count()
        self._seconds: WeakKeyDictionary[Task, tuple[int, float]] = WeakKeyDictionary()
        self._pending: list[Task] = []
        self._at_work: dict[Task, set[CellKey]] = {}
        self._paths: dict[int, Path] = {}

    # --- cells come in

    def add(self, cells: Iterable[CellKey]) -> None:
        """Add cells to evaluate; those that share work should come together."""
        by_split: dict[int, list[int]] = {}
        for cell in cells:
            by_split.setdefault(cell.split, []).append(cell.candidate)
        places = {
            candidate: self._outline.place(self._work.candidates[candidate])
            for candidate in dict.fromkeys(candidate for column in by_split.values() for candidate in column)
        }
        self._paths.update({candidate: place.path for candidate, place in places.items()})
        if self._watches:
            by_split = self._guard.watch(by_split, _watched(places))
        for split, candidates in by_split.items():
            tasks = [self._task(split, part) for part in self._cut(candidates, len(by_split))]
            for task in tasks:
                self._guard.foresee(task.cells)
            self._pending += tasks
        self._do_again()

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

    # --- tasks go out

    def take(self) -> Task | None:
        """The next task: one that the guard waits for, else the one that is expected to take longest.

        It is cut in two if it would be the last to end.
        """
        if not self._pending:
            return None
        if sum(map(self._is_awaited, self._at_work)) < max(1, self.processes // WATCHING):
            best = max(self._eligible(), key=lambda task: (self._is_awaited(task), self.seconds(task)))
        else:
            best = max(self._eligible(), key=self.seconds)
        self._pending.remove(best)
        if not best.plain:
            if len(self._pending) < self.processes - 1:
                best = self._halve(best)
            self._watch(self._guard.samples_of(best.cells))
        self._at_work[best] = set(best.cells)
        return best

    def at_work(self, id: int) -> Task:  # noqa: A002
        """The task with this id, which was taken and has not ended."""
        return next(task for task in self._at_work if task.id == id)

    def _is_awaited(self, task: Task) -> bool:
        return task.plain and self._guard.is_awaited(task.cells[0])

    def _watch(self, samples: Iterable[CellKey]) -> None:
        self._pending += [self._task(cell.split, (cell.candidate,), plain=True) for cell in samples]

    def _task(self, split: int, candidates: Iterable[int], *, plain: bool = False) -> Task:
        return Task(next(self._ids), split, tuple(candidates), plain)

    def _eligible(self) -> Sequence[Task]:
        if not self._by_fold:
            return self._pending
        # X is large, so no other fold is cut before the current ones are finished
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
        """The seconds that a task is expected to take, from a sample of its candidates."""
        version, seconds = self._seconds.get(task, (-1, 0.0))
        if version != self.forecast.version:
            sample = task.candidates[:: math.ceil(len(task.candidates) / _SAMPLE)]
            each = sum(self.forecast.seconds(self._work.candidates[candidate]) for candidate in sample) / len(sample)
            seconds = each * len(task.candidates)
            self._seconds[task] = (self.forecast.version, seconds)
        return seconds

    # --- results come back

    def arrived(self, task: Task, result: Evaluated) -> None:
        """Take in the result of a cell of a task that was taken."""
        self._at_work[task].discard(result.cell)
        if task.plain:
            self._guard.plain(result)
        else:
            seconds = result.outcome["fit_time"] + result.outcome["score_time"]
            self.forecast.learn(self._work.candidates[result.cell.candidate], seconds)
            self._guard.shared(result)
        self._watch(self._guard.second_samples())
        self._do_again()

    def _do_again(self) -> None:
        """Queue the cells that the guard has condemned, one task each, in which nothing is shared."""
        again = set(self._guard.again)
        if not again:
            return
        self._guard.again.clear()
        tasks, self._pending = self._pending, []
        for task in tasks:
            left = tuple(cell.candidate for cell in task.cells if cell not in again)
            if task.plain or len(left) == len(task.candidates):
                self._pending.append(task)
            elif left:
                self._pending.append(self._task(task.split, left))
        self._pending += [self._task(cell.split, (cell.candidate,), plain=True) for cell in sorted(again)]

    def _end(self) -> None:
        if not self.unfinished:
            self._watch(self._guard.left_samples())

    def ready(self) -> list[Evaluated]:
        """The results that have become ready since the last call: all unwatched ones, and those that the guard confirmed."""
        results = list(self._guard.ready)
        self._guard.ready.clear()
        return results

    def finished(self, task: Task) -> None:
        """Note that all cells of a task have arrived."""
        left = self._at_work.pop(task)
        if left:
            raise RuntimeError(f"a task ended without {len(left)} of its cells: {sorted(left)[:3]}")
        self._end()

    def lost(self, task: Task, at_work: AtWork | None) -> CellKey | None:
        """Note that the process of a task died in the fit of ``at_work``; its other cells are queued again.

        If exactly one cell was being fitted, it killed the process: this returns the cell, and the caller settles it (see
        ``give``). If several cells shared the fit, each is queued by itself.
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
        self._end()
        return None

    def is_risky(self, task: Task, expendable: Set[int]) -> bool:
        """Whether one of these candidates may have killed the process of a task."""
        return any(cell.candidate in expendable for cell in self._at_work[task])

    def part(self, task: Task, expendable: Set[int]) -> CellKey | None:
        """Note that the process of a task died, perhaps of one of these candidates.

        If only one cell was left of the task, it killed the process: this returns the cell, and the caller settles it (see
        ``give``). Else each of these candidates' cells is queued by itself, and the other cells together.
        """
        left = self._at_work.pop(task)
        ordered = [cell for cell in task.cells if cell in left]
        if len(ordered) == 1:
            return ordered[0]
        others = [cell.candidate for cell in ordered if cell.candidate not in expendable]
        alone = [(cell.candidate,) for cell in ordered if cell.candidate in expendable]
        self._pending += [self._task(task.split, part, plain=task.plain) for part in (others, *alone) if part]
        return None

    def give(self, task: Task, result: Evaluated) -> None:
        """Settle a cell that cannot be evaluated, the one that ``lost`` or ``part`` returned, with this result."""
        if task.plain:
            self._guard.gave_up(result)
        else:
            self._guard.shared(result)
        self._watch(self._guard.second_samples())
        self._do_again()
        self._end()

    @property
    def guarded(self) -> int:
        """The number of groups that the guard watched."""
        return self._guard.guarded

    @property
    def tripped(self) -> int:
        """The number of groups whose shared results were thrown away."""
        return self._guard.tripped

    @property
    def open_splits(self) -> set[int]:
        """The splits whose rows are still needed."""
        return {task.split for task in self._at_work} | {task.split for task in self._pending}

    @property
    def unfinished(self) -> int:
        """The number of tasks that are pending or at work."""
        return len(self._pending) + len(self._at_work)

    @property
    def pending(self) -> int:
        """The number of tasks that no process has taken."""
        return len(self._pending)


def _watched(places: Mapping[int, Node]) -> dict[int, Axes]:
    """The groups for the guard to watch: those of nested axes, and one for candidates that begin alike and differ on no axis."""
    values: dict[Hashable, set[Hashable]] = {}
    for group, value in (axis for place in places.values() for axis in place.axes):
        values.setdefault(group, set()).add(value)
    fixed = {
        candidate: place.path[:1]
        for candidate, place in places.items()
        if all(len(values[group]) == 1 for group, _ in place.axes)
    }
    alike = Counter(fixed.values())
    return {
        candidate: (*place.axes, (_BEGINNING, candidate)) if alike[fixed.get(candidate, ())] > 1 else place.axes
        for candidate, place in places.items()
    }


def have_nothing_in_common(work: Work) -> bool:
    """Whether each candidate of a search seems to need a fit, and a beginning of its pipeline, of its own."""
    outline = Outline(work.estimator, work.X)
    places = [outline.place(candidate) for candidate in work.candidates]
    # the path of an estimator that is no pipeline has two keys: with and without the parameters that have no effect
    own = {place.path if len(place.path) == 2 else place.path[:1] for place in places}
    first: dict[Hashable, Hashable] = {}
    has_no_axis = all(first.setdefault(group, value) == value for place in places for group, value in place.axes)
    return has_no_axis and len(own) == len(places)


def _depth_first(paths: Iterable[Path], of: dict[int, Path]) -> Callable[[int], tuple[int, ...]]:
    """A key that sorts candidates along the tree of their paths, with branches in the order in which they were first met."""
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
    """Join neighbouring parts until at most ``wanted`` are left, of about equal size."""
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
