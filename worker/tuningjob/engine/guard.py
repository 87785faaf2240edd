"""The guard: one cell of each group that shares a fit is also fitted the plain way, and results wait for the comparison. Pure.

It takes the sample of a group from the first task that fits several of its cells as one. So few results wait at a time, and few
are lost with the process.
"""

import random
import warnings
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuningjob.aliases import Anything
from tuningjob.engine.evaluate import Evaluated, FitOutcome
from tuningjob.engine.forecast import magnitude_of
from tuningjob.engine.known import may_share
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.work import CellKey, Work

Axes = Sequence[tuple[Hashable, Hashable]]


class GuardTripped(RuntimeWarning):
    """A shared fit gave other bits than a plain fit: its group was fitted again, with nothing shared."""


@dataclass(eq=False)
class _Group:
    """Candidates on one nested axis, or with the same first steps, until there is a verdict.

    ``cells`` maps each of its cells to its value on the axis; ``held`` has the results that wait for the verdict. ``is_parted``
    says that no task has cells with different values.
    """

    key: Hashable
    cells: dict[CellKey, Hashable] = field(default_factory=dict)
    held: dict[CellKey, Evaluated] = field(default_factory=dict)
    is_parted: bool = True
    sample: CellKey | None = None
    plain: FitOutcome | None = None
    before: FitOutcome | None = None  # the outcome of a plain fit that differed

    def are_parted(self, cells: Iterable[CellKey]) -> bool:
        """Whether these of its cells have at most one value, so that they share nothing of the axis."""
        return len({self.cells[cell] for cell in cells}) < 2


