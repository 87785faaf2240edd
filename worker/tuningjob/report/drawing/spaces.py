"""Figures of the space that was searched: two parameters as a map, and which parameters matter."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from markupsafe import Markup

from tuningjob.report.axes import Facet
from tuningjob.report.drawing.parallel import places_of
from tuningjob.report.drawing.svg import (
    WIDTH,
    Figure,
    FigureTable,
    dot,
    drawn,
    element,
    left_axis,
    path,
    scale_of,
    text,
)  # fmt: skip
from tuningjob.report.importance import Importance
from tuningjob.report.table import Floats, ResultTable
from tuningjob.report.words import assigned, cut, score, share

_SHADES: Final = 9
_MOST_CELLS: Final = 400  # of one map
_MOST_MAPS: Final = 6
_WRITTEN_COLUMNS: Final = 9
_MOST_BARS: Final = 12


def maps(table: ResultTable, importance: Importance | None) -> Figure | None:
    """A map of each pair of parameters in the answer's grid, the most important pair first; a line for one parameter."""
    home = table.home
    if not home.is_full or not home.axes:
        return None
    if len(home.axes) == 1:
        return _line(table, home)
    weight = {effect.names: effect.share for effect in importance.effects} if importance else {}
    pairs = sorted(combinations(range(len(home.axes)), 2), key=lambda pair: -_weight(home, pair, weight))
    variants: list[tuple[str, Markup]] = []
    grid: FigureTable | None = None
    for i, j in pairs[:_MOST_MAPS]:
        # the longer one to the right: pages are wider than cells are high
        down, across = (i, j) if len(home.codes[j]) >= len(home.codes[i]) else (j, i)
        if len(home.codes[down]) * len(home.codes[across]) > _MOST_CELLS:
            continue
        for way in ("highest", "mean") if len(home.axes) > 2 else ("highest",):
            values = _over_others(table, home, (down, across), way)
            rest = f", the {way} score over the rest" if len(home.axes) > 2 else ""
            label = f"{cut(home.axes[down].name, 40)} × {cut(home.axes[across].name, 40)}{rest}"
            variants.append((label, _map(table, home, (down, across), values, title=label, key=way)))
            grid = grid or _cells(home, (down, across), values, table)
    if grid is None:
        return None
    told = "A cell is stronger in colour where the score is higher. The answer has a thick border, what is within one standard "
    told += "error of the highest mean a dashed one; hatched cells failed."
    return Figure("map", "Two parameters as a map", told, tuple(variants), grid)


def _weight(home: Facet, pair: tuple[int, int], weight: dict[tuple[str, ...], float]) -> float:
    one, two = (home.axes[i].name for i in pair)
    return weight.get((one,), 0.0) + weight.get((two,), 0.0) + weight.get((one, two), 0.0)


