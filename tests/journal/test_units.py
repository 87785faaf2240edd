"""Longest first, large at first, small at the tail: shown by pods that pull, in simulated time."""

import heapq
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.test_walk import block
from tuningjob.journal.units import UNIT_SECONDS, RegionState, expected_seconds, parts_for, preferred, unit_end
from tuningjob.journal.walk import MAX_UNIT, Walk
from tuningjob.protocol.records import Cell


class Queue:
    """Units as the journal cuts them, in memory. ``piloted``: what a pilot said of the seconds of a cell."""

    def __init__(self, walk: Walk, pods: int, *, elastic: bool = False, piloted: float | None = None) -> None:
        self.walk = walk
        self.pods = pods
        self.elastic = elastic
        self.piloted = piloted
        self.stretches = [RegionState(number, each.start, each.stop) for number, each in enumerate(walk.regions)]

    def claim(self, slots: int = 1) -> list[Cell]:
        seconds = expected_seconds(self.walk.regions, self.stretches, self.piloted)
        for chosen in preferred(self.stretches, seconds):
            each = self.stretches[chosen]
            stop = unit_end(
                self.walk,
                self.stretches,
                seconds,
                chosen,
                pods=self.pods,
                slots=slots,
                elastic=self.elastic,
                is_piloted=self.piloted is not None,
            )
            self.stretches[chosen] = RegionState(each.number, stop, each.stop, each.seconds, each.measured)
            return [self.walk.cell(place) for place in range(each.next, stop)]
        return []

    def learn(self, cell: Cell, seconds: float) -> None:
        place = self.walk.place(cell)
        number = next(n for n, region in enumerate(self.walk.regions) if region.start <= place < region.stop)
        each = self.stretches[number]
        self.stretches[number] = RegionState(number, each.next, each.stop, each.seconds + seconds, each.measured + 1)


def makespan(
    walk: Walk, pods: int, cost: Callable[[Cell], float], *, joining: int = 0, at: float = 0.0, elastic: bool = False
) -> float:
    """Seconds until the last of the pods, each with one process, has nothing left. Some may join at a later moment."""
    queue = Queue(walk, pods, elastic=elastic)
    free = [(0.0, pod) for pod in range(pods)] + [(at, pods + pod) for pod in range(joining)]
    heapq.heapify(free)
    end = 0.0
    while free:
        now, pod = heapq.heappop(free)
        if now >= at and joining:
            queue.pods = pods + joining
        cells = queue.claim()
        for cell in cells:
            now += cost(cell)
            queue.learn(cell, cost(cell))
        end = max(end, now)
        if cells:
            heapq.heappush(free, (now, pod))
    return end


SIZES = (4, 5, 5)


def factors(cell: Cell) -> float:
    """The dearest are the last of the grid, a hundred times the cheapest: the worst for who goes by the grid's order."""
    first, second, third = cell.candidate // 25, cell.candidate // 5 % 5, cell.candidate % 5
    return float(10.0 ** (first * 0.4) * 2.0**second * 1.1**third)


@pytest.mark.parametrize("pods", [2, 4, 8, 16])
def test_pods_that_pull_end_near_the_lower_bound(pods: int) -> None:
    walk = Walk((block(*SIZES),), 100, 5, parts_for(pods))
    total = sum(factors(walk.cell(place)) for place in range(walk.size))
    longest = max(factors(walk.cell(place)) for place in range(walk.size))
    assert makespan(walk, pods, factors) <= 1.03 * max(total / pods, longest)


@pytest.mark.parametrize("joining", [1, 3, 15])
@pytest.mark.parametrize("at", [10.0, 100.0, 1_000.0])
def test_pods_that_join_a_search_of_one_pod_find_something_to_do(joining: int, at: float) -> None:
    walk = Walk((block(8, 10, 10),), 800, 5, parts_for(1))
    total = 2.0 * walk.size
    end = makespan(walk, 1, lambda _: 2.0, joining=joining, at=at, elastic=True)

    # an earlier pod holds a unit of some ten seconds, except the first, because no duration was known then
    first = 64 * 2.0
    assert end <= at + (total - at) / (1 + joining) + max(2 * UNIT_SECONDS, first - at) + 2.0


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("pods", [1, 3])
def test_units_are_some_ten_seconds_for_each_process_whatever_a_cell_takes(pods: int, slots: int) -> None:
    for each in (0.1, 1.0, 4.0):
        queue = Queue(Walk((block(50, 100),), 5_000, 5, parts_for(pods)), pods, piloted=each)
        for _ in range(20):
            claimed = len(queue.claim(slots))
            assert min(5 * slots, 512 * each) <= claimed * each <= 20 * slots + each