class Guard:
    """Takes results (``shared``, ``plain``) and gives them in ``ready`` once a verdict confirms them.

    ``again`` has the cells that must be fitted the plain way because of a verdict; the caller empties it.
    """

    def __init__(self, work: Work, *, seed: int = 0) -> None:
        self._work = work
        self._random = random.Random(seed)  # noqa: S311  a sample, no secret
        self._only: dict[Hashable, Hashable] = {}  # by group: the only value on its axis so far
        self._groups: dict[Hashable, _Group] = {}
        self._verdicts: dict[Hashable, bool] = {}  # by group: whether what is shared has the bits of plain fits
        self._doubts: dict[CellKey, list[_Group]] = {}  # by cell: its groups without a verdict
        self._redo: set[CellKey] = set()
        self._told: set[CellKey] = set()  # cells that were done again and have a result
        self.again: list[CellKey] = []
        self._second: list[CellKey] = []
        self.ready: deque[Evaluated] = deque()
        self.guarded = 0
        self.tripped = 0

    def watch(self, by_split: Mapping[int, Sequence[int]], axes: Mapping[int, Axes]) -> dict[int, list[int]]:
        """Start to watch cells. Returns, by split, the candidates that may share: all but those of condemned groups."""
        for key, value in dict.fromkeys(each for found in axes.values() for each in found):
            is_known = key in self._groups or key in self._verdicts
            if not is_known and self._only.setdefault(key, value) != value:
                del self._only[key]
                self._groups[key] = _Group(key)
        may_be_shared: dict[int, list[int]] = {}
        for split, candidates in by_split.items():
            for candidate in candidates:
                cell = CellKey(candidate, split)
                if any(self._verdicts.get(key) is False for key, _ in axes[candidate]):
                    self._do_again([cell])
                    continue
                may_be_shared.setdefault(split, []).append(candidate)
                for key, value in axes[candidate]:
                    if key in self._groups:
                        self._groups[key].cells[cell] = value
                        self._doubts.setdefault(cell, []).append(self._groups[key])
        return may_be_shared

    # --- samples

    def foresee(self, cells: Iterable[CellKey]) -> None:
        """Note that these cells will be one task."""
        for group, members in self._undecided(cells).items():
            group.is_parted &= group.are_parted(members)

    def samples_of(self, cells: Iterable[CellKey]) -> list[CellKey]:
        """The samples among cells that are fitted now: these are fitted the plain way as well."""
        return [
            sample
            for group, members in self._undecided(cells).items()
            if group.sample is None and (group.is_parted or not group.are_parted(members))
            for sample in self._sample(group, members)
        ]

    def left_samples(self) -> list[CellKey]:
        """The samples of groups that have none when all tasks have ended, without which their results would wait for ever."""
        return [
            sample
            for group in list(self._groups.values())
            if group.held
            for sample in self._sample(group, list(group.held))
        ]

    def second_samples(self) -> list[CellKey]:
        """The samples that differed and are fitted the plain way once more, because a scorer may differ from itself."""
        samples, self._second = self._second, []
        return samples

    def is_awaited(self, cell: CellKey) -> bool:
        """Whether results wait for the plain fit of this cell: it is a sample, not a cell that is only done again."""
        return cell not in self._redo

    def _undecided(self, cells: Iterable[CellKey]) -> dict[_Group, list[CellKey]]:
        found: dict[_Group, list[CellKey]] = {}
        for cell in cells:
            for group in self._doubts.get(cell, ()):
                found.setdefault(group, []).append(cell)
        return found

    def _sample(self, group: _Group, cells: list[CellKey]) -> list[CellKey]:
        """A list of one of the cells; empty if none can be compared, and then the group is no longer watched."""
        while cells:
            # cheap cells more often: the largest on a nested axis is the shared fit itself, and would show the least
            cheapness = [1 / magnitude_of(self._work.candidates[cell.candidate]) for cell in cells]
            (sample,) = self._random.choices(cells, cheapness)
            if self._is_comparable(sample.candidate):
                self.guarded += 1
                group.sample, group.plain, group.before = sample, None, None
                return [sample]
            cells.remove(sample)
        self._acquit(group)
        return []

    def _is_comparable(self, candidate: int) -> bool:
        """Whether two plain fits of a candidate would have the same bits; if not, it shares nothing and needs no guard."""
        try:
            estimator = self._work.configured(candidate)
            return is_repeatable(estimator) and may_share(estimator)
        except Exception:  # noqa: BLE001  invalid parameters, which the fit reports
            return False

    # --- results

    def shared(self, result: Evaluated) -> None:
        """Take in the result of a fit that may have been shared."""
        cell = result.cell
        if cell in self._redo or cell in self._told:
            return
        if cell not in self._doubts:
            self.ready.append(result)
            return
        for group in list(self._doubts[cell]):
            if cell in group.cells:  # no more, once another of its groups is condemned
                group.held[cell] = result
                self._judge(group)

    def plain(self, result: Evaluated) -> None:
        """Take in the result of a plain fit."""
        if result.cell in self._redo:
            self._redo.discard(result.cell)
            self._told.add(result.cell)
            self.ready.append(result)
            return
        group = self._waiting_for(result.cell)
        if group is not None:
            group.plain = result.outcome
            self._judge(group)

    def gave_up(self, result: Evaluated) -> None:
        """Accept the shared results of a sample whose plain fit took too long, because that says nothing about their bits."""
        group = self._waiting_for(result.cell)
        if group is not None:
            self._acquit(group)
        else:
            self.plain(result)

    def _waiting_for(self, sample: CellKey) -> _Group | None:
        groups = self._doubts.get(sample, ())
        return next((group for group in groups if group.sample == sample and group.plain is None), None)

    # --- verdicts

    def _judge(self, group: _Group) -> None:
        if group.plain is None or group.sample not in group.held:
            return
        if _same_bits(group.plain, group.held[group.sample].outcome):
            self._acquit(group)
        elif group.before is None:
            group.before, group.plain = group.plain, None
            self._second.append(group.sample)
        elif _same_bits(group.plain, group.before):
            self._condemn(group, group.sample)
        else:
            self._acquit(group)  # two plain fits differ, so there is nothing to compare with

    def _acquit(self, group: _Group) -> None:
        # a result is released if no other group of its cell is undecided; later ones will not be held
        self._decide(group, is_right=True)
        for cell in group.cells:
            groups = self._doubts[cell]
            groups.remove(group)
            if not groups:
                del self._doubts[cell]
                if cell in group.held:
                    self.ready.append(group.held[cell])

    def _condemn(self, group: _Group, sample: CellKey) -> None:
        self._decide(group, is_right=False)
        self.tripped += 1
        params = self._work.candidates[sample.candidate]
        warnings.warn(
            f"sharing one fit between {len(group.cells)} cells gave other bits than a fit of its own for {params}: "
            "they are fitted again one by one. Please report it, with the versions and the estimator.",
            GuardTripped,
            stacklevel=2,
        )
        for cell in group.cells:
            for other in self._doubts.pop(cell):
                if other is not group:
                    del other.cells[cell]
                    other.held.pop(cell, None)
                    if other.sample == cell:
                        other.sample = other.plain = other.before = None
        self._do_again(list(group.cells))

    def _decide(self, group: _Group, *, is_right: bool) -> None:
        del self._groups[group.key]
        self._verdicts[group.key] = is_right

    def _do_again(self, cells: Sequence[CellKey]) -> None:
        self._redo.update(cells)
        self.again += cells


def _same_bits(one: FitOutcome, other: FitOutcome) -> bool:
    return all(_bits(one.get(name)) == _bits(other.get(name)) for name in ("test_scores", "train_scores")) and (
        (one["fit_error"] is None) == (other["fit_error"] is None)
    )


def _bits(scores: Anything) -> Anything:
    if isinstance(scores, dict):
        return {name: _bits(score) for name, score in scores.items()}
    return None if scores is None else np.float64(scores).tobytes()
