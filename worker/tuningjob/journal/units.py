"""Which cells a claimant is given next, and how many. Pure.

They come from the region whose fits are expected to take longest, so that the last ones are short. Their number follows
guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers C-36, 1987) in expected seconds: large at first, for
few claims, and small at the tail, for a short wait for the last one.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuningjob.journal.walk import MAX_REGIONS, MAX_UNIT, Region, Walk

# Regions for each pod: enough to tell dear cells from cheap ones, few enough that cells which share work stay in one unit.
_REGIONS_PER_POD: Final = 8
# The most expected seconds of work in one claim, for each of the claimant's processes: a pod that comes later waits no longer
# for work, and a pod that dies loses no more. Cells that share work may take twice as long; cells fitted as one are never split.
UNIT_SECONDS: Final = 10.0
# Cells for each process in the first unit of a search, when it is not known yet how long a cell takes.
_PROBE: Final = 64
_LEAST_SECONDS: Final = 1e-6
# The number of units that a pod's even share is cut into.
_MEASURED: Final = 2
_GUESSED: Final = 6


@dataclass(frozen=True)
class RegionState:
    """What is left of a region, and its measurements: ``seconds`` is the sum over ``measured`` cells."""

    number: int
    next: int
    stop: int
    seconds: float = 0.0
    measured: int = 0


def parts_for(pods: int) -> int:
    """Into how many regions a search is cut. A single pod needs only one, because it takes all it can and orders it itself."""
    return 1 if pods == 1 else min(MAX_REGIONS, _REGIONS_PER_POD * pods)


def expected_seconds(
    regions: Sequence[Region], stretches: Sequence[RegionState], piloted: float | None = None
) -> list[float]:
    """How long a cell of each stretch takes, in seconds: measured, or else additive in the axes on a logarithmic scale.

    A value that was not measured yet counts as the dearest of its axis, and such a block as the dearest block, so that both are
    tried early. If nothing was measured at all, every cell takes what the pilot found, or else 1.0.
    """
    logs = {
        stretch.number: math.log(max(stretch.seconds / stretch.measured, _LEAST_SECONDS))
        for stretch in stretches
        if stretch.measured
    }
    if not logs:
        return [max(piloted or 1.0, _LEAST_SECONDS)] * len(stretches)
    blocks: dict[int, list[float]] = defaultdict(list)
    for number, log in logs.items():
        blocks[regions[number].block].append(log)
    means = {block: sum(found) / len(found) for block, found in blocks.items()}
    by_value: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for number, log in logs.items():
        region = regions[number]
        for axis, value in enumerate(region.digits):
            by_value[region.block, axis, value].append(log - means[region.block])
    effects = {digit: sum(found) / len(found) for digit, found in by_value.items()}
    dearest: dict[tuple[int, int], float] = defaultdict(float)
    for (block, axis, _), effect in effects.items():
        dearest[block, axis] = max(dearest[block, axis], effect)

    def expected(stretch: RegionState) -> float:
        if stretch.number in logs:
            return math.exp(logs[stretch.number])
        block, digits = regions[stretch.number].block, regions[stretch.number].digits
        effect = sum(effects.get((block, *digit), dearest[block, digit[0]]) for digit in enumerate(digits))
        return math.exp(min(50.0, means.get(block, max(means.values())) + effect))

    return [expected(stretch) for stretch in stretches]


def preferred(stretches: Sequence[RegionState], seconds: Sequence[float]) -> list[int]:
    """Positions of the stretches with something left: by the time of a fit, the longest first, then in the order of the walk."""
    left = [position for position, stretch in enumerate(stretches) if stretch.next < stretch.stop]
    return sorted(left, key=lambda position: (-seconds[position], stretches[position].number))


def unit_end(
    walk: Walk,
    stretches: Sequence[RegionState],
    seconds: Sequence[float],
    chosen: int,
    *,
    pods: int,
    slots: int,
    elastic: bool = False,
    is_piloted: bool = False,
) -> int:
    """The end of the next unit, which begins where the chosen stretch does.

    A unit is half of an even share of the seconds that are left, or a sixth if nothing was measured yet, because a wrong guess
    must not tie a pod down. It is no more than UNIT_SECONDS for each of the claimant's ``slots``, and never fewer cells than
    slots. As long as the seconds are unknown, even from a pilot (``is_piloted``), it is a few cells, then as many as were claimed
    so far: if they take long, that is known soon; if not, few claims are enough.

    Groups that are fitted together are not split, and no unit reaches beyond its strip. It may be twice as long if it then ends
    where less is shared. ``elastic``: pods may come while the search runs and must find something to do, so even a single pod
    takes no more than a share.
    """
    stretch = stretches[chosen]
    left = math.fsum((each.stop - each.next) * cost for each, cost in zip(stretches, seconds, strict=True))
    takes_all = pods == 1 and not elastic
    share = left if takes_all else left / (pods * (_MEASURED if stretch.measured else _GUESSED))
    is_known = is_piloted or any(each.measured for each in stretches)
    claimed = sum(each.next - walk.regions[each.number].start for each in stretches)
    wanted = UNIT_SECONDS * slots if is_known else max(_PROBE * slots, claimed) * seconds[chosen]
    cells = _cells(min(share, wanted), seconds[chosen], slots)
    most = _cells(min(share, (2 if is_known else 1) * wanted), seconds[chosen], slots)
    together = walk.together(stretch.next)
    if together <= MAX_UNIT:
        cells, most = (min(_up_to(count, together), MAX_UNIT // together * together) for count in (cells, most))
    return min(stretch.stop, walk.turn(stretch.next, min((cells + 1) // 2, MAX_UNIT), min(most, MAX_UNIT)))


def _cells(seconds: float, each: float, slots: int) -> int:
    return max(slots, math.ceil(min(seconds / each, MAX_UNIT)))


def _up_to(count: int, multiple: int) -> int:
    return math.ceil(count / multiple) * multiple
