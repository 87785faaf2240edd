"""How the cells of a search are cut into units. Pure.

Cells are numbered candidate by candidate (ordinal = candidate × splits + split), so that the first answers come early and a
unit's candidates are neighbours in the grid. Units are made when they are claimed: a million candidates are no rows.
"""

import math
from typing import Final

from tuningjob.journal.records import Cell

MAX_UNIT: Final = 2_048


def unit_size(remaining: int, *, pods: int, slots: int) -> int:
    """Cells in the next unit, guided: half of an even share of what remains, never less than the claimant's slots.

    One pod alone takes all it can: the more it has, the more its fits can share. Large at first (few claims), small at the
    tail (short wait for the last one): guided self-scheduling, Polychronopoulos and Kuck, IEEE Trans. Computers C-36 (1987).
    """
    guided = remaining if pods == 1 else math.ceil(remaining / (2 * pods))
    return min(remaining, MAX_UNIT, max(slots, guided))


def cell_at(ordinal: int, splits: int) -> Cell:
    """The cell of an ordinal."""
    candidate, split = divmod(ordinal, splits)
    return Cell(candidate, split)


def ordinal_of(cell: Cell, splits: int) -> int:
    """The ordinal of a cell."""
    return cell.candidate * splits + cell.split
