"""The order in which the cells of a search are handed out. Pure.

A grid is walked so that fits which share work are neighbours. It goes block by block (a map of the grid); within a block the axis
across which least is shared turns slowest, and the one across which most is shared turns fastest. A block is cut into *regions*,
within which fits are expected to cost about the same. A region is cut into *strips*: a few candidates, all of them on the first
split, then all on the second. So a unit, a piece of a strip, shares what a split and a fitted prefix have in common, and
candidates are complete one strip after the other.

Everything is arithmetic on the places of a walk (0 … candidates × splits - 1), so a million candidates need no rows.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from tuningjob.protocol.records import Block, Cell

MAX_UNIT: Final = 1_024  # cells: a second of the quickest fits, and a claim of a few milliseconds
MAX_REGIONS: Final = 256
NOBODY: Final = -1  # in the place of a candidate, for a row that shares with none


def is_sound(blocks: Sequence[Block], candidates: int) -> bool:
    """Whether the blocks name every candidate exactly once, and few enough of them to be walked."""
    start = 0
    for block in blocks:
        if block.start != start or not _is_sound(block):
            return False
        start += candidates_in(block)
    return start == candidates and len(blocks) <= MAX_REGIONS


def is_walked_apart(blocks: Sequence[Block], ranked: int, shared_with: int) -> bool:
    """Whether the row ``ranked`` can have its results from this candidate: the row comes after it, and is walked by itself."""
    return shared_with < ranked and any(block.start == ranked and candidates_in(block) == 1 for block in blocks)


def _is_sound(block: Block) -> bool:
    stride = 1
    for axis in sorted(block.axes, key=lambda axis: (axis.stride, axis.size)):
        if axis.stride != stride:
            return False
        stride *= axis.size
    together = [axis.together for axis in block.axes]
    return together == sorted(together)


def candidates_in(block: Block) -> int:
    """The number of candidates in a block; 1 for a block without axes."""
    return math.prod(axis.size for axis in block.axes)


@dataclass(frozen=True)
class Region:
    """The places from ``start`` to before ``stop``; ``digits`` say where on each axis of its ``block`` it begins."""

    start: int
    stop: int
    block: int = 0
    digits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Walk:
    """The walk of a search. Without blocks it is one region in the order of the grid.

    ``ranked``: rows after so many candidates are evaluated beside them, but not ranked; 0: there are none. ``first``: the
    candidate at which the current stage begins; those before it are finished. ``shared_with``: the candidate whose results are
    also those of the row ``ranked``, which no claimant is given; NOBODY: there is none. ``prunes``: a strip has no more
    candidates than are fitted together, so that their means are known early, and a unit may have any number of strips.
    """

    blocks: tuple[Block, ...]
    candidates: int
    splits: int
    parts: int = 1
    ranked: int = 0
    first: int = 0
    shared_with: int = NOBODY
    prunes: bool = False

    @property
    def size(self) -> int:
        """The number of places in the walk, which is the number of cells."""
        return self.candidates * self.splits

    def ranks(self, candidate: int) -> bool:
        """Whether this candidate may be the best one."""
        return not self.ranked or candidate < self.ranked

    def is_shared(self, candidate: int) -> bool:
        """Whether this row has its results from a candidate."""
        return self.shared_with >= 0 and candidate == self.ranked

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions: at least ``parts`` if there are as many candidates, at most four times as many, and one for each block."""
        if not self.blocks:
            return (Region(self.first * self.splits, self.size),)
        return tuple(region for number in range(len(self.blocks)) for region in self._regions_of(number))

    @cached_property
    def starts(self) -> list[int]:
        """The place at which each region starts."""
        return [region.start for region in self.regions]

    def cell(self, place: int) -> Cell:
        """The cell at a place."""
        if not self.blocks:
            return Cell(*divmod(place, self.splits))
        block, region, strip = self._cuts[self._block_at(place)]
        start = block.start * self.splits
        position, within = self._strip_at(place - start, region, strip)
        split, offset = divmod(within, min(strip, self._left_in_region(position, block, region)))
        return Cell(_candidate_at(block, position + offset), split)

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        """The cells at the places from ``start`` to before ``stop``. Faster than ``cell`` of each: a strip at a time."""
        if not self.blocks:
            yield from (Cell(*divmod(place, self.splits)) for place in range(start, stop))
            return
        while start < stop:
            block, region, strip = self._cuts[self._block_at(start)]
            position, within = self._strip_at(start - block.start * self.splits, region, strip)
            length = min(strip, self._left_in_region(position, block, region))
            end = min(stop, start - within + length * self.splits)
            candidates = [_candidate_at(block, position + offset) for offset in range(length)]
            for each in range(within, within + end - start):
                split, offset = divmod(each, length)
                yield Cell(candidates[offset], split)
            start = end

    def place(self, cell: Cell) -> int:
        """The place of a cell."""
        if not self.blocks:
            return cell.candidate * self.splits + cell.split
        number = bisect.bisect_right(self._starts, cell.candidate) - 1
        block, region, strip = self._cuts[number]
        position = _position_of(block, cell.candidate)
        first = position - position % region
        first += (position - first) // strip * strip
        length = min(strip, self._left_in_region(first, block, region))
        return (block.start + first) * self.splits + cell.split * length + position - first

    def strip_end(self, place: int) -> int:
        """The place after the strip that ``place`` is in. No unit reaches beyond it, except in a search that prunes."""
        if not self.blocks:
            return self.size
        if self.prunes:
            return self.regions[bisect.bisect_right(self.starts, place) - 1].stop
        block, region, strip = self._cuts[self._block_at(place)]
        start = block.start * self.splits
        position, _ = self._strip_at(place - start, region, strip)
        return start + (position + min(strip, self._left_in_region(position, block, region))) * self.splits

    def together(self, place: int) -> int:
        """How many neighbours at ``place`` are best kept in one unit; such groups begin at multiples of it within a strip."""
        return _together(self.blocks[self._block_at(place)]) if self.blocks else 1

    def turn(self, place: int, least: int, most: int) -> int:
        """The best place to end a unit, from ``least`` to ``most`` cells after ``place`` and not beyond its strip.

        That is where least is shared: the end of the strip, else of a split's part of it, else of the longest run of candidates.
        Of several such places it is the last one.
        """
        end = self.strip_end(place)
        first, last = place + least, min(place + most, end)
        if not self.blocks or first > last or last == end:
            return last
        block, region, strip = self._cuts[self._block_at(place)]
        start = block.start * self.splits
        if self.prunes:
            position, _ = self._strip_at(last - start, region, strip)
            whole = start + position * self.splits
            return whole if whole >= first else last
        position, _ = self._strip_at(place - start, region, strip)
        length = min(strip, self._left_in_region(position, block, region))
        begin = start + position * self.splits
        for run in (length, *_runs(block)):
            # the places in the strip, on the split of ``last``, at which a run of candidates begins
            part, offset = divmod(last - begin, length)
            found = begin + part * length + (max(0, (position + offset) // run * run - position) if run < length else 0)
            if found >= first:
                return found
        return last

    # --- the cuts

    @cached_property
    def _starts(self) -> list[int]:
        return [block.start for block in self.blocks]

    @cached_property
    def _sizes(self) -> dict[int, int]:
        return {block.start: candidates_in(block) for block in self.blocks}

    @cached_property
    def _cuts(self) -> tuple[tuple[Block, int, int], ...]:
        """How many candidates a region and a strip have, for each block."""
        return tuple((block, *self._cut(block)) for block in self.blocks)

    def _cut(self, block: Block) -> tuple[int, int]:
        size = candidates_in(block)
        parts = max(1, round(self.parts * size / self.candidates))
        region = _aligned(block, max(1, size // parts))
        strip = _together(block) if self.prunes else _aligned(block, min(region, max(1, MAX_UNIT // self.splits)))
        return strip * max(1, region // strip), strip

    def _block_at(self, place: int) -> int:
        return bisect.bisect_right(self._starts, place // self.splits) - 1

    def _strip_at(self, place: int, region: int, strip: int) -> tuple[int, int]:
        """The first candidate of the strip (by its position in the block), and the place within the strip."""
        number, within = divmod(place, region * self.splits)
        strip_number, within = divmod(within, strip * self.splits)
        return number * region + strip_number * strip, within

    def _left_in_region(self, position: int, block: Block, region: int) -> int:
        return min(region - position % region, self._sizes[block.start] - position)

    def _regions_of(self, number: int) -> Iterator[Region]:
        block, region, _ = self._cuts[number]
        for position in range(0, candidates_in(block), region):
            start = block.start + position
            stop = block.start + min(position + region, candidates_in(block))
            yield Region(start * self.splits, stop * self.splits, number, _digits(block, position))


def _aligned(block: Block, at_most: int) -> int:
    """The longest run of at most so many candidates that ends where an axis has turned, and splits no group."""
    run = _together(block)
    for axis in reversed(block.axes):
        if axis.together:
            continue
        if run * axis.size > at_most:
            return run * max(1, at_most // run)
        run *= axis.size
    return run


def _runs(block: Block) -> Iterator[int]:
    """The number of candidates from one turn to the next, for each axis that is not fitted together; the longest run first."""
    run = candidates_in(block)
    for axis in block.axes:
        if axis.together:
            break
        run //= axis.size
        yield run


def _together(block: Block) -> int:
    return math.prod(axis.size for axis in block.axes if axis.together)


def _candidate_at(block: Block, position: int) -> int:
    candidate = block.start
    for axis in reversed(block.axes):
        position, digit = divmod(position, axis.size)
        candidate += digit * axis.stride
    return candidate


def _position_of(block: Block, candidate: int) -> int:
    position = 0
    for axis in block.axes:
        position = position * axis.size + (candidate - block.start) // axis.stride % axis.size
    return position


def _digits(block: Block, position: int) -> tuple[int, ...]:
    digits = []
    for axis in reversed(block.axes):
        position, digit = divmod(position, axis.size)
        digits.append(digit)
    return tuple(reversed(digits))
