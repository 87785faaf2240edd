"""Two parameters of a grid as a map while it is searched: what is in by now, what failed, and what is still to come.

It is plain Python, because the control plane has no numpy. A cell has the highest mean over all other parameters.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from markupsafe import Markup

from tuningjob.aliases import Json
from tuningjob.live.svg import END, MIDDLE, WIDTH, LiveFigure, clipped, label, picture
from tuningjob.manifest.grid import Grid, SubGrid
from tuningjob.manifest.ranges import count_values, value_at
from tuningjob.manifest.spelling import to_json

# No map is drawn of a larger grid while it is searched.
MOST_CANDIDATES: Final = 5_000
_MOST_CELLS: Final = 400
_SHADES: Final = 9
_WRITTEN_COLUMNS: Final = 14
_LEFT: Final = 190.0
_TOP: Final = 24.0
_HEIGHT: Final = 30.0
_HATCH: Final = Markup(
    '<defs><pattern id="hatch-live" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<path class="hatch" d="M0 6L6 0"/></pattern></defs>'
)
_CELL: Final = Markup('<rect{} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3"><title>{}</title></rect>')
_BORDER: Final = Markup('<rect class="win" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3"/>')

FAILED: Final = "failed"
FAILED_OR_PRUNED: Final = "failed or were pruned"

Means = Mapping[int, float | None]


@dataclass(frozen=True)
class MapAxis:
    """A parameter, and its values in words."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class MapCell:
    """The candidates with one value of each of the two: their highest mean so far, how many are in, and how many there are."""

    mean: float | None
    done: int
    of: int

    def __str__(self) -> str:
        return self.told(FAILED)

    def told(self, lacking: str) -> str:
        """The cell in words; ``lacking`` if candidates are in and none of them has a mean."""
        some = "" if self.done == self.of else f" ({self.done:,} of {self.of:,} in)"
        if self.mean is not None:
            return f"{self.mean:.4g}{some}"
        return f"{lacking}{some}" if self.done else "still to come"


@dataclass(frozen=True)
class MapSoFar:
    """The map: ``cells`` has a row for each value of ``down`` (one row if there is no such parameter).

    ``lacking``: why candidates that are in have no mean.
    """

    down: MapAxis | None
    across: MapAxis
    cells: tuple[tuple[MapCell, ...], ...]
    lacking: str = FAILED


def map_so_far(grid: Grid, means: Means) -> MapSoFar | None:
    """The map of the two parameters along which the means change most, in the part of the grid that has the best so far.

    ``means``: the mean of each candidate that is in, None if it failed. Returns None if no candidate has a mean, or if no
    parameter has more than one value and few enough for a map.
    """
    known = {number: mean for number, mean in means.items() if number < grid.size and mean is not None}
    if not known or grid.size > MOST_CANDIDATES:
        return None
    start, part = _part_of(grid, max(known, key=lambda number: (known[number], -number)))
    within = {number - start: mean for number, mean in means.items() if 0 <= number - start < part.size}
    places = {number: _places(part, number) for number in within}
    sizes = [count_values(values) for values in part.values]
    axes = [i for i, size in enumerate(sizes) if 1 < size <= _MOST_CELLS]
    if not axes:
        return None
    spreads = {i: _spread(within, places, i) for i in axes}
    pairs = [pair for pair in combinations(axes, 2) if sizes[pair[0]] * sizes[pair[1]] <= _MOST_CELLS]
    if not pairs:
        across = max(axes, key=lambda i: spreads[i])
        return MapSoFar(None, _axis(part, across), _cells(part, within, places, None, across))
    one, two = max(pairs, key=lambda pair: spreads[pair[0]] + spreads[pair[1]])
    # the longer one to the right: pages are wider than cells are high
    down, across = (one, two) if sizes[two] >= sizes[one] else (two, one)
    return MapSoFar(_axis(part, down), _axis(part, across), _cells(part, within, places, down, across))


def _part_of(grid: Grid, candidate: int) -> tuple[int, SubGrid]:
    start = 0
    for part in grid.subgrids:
        if candidate < start + part.size:
            return start, part
        start += part.size
    raise IndexError(candidate)


def _places(part: SubGrid, number: int) -> tuple[int, ...]:
    """The position of the candidate's value of each parameter: the last parameter turns fastest."""
    found: list[int] = []
    for values in reversed(part.values):
        number, place = divmod(number, count_values(values))
        found.append(place)
    return tuple(reversed(found))


def _spread(within: Means, places: Mapping[int, tuple[int, ...]], axis: int) -> float:
    """How far the average means of a parameter's values are apart."""
    by_value: dict[int, list[float]] = {}
    for number, mean in within.items():
        if mean is not None:
            by_value.setdefault(places[number][axis], []).append(mean)
    averages = [math.fsum(each) / len(each) for each in by_value.values()]
    return max(averages) - min(averages)


