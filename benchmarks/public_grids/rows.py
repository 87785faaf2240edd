"""What was measured of a grid, and its file: grids are measured in parts, because all of them take over an hour."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import differences
from benchmarks.public_grids.grids import Grid
from benchmarks.public_grids.sides import FORKED, PRUNED, SIDES, STOCK, Found, SideProcess
from benchmarks.worth import oracle

# Repeated until scikit-learn's searches have taken so long; a short one three times at the least, because joblib's processes may
# start in the second.
ENOUGH_SECONDS: Final = 5.0
_LEAST_REPEATED: Final = 3
# Of such a search the start of processes is no part that counts: once is enough.
LONG_SECONDS: Final = 20.0
_NOT_RUN: Final = "nan"


@dataclass(kw_only=True)
class Row:
    """A grid's measurements: each side's seconds, its first search first.

    oracle: how much there was to share. error: with which every side fails. refused: why nothing is pruned. ran: the part of
    the fits that pruning left.
    """

    number: int
    when: str
    oracle: float
    seconds: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    problems: list[str] = field(default_factory=list)
    error: str | None = None
    refused: str | None = None
    ran: float | None = None

    def of(self, side: str, *, first: bool = False) -> float | None:
        """Seconds of a side: of its first search, else the median of the later ones (of the only one, if there was but one)."""
        seconds = self.seconds[side]
        if not seconds:
            return None
        return seconds[0] if first else median(seconds[1:] or seconds)

    def ratio(self, side: str, *, first: bool = False) -> float | None:
        """scikit-learn's seconds ÷ this side's."""
        theirs, ours = self.of(STOCK, first=first), self.of(side, first=first)
        return None if theirs is None or ours is None else theirs / ours

    @property
    def part(self) -> float | None:
        """The forked path's ratio ÷ the oracle."""
        ratio = self.ratio(FORKED)
        return None if ratio is None else ratio / self.oracle


def measure(grid: Grid, *, repeat: int, limit: float, sides: Sequence[str], when: str) -> Row:
    """A B C D, D C B A, ...: each side in a process of its own, whose first search is told apart from the later ones."""
    row = Row(number=grid.number, when=when, oracle=oracle(grid.estimator, grid.candidates))
    want: Found | None = None
    with ExitStack() as stack:
        processes = {side: stack.enter_context(SideProcess(side, grid.number, limit)) for side in sides}
        for number in range(1 + repeat):
            for side in list(processes) if number % 2 == 0 else reversed(list(processes)):
                found = processes[side].search()
                if found is None:
                    row.problems.append(f"{side} was not done after {limit:.0f} s, or died")
                    return row
                if want is None:
                    want, row.error = found, found.error
                if side == PRUNED and found.error is not None and want.error is None:
                    row.refused = found.error
                    del processes[side]  # after the loop over their names, which is a list
                    continue
                row.seconds[side].append(found.seconds)
                row.problems += [f"{side}: {line}" for line in differing(want, found, is_pruned=side == PRUNED)]
                if side == PRUNED and found.error is None:
                    row.ran = part_run(want, found)
            if is_enough(row.seconds[STOCK]):
                break
    return row


def is_enough(seconds: Sequence[float]) -> bool:
    """Whether searches that took so long, the first also for joblib's start, say how long one takes."""
    first, *later = seconds
    is_long = any(each > ENOUGH_SECONDS for each in later)
    return first > LONG_SECONDS or is_long or (len(later) >= _LEAST_REPEATED and sum(seconds) > ENOUGH_SECONDS)


def part_run(want: Found, pruned: Found) -> float:
    """The part of the fits that were run, which have a score unless scikit-learn's fails, too."""
    pairs = list(zip(want.scores(), pruned.scores(), strict=True))
    return sum(ours != _NOT_RUN or theirs == _NOT_RUN for theirs, ours in pairs) / len(pairs)


def differing(want: Found, found: Found, *, is_pruned: bool = False) -> list[str]:
    """What is not scikit-learn's: to the bit, or, where it is pruned, of the answer and of every score that was computed."""
    if found.error != want.error:
        return [f"raised {found.error!r}, not {want.error!r}"]
    if not is_pruned:
        return differences(want.results, found.results)
    other = [
        f"best: {ours}, not {theirs}" for theirs, ours in zip(want.best, found.best, strict=True) if ours != theirs
    ]
    pairs = zip(want.scores(), found.scores(), strict=True)
    return other + [f"score: {ours}, not {theirs}" for theirs, ours in pairs if ours not in {theirs, _NOT_RUN}]


def read_rows(file: Path) -> dict[int, Row]:
    """By the grid's number; none where there is no such file."""
    if not file.exists():
        return {}
    return {each["number"]: Row(**each) for each in json.loads(file.read_text(encoding="utf-8"))}


def write_rows(rows: dict[int, Row], file: Path) -> None:
    """A line for each, in their order."""
    lines = ",\n".join(json.dumps(dataclasses.asdict(rows[number])) for number in sorted(rows))
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
