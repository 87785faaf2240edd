"""The walk names every cell once, and cells that share a fit are near each other."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.journal.walk import MAX_UNIT, Walk, is_sound
from tuningjob.protocol.records import Axis, Block, Cell


def block(*sizes: int, start: int = 0, order: tuple[int, ...] | None = None, together: int = 0) -> Block:
    """A map whose parameters, sorted by name, have these sizes; walked in ``order``, the last ``together`` as one."""
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    order = tuple(range(len(sizes))) if order is None else order
    axes = [
        Axis(size=sizes[axis], stride=strides[axis], together=position >= len(sizes) - together)
        for position, axis in enumerate(order)
    ]
    return Block(start=start, axes=tuple(axes))


@st.composite
def walks(draw: Any) -> Walk:
    blocks: list[Block] = []
    start = 0
    for _ in range(draw(st.integers(0, 3))):
        sizes = draw(st.lists(st.integers(1, 6), max_size=4))
        order = tuple(draw(st.permutations(range(len(sizes)))))
        blocks.append(block(*sizes, start=start, order=order, together=draw(st.integers(0, len(sizes)))))
        start += math.prod(sizes)
    candidates = start or draw(st.integers(1, 50))
    assert not blocks or is_sound(blocks, candidates)
    splits, parts = draw(st.integers(1, 5)), draw(st.integers(1, 64))
    return Walk(tuple(blocks), candidates, splits, parts, prunes=draw(st.booleans()))


@pytest.mark.slow
@given(walk=walks())
def test_every_cell_has_one_place_and_every_place_its_cell(walk: Walk) -> None:
    cells = [walk.cell(place) for place in range(walk.size)]
    assert sorted(cells) == [Cell(c, s) for c in range(walk.candidates) for s in range(walk.splits)]
    assert [walk.place(cell) for cell in cells] == list(range(walk.size))


@pytest.mark.slow
@given(walk=walks(), data=st.data())
def test_a_stretch_of_the_walk_is_its_cells_one_by_one(walk: Walk, data: Any) -> None:
    start = data.draw(st.integers(0, walk.size))
    stop = data.draw(st.integers(start, walk.size))
    assert list(walk.cells(start, stop)) == [walk.cell(place) for place in range(start, stop)]


@pytest.mark.slow
@given(walk=walks())
def test_regions_and_strips_follow_each_other_without_a_gap(walk: Walk) -> None:
    assert [region.start for region in walk.regions] == [0, *(region.stop for region in walk.regions[:-1])]
    assert walk.regions[-1].stop == walk.size
    for region in walk.regions:
        place = region.start
        while place < region.stop:
            end = walk.strip_end(place)
            assert walk.strip_end(end - 1) == end
            place = end
        assert place == region.stop, "no strip is in two regions"


@pytest.mark.slow
@given(walk=walks())
def test_what_is_fitted_together_is_on_one_split_and_begins_at_a_multiple_of_its_number(walk: Walk) -> None:
    for region in walk.regions:
        together = walk.together(region.start)
        for place in range(region.start, region.stop, together):
            cells = [walk.cell(each) for each in range(place, place + together)]
            assert len({cell.split for cell in cells}) == 1


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), parts=st.integers(1, 256))
def test_there_are_about_as_many_regions_as_asked_for(sizes: list[int], parts: int) -> None:
    walk = Walk((block(*sizes),), math.prod(sizes), 5, parts)
    assert min(parts, walk.candidates) <= len(walk.regions) <= 4 * parts


def test_without_blocks_the_walk_is_the_grids_order() -> None:
    walk = Walk((), 3, 2)
    assert [walk.cell(place) for place in range(6)] == [Cell(c, s) for c in range(3) for s in range(2)]


def test_a_strip_is_all_of_its_candidates_on_one_split_after_the_other() -> None:
    walk = Walk((block(2, 3, order=(1, 0)),), 6, 2)
    cells = [walk.cell(place) for place in range(12)]
    assert [cell.split for cell in cells] == [0] * 6 + [1] * 6
    assert [cell.candidate for cell in cells[:6]] == [0, 3, 1, 4, 2, 5]


def test_a_strip_is_no_longer_than_a_unit_so_that_candidates_are_complete_early() -> None:
    walk = Walk((block(1000, 1000),), 1_000_000, 5)
    assert walk.strip_end(0) <= MAX_UNIT
    assert {walk.cell(place).split for place in range(walk.strip_end(0))} == set(range(5))


def test_a_grid_beyond_counting_is_walked_all_the_same() -> None:
    walk = Walk((block(*[10] * 12, order=tuple(reversed(range(12)))),), 10**12, 5, 256)
    assert len(walk.regions) <= 4 * 256
    for place in (0, 10**11, 5 * 10**12 - 1):
        assert walk.place(walk.cell(place)) == place


@pytest.mark.slow
def test_blocks_that_leave_candidates_out_or_name_them_twice_are_unsound() -> None:
    assert is_sound([block(2, 3), block(4, start=6)], 10)
    assert not is_sound([block(2, 3), block(4, start=5)], 9)
    assert not is_sound([block(2, 3)], 7)
    assert not is_sound([Block(start=0, axes=(Axis(size=2, stride=1), Axis(size=3, stride=1)))], 6)
    assert not is_sound([Block(start=0, axes=(Axis(size=2, stride=3, together=True), Axis(size=3, stride=1)))], 6)
    assert not is_sound([block(1, start=each) for each in range(300)], 300)


def test_a_search_that_prunes_has_all_splits_of_what_is_fitted_together_before_the_next() -> None:
    walk = Walk((block(2, 3, together=1),), 6, 2, prunes=True)
    places = [(cell.candidate, cell.split) for cell in walk.cells(0, walk.size)]
    first = [(candidate, split) for split in range(2) for candidate in range(3)]
    assert places == [*first, *((candidate + 3, split) for candidate, split in first)]
    assert walk.turn(0, 3, 12) == 12  # as many strips as it likes
    assert walk.turn(0, 3, 9) == 6  # but whole ones
    assert walk.turn(0, 3, 3) == 3