def _axis(part: SubGrid, axis: int) -> MapAxis:
    values = part.values[axis]
    return MapAxis(part.names[axis], tuple(_shown(to_json(value_at(values, i))) for i in range(count_values(values))))


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(None if value == {"none": True} else value)


def _cells(
    part: SubGrid, within: Means, places: Mapping[int, tuple[int, ...]], down: int | None, across: int
) -> tuple[tuple[MapCell, ...], ...]:
    found: dict[tuple[int, int], list[float | None]] = {}
    for number, mean in within.items():
        place = places[number]
        found.setdefault((0 if down is None else place[down], place[across]), []).append(mean)
    columns = count_values(part.values[across])
    rows = 1 if down is None else count_values(part.values[down])
    of = part.size // (columns * rows)
    return tuple(tuple(_cell(found.get((r, c), []), of) for c in range(columns)) for r in range(rows))


def _cell(means: list[float | None], of: int) -> MapCell:
    return MapCell(max((mean for mean in means if mean is not None), default=None), len(means), of)


def map_figure(found: MapSoFar) -> LiveFigure:
    """The map as a figure: a cell is stronger if its mean is higher, hatched if all failed, dashed if nothing is in."""
    rows, columns = len(found.cells), len(found.across.values)
    width = (WIDTH - 10 - _LEFT) / columns
    bottom = _TOP + rows * _HEIGHT
    known = [cell.mean for row in found.cells for cell in row if cell.mean is not None]
    low, high = min(known), max(known)
    parts = [_HATCH]
    for r, row in enumerate(found.cells):
        y = _TOP + r * _HEIGHT
        if found.down is not None:
            parts.append(label(_LEFT - 8, y + 20, clipped(found.down.values[r], 22), anchor=END))
        for c, cell in enumerate(row):
            shade = _shade(cell.mean, low, high)
            parts.append(_drawn(cell, shade, (_LEFT + c * width, y), width, _told(found, r, c)))
            if cell.mean == high and high > low:
                parts.append(_BORDER.format(_LEFT + c * width + 2, y + 2, width - 4, _HEIGHT - 4))
            if columns <= _WRITTEN_COLUMNS:
                parts.append(_written(cell, shade, _LEFT + (c + 0.5) * width, y + 20))
    every = -(-columns // _WRITTEN_COLUMNS)
    longest = max(3, int(width * every / 8))
    parts += [
        label(_LEFT + (c + 0.5) * width, bottom + 18, clipped(found.across.values[c], longest), anchor=MIDDLE)
        for c in range(0, columns, every)
    ]
    parts.append(label((_LEFT + WIDTH) / 2, bottom + 40, clipped(found.across.name, 60), anchor=MIDDLE, kind="t name"))
    if found.down is not None:
        parts.append(label(4, 14, clipped(found.down.name, 40), kind="t name"))
    names = " and ".join(axis.name for axis in (found.down, found.across) if axis is not None)
    return LiveFigure(
        "map",
        "Two parameters as a map" if found.down else "One parameter as a map",
        "The highest mean over all other parameters, of the candidates that are in. A cell is stronger in colour where it is "
        f"higher; the highest has a thick border, hatched cells {found.lacking}, and dashed ones are still to come.",
        picture(bottom + 48, f"The highest mean so far by {clipped(names, 120)}", Markup().join(parts)),
        (f"{found.down.name} \\ {found.across.name}" if found.down else found.across.name, *found.across.values),
        tuple(
            (found.down.values[r] if found.down else "highest mean", *(cell.told(found.lacking) for cell in row))
            for r, row in enumerate(found.cells)
        ),
    )


def _shade(mean: float | None, low: float, high: float) -> int | None:
    if mean is None:
        return None
    return round((mean - low) / (high - low) * (_SHADES - 1)) if high > low else _SHADES // 2


def _told(found: MapSoFar, r: int, c: int) -> str:
    down = "" if found.down is None else f"{clipped(found.down.name, 80)}={clipped(found.down.values[r], 80)}, "
    across = f"{clipped(found.across.name, 80)}={clipped(found.across.values[c], 80)}"
    return f"{down}{across}: {found.cells[r][c].told(found.lacking)}"


def _drawn(cell: MapCell, shade: int | None, place: tuple[float, float], width: float, told: str) -> Markup:
    hatched = Markup(' fill="url(#hatch-live)"') if cell.done else Markup(' class="todo"')
    look = hatched if shade is None else Markup(' class="h{}"').format(shade)
    x, y = place
    return _CELL.format(look, x + 1, y + 1, width - 2, _HEIGHT - 2, told)


def _written(cell: MapCell, shade: int | None, x: float, y: float) -> Markup:
    if cell.mean is not None:
        return label(x, y, f"{cell.mean:.4g}", anchor=MIDDLE, kind=f"t v{shade}")
    return Markup() if cell.done else label(x, y, "…", anchor=MIDDLE)