def _over_others(table: ResultTable, home: Facet, kept: tuple[int, int], way: str) -> Floats:
    assert home.cube is not None  # noqa: S101  checked before
    means = np.moveaxis(table.means[home.cube], kept, (0, 1))
    means = means.reshape(*means.shape[:2], -1)
    known = np.isfinite(means)
    if way == "highest":
        found = np.where(known, means, -np.inf).max(axis=2)
    else:
        found = np.where(known, means, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    return np.where(known.any(axis=2), found, np.nan)


@dataclass(frozen=True)
class _MapFrame:
    """The layout of a map's cells, and the range of scores, ``low`` to ``high``, over which colours get stronger."""

    rows: int
    columns: int
    low: float
    high: float
    left: float = 120.0
    top: float = 14.0
    right: float = WIDTH - 10
    height: float = 30.0

    @property
    def width(self) -> float:
        """The width of a cell."""
        return (self.right - self.left) / self.columns

    @property
    def bottom(self) -> float:
        """The lower edge of all cells."""
        return self.top + self.rows * self.height

    def shade(self, value: float) -> int:
        """The shade of a score; the middle one if all scores are the same."""
        if self.high <= self.low:
            return _SHADES // 2
        return round((value - self.low) / (self.high - self.low) * (_SHADES - 1))


def _map(table: ResultTable, home: Facet, pair: tuple[int, int], values: Floats, *, title: str, key: str) -> Markup:
    down, across = pair
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    rows, columns = values.shape
    frame = _MapFrame(rows, columns, low, high)
    hatch = f"hatch-{down}-{across}-{key}"
    line = element("path", d="M0 6L6 0", class_="hatch")
    parts = [element("defs", element("pattern", line, id=hatch, width=6, height=6, patternUnits="userSpaceOnUse"))]
    best = (home.place(down, table.best), home.place(across, table.best))
    edge = float(table.means[table.near].min()) if table.near.size else np.inf
    for r, c in np.ndindex(values.shape):
        levels = int(home.codes[down][r]), int(home.codes[across][c])
        where = f"{assigned(home.axes[down], levels[0])}, {assigned(home.axes[across], levels[1])}"
        told = score(float(values[r, c]), table.error) if np.isfinite(values[r, c]) else table.no_mean
        parts += _cell(frame, (r, c), float(values[r, c]), told=f"{where}: {told}", error=table.error, hatch=hatch)
        if (r, c) == best or values[r, c] >= edge:
            parts.append(_border(frame, (r, c), "win" if (r, c) == best else "near"))
    return drawn(frame.bottom + 42, title, [*parts, *_map_labels(frame, home, pair)])


def _cell(
    frame: _MapFrame, at: tuple[int, int], value: float, *, told: str, error: float, hatch: str
) -> Iterator[Markup]:
    """A cell in its colour, with its score if there is room; hatched if none of its candidates has a mean."""
    x, y = frame.left + at[1] * frame.width, frame.top + at[0] * frame.height
    known = bool(np.isfinite(value))
    shade = frame.shade(value) if known else 0
    look = {"class_": f"h{shade}"} if known else {"fill": f"url(#{hatch})"}
    yield element(
        "rect", element("title", told), x=x + 1, y=y + 1, width=frame.width - 2, height=frame.height - 2, rx=3, **look
    )
    if known and frame.columns <= _WRITTEN_COLUMNS:
        middle, base = x + frame.width / 2, y + frame.height / 2 + 4
        yield text(middle, base, score(value, error), longest=8, class_=f"t v{shade}", anchor="middle")


def _border(frame: _MapFrame, at: tuple[int, int], class_: str) -> Markup:
    x, y = frame.left + at[1] * frame.width, frame.top + at[0] * frame.height
    return element("rect", x=x + 2, y=y + 2, width=frame.width - 4, height=frame.height - 4, rx=3, class_=class_)


def _map_labels(frame: _MapFrame, home: Facet, pair: tuple[int, int]) -> Iterator[Markup]:
    """The names of the two parameters, and as many of their values as there is room for."""
    down, across = pair
    for r, level in enumerate(home.levels(down)):
        y = frame.top + (r + 0.5) * frame.height + 4
        yield text(frame.left - 8, y, level.python, longest=15, anchor="end")
    every = -(-frame.columns // _WRITTEN_COLUMNS)
    longest = max(3, int(frame.width * every / 7))
    for c in range(0, frame.columns, every):
        x = frame.left + (c + 0.5) * frame.width
        yield text(x, frame.bottom + 16, home.levels(across)[c].python, longest=longest, anchor="middle")
    middle = (frame.left + frame.right) / 2
    yield text(middle, frame.bottom + 34, home.axes[across].name, longest=50, class_="t name", anchor="middle")
    yield text(4, 10, home.axes[down].name, longest=18, class_="t name")


def _cells(home: Facet, pair: tuple[int, int], values: Floats, table: ResultTable) -> FigureTable:
    down, across = pair
    head = (
        f"{cut(home.axes[down].name)} \\ {cut(home.axes[across].name)}",
        *(cut(each.python, 40) for each in home.levels(across)),
    )
    rows = tuple(
        (
            cut(home.levels(down)[r].python, 40),
            *(score(value, table.error) if np.isfinite(value) else table.no_mean for value in row),
        )
        for r, row in enumerate(values)
    )
    return FigureTable(head, rows)


def _line(table: ResultTable, home: Facet) -> Figure:
    """The score along the only parameter."""
    axis, levels = home.axes[0], home.levels(0)
    rows = [int(row) for row in np.asarray(home.cube)]
    errors = np.nan_to_num(table.metric.errors)
    known = [row for row in rows if not table.failed[row]]
    left, right, top, bottom = 64.0, WIDTH - 16, 14.0, 230.0
    y = scale_of([*(table.means[known] - errors[known]), *(table.means[known] + errors[known])], bottom, top)
    places, numbers = places_of(axis, levels, left + 20, right - 20)
    parts = left_axis(y, left, right)
    shown = np.linspace(0, len(rows) - 1, min(len(rows), _WRITTEN_COLUMNS)).astype(int)
    parts += [
        text(places[i], bottom + 16, levels[i].python, longest=12, anchor="middle")
        for i in dict.fromkeys(shown.tolist())
    ]
    parts.append(text((left + right) / 2, bottom + 34, axis.name, longest=50, class_="t name", anchor="middle"))
    if numbers:
        parts.append(
            path([(places[i], y(table.means[row])) for i, row in enumerate(rows) if not table.failed[row]], "line")
        )
    for i, row in enumerate(rows):
        if table.failed[row]:
            parts.append(text(places[i], bottom - 6, "×", class_="t", anchor="middle"))
            continue
        mean, error = float(table.means[row]), float(errors[row])
        parts.append(
            element("line", x1=places[i], x2=places[i], y1=y(mean - error), y2=y(mean + error), class_="whisker")
        )
        label = f"{assigned(axis, int(axis.codes[row]))}: {score(mean, error)}"
        parts.append(
            dot(places[i], y(mean), "dot best" if row == table.best else "dot", label, 6 if row == table.best else 4)
        )
    cells = tuple(
        (
            cut(level.python, 60),
            score(float(table.means[row]), table.error) if not table.failed[row] else table.why_no_mean(row),
            f"{errors[row]:.2g}",
        )
        for level, row in zip(levels, rows, strict=True)
    )
    told = "Mean test score with its standard error. The answer is the large point; × marks what has none."
    title = f"The score along {cut(axis.name, 60)}"
    return Figure(
        "map",
        title,
        told,
        (("", drawn(bottom + 42, title, parts)),),
        FigureTable((cut(axis.name), "mean", "standard error"), cells),
    )


def bars(importance: Importance) -> Figure:
    """Which parameters matter."""
    left, right, height = 190.0, WIDTH - 60, 26.0
    shown = [effect for effect in importance.effects if effect.share > 0.001][:_MOST_BARS]
    rows = [(" × ".join(cut(name, 40) for name in effect.names), effect.share) for effect in shown]
    if importance.rest is not None and importance.rest > 0.001:
        rows.append(("three or more together", importance.rest))
    parts: list[Markup] = []
    for i, (name, part) in enumerate(rows):
        y, long = 8 + i * height, (right - left) * min(part, 1)
        parts += [
            text(left - 8, y + 15, name, longest=26, anchor="end"),
            element(
                "rect", element("title", f"{name}: {share(part, 1)}"),
                x=left, y=y, width=max(2.0, long), height=height - 8, rx=3, class_="bar",
            ),
            text(left + long + 6, y + 15, share(part, 1)),
        ]  # fmt: skip
    title = "Which parameters matter"
    grid = FigureTable(("parameter", "share"), tuple((name, share(part, 1)) for name, part in rows))
    return Figure("importance", title, importance.method, (("", drawn(12 + len(rows) * height, title, parts)),), grid)