def test_what_was_measured_counts_and_not_what_the_pilot_said() -> None:
    queue = Queue(Walk((block(500),), 500, 5, 1), 1, piloted=0.01)
    for cell in queue.claim():
        queue.learn(cell, 2.0)
    assert len(queue.claim()) <= 10


def test_a_unit_ends_where_less_is_shared_if_that_is_near() -> None:
    # candidates of four values of a first step, with ten of the last one, each on three splits
    queue = Queue(Walk((block(4, 10),), 40, 3, 1), 1, piloted=0.7)
    sizes = []
    while cells := queue.claim():
        sizes.append(len(cells))
    assert sizes == [20] * 6, "20 cells are 14 s: two values of the first step, on one split"


def test_what_is_fitted_as_one_stays_in_one_unit_however_long_it_takes() -> None:
    queue = Queue(Walk((block(4, 10, together=1),), 40, 3, 1), 1, piloted=60.0)
    assert [len(queue.claim()) for _ in range(13)] == [10] * 12 + [0]


def test_of_what_nobody_knows_a_few_cells_are_claimed_and_then_as_many_again() -> None:
    queue = Queue(Walk((block(5_000),), 5_000, 1, 1), 1)
    assert [len(queue.claim(slots=2)) for _ in range(7)] == [128, 128, 256, 512, 1_024, 1_024, 1_024]


def test_where_fits_take_long_is_known_from_a_few_and_comes_first() -> None:
    walk = Walk((block(4, 8),), 32, 1, 32)
    stretches = [RegionState(number, number, number + 1) for number in range(32)]
    # measured: the first row, where the second axis doubles each time, and the second row's first, ten times the first row's
    for number in range(8):
        stretches[number] = RegionState(number, number + 1, number + 1, 2.0**number, 1)
    stretches[8] = RegionState(8, 9, 9, 10.0, 1)
    seconds = expected_seconds(walk.regions, stretches)
    assert seconds[:9] == pytest.approx([*(2.0**number for number in range(8)), 10.0])
    assert seconds[9:16] == sorted(seconds[9:16])
    assert min(seconds[16:]) >= min(seconds[9:16]), "a row of which nothing is known is taken for the dearest"
    first = preferred(stretches, seconds)[0]
    assert first in {15, 23, 31}


def test_nothing_measured_is_walked_in_order() -> None:
    walk = Walk((block(4, 4),), 16, 1, 16)
    stretches = [RegionState(number, number, number + 1) for number in range(16)]
    assert preferred(stretches, expected_seconds(walk.regions, stretches)) == list(range(16))


def test_units_are_large_at_first_and_small_at_the_tail() -> None:
    queue = Queue(Walk((), 200, 5), pods=4)
    sizes = []
    while cells := queue.claim(slots=2):
        sizes.append(len(cells))
    assert sizes[0] == 42, "a sixth of a quarter of 1,000"
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes[:-1]) == 2, "never less than the claimant's slots while there are as many"


def test_what_is_fitted_together_is_claimed_together() -> None:
    queue = Queue(Walk((block(6, 7, together=1),), 42, 5, parts_for(3)), pods=3)
    while cells := queue.claim():
        by_split: dict[int, list[int]] = {}
        for cell in cells:
            by_split.setdefault(cell.split, []).append(cell.candidate)
        for candidates in by_split.values():
            assert len(candidates) % 7 == 0
            assert [candidate % 7 for candidate in candidates] == list(range(7)) * (len(candidates) // 7)


def test_one_pod_alone_takes_all_it_can_of_what_is_quick() -> None:
    queue = Queue(Walk((block(8, 5),), 40, 5, parts_for(1)), pods=1, piloted=0.01)
    assert len(queue.claim()) == 200


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    splits=st.integers(1, 5),
    pods=st.integers(1, 40),
    slots=st.integers(1, 64),
    together=st.integers(0, 2),
)
def test_units_cover_every_cell_once_and_are_never_empty_nor_beyond_the_bound(
    sizes: list[int], splits: int, pods: int, slots: int, together: int
) -> None:
    walk = Walk((block(*sizes, together=min(together, len(sizes))),), math.prod(sizes), splits, parts_for(pods))
    queue = Queue(walk, pods)
    claimed: list[Cell] = []
    while cells := queue.claim(slots):
        assert len(cells) <= MAX_UNIT
        claimed += cells
    assert len(claimed) == len(set(claimed)) == walk.size
