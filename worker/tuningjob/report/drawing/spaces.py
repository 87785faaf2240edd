"""Figures of the space that was searched: two parameters as a map, all of them side by side, and which of them matter."""

from itertools import combinations
from typing import Final

import numpy as np
from markupsafe import Markup

from tuningjob.report.axes import Facet, ParameterAxis
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
from tuningjob.report.spelling import Spelled
from tuningjob.report.table import Floats, ResultTable
from tuningjob.report.words import assigned, cut, params_in_words, score, share

_SHADES: Final = 9
_MOST_CELLS: Final = 400  # of one map
_MOST_MAPS: Final = 6
_WRITTEN_COLUMNS: Final = 9
_MOST_LINES: Final = 600
_MOST_BARS: Final = 12


def maps(table: ResultTable, importance: Importance | None) -> Figure | None:
    """Each pair of parameters of the answer's grid, the pair that matters most first; of one parameter a line."""
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
    assert home.cube is not None  # noqa: S101  asked before
    means = np.moveaxis(table.means[home.cube], kept, (0, 1))
    means = means.reshape(*means.shape[:2], -1)
    known = np.isfinite(means)
    if way == "highest":
        found = np.where(known, means, -np.inf).max(axis=2)
    else:
        found = np.where(known, means, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    return np.where(known.any(axis=2), found, np.nan)


def _map(table: ResultTable, home: Facet, pair: tuple[int, int], values: Floats, *, title: str, key: str) -> Markup:
    down, across = pair
    rows, columns = values.shape
    left, top, right = 120.0, 14.0, WIDTH - 10
    width, height = (right - left) / columns, 30.0
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    best = (home.place(down, table.best), home.place(across, table.best))
    edge = float(table.means[table.near].min()) if table.near.size else np.inf
    hatch = f"hatch-{down}-{across}-{key}"
    parts = [
        element(
            "defs",
            element(
                "pattern",
                element("path", d="M0 6L6 0", class_="hatch"),
                id=hatch, width=6, height=6, patternUnits="userSpaceOnUse",
            ),
        )
    ]  # fmt: skip
    for r in range(rows):
        y = top + r * height
        parts.append(text(left - 8, y + height / 2 + 4, home.levels(down)[r].python, longest=15, anchor="end"))
        for c in range(columns):
            x, value = left + c * width, values[r, c]
            where = f"{assigned(home.axes[down], home.codes[down][r])}, {assigned(home.axes[across], home.codes[across][c])}"
            known = bool(np.isfinite(value))
            shade = round((value - low) / (high - low) * (_SHADES - 1)) if known and high > low else _SHADES // 2
            parts.append(
                element(
                    "rect",
                    element("title", f"{where}: {score(value, table.error) if known else 'failed'}"),
                    x=x + 1, y=y + 1, width=width - 2, height=height - 2, rx=3,
                    class_=f"h{shade}" if known else None, fill=None if known else f"url(#{hatch})",
                )
            )  # fmt: skip
            if known and columns <= _WRITTEN_COLUMNS:
                parts.append(
                    text(
                        x + width / 2,
                        y + height / 2 + 4,
                        score(value, table.error),
                        longest=8,
                        class_=f"t v{shade}",
                        anchor="middle",
                    )
                )
            if (r, c) == best:
                parts.append(element("rect", x=x + 2, y=y + 2, width=width - 4, height=height - 4, rx=3, class_="win"))
            elif known and value >= edge:
                parts.append(element("rect", x=x + 2, y=y + 2, width=width - 4, height=height - 4, rx=3, class_="near"))
    bottom = top + rows * height
    every = -(-columns // _WRITTEN_COLUMNS)
    for c in range(0, columns, every):
        longest = max(3, int(width * every / 7))
        parts.append(
            text(left + (c + 0.5) * width, bottom + 16, home.levels(across)[c].python, longest=longest, anchor="middle")
        )
    parts.append(
        text((left + right) / 2, bottom + 34, home.axes[across].name, longest=50, class_="t name", anchor="middle")
    )
    parts.append(text(4, 10, home.axes[down].name, longest=18, class_="t name"))
    return drawn(bottom + 42, title, parts)


def _cells(home: Facet, pair: tuple[int, int], values: Floats, table: ResultTable) -> FigureTable:
    down, across = pair
    head = (
        f"{cut(home.axes[down].name)} \\ {cut(home.axes[across].name)}",
        *(cut(each.python, 40) for each in home.levels(across)),
    )
    rows = tuple(
        (
            cut(home.levels(down)[r].python, 40),
            *(score(value, table.error) if np.isfinite(value) else "failed" for value in row),
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
    places, numbers = _places(axis, levels, left + 20, right - 20)
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
            score(float(table.means[row]), table.error) if not table.failed[row] else "failed",
            f"{errors[row]:.2g}",
        )
        for level, row in zip(levels, rows, strict=True)
    )
    told = "Mean test score with its standard error. The answer is the large point; × marks what failed."
    title = f"The score along {cut(axis.name, 60)}"
    return Figure(
        "map",
        title,
        told,
        (("", drawn(bottom + 42, title, parts)),),
        FigureTable((cut(axis.name), "mean", "standard error"), cells),
    )


def _places(axis: ParameterAxis, levels: list[Spelled], start: float, end: float) -> tuple[list[float], bool]:
    """Where values stand: numbers by their size, unless None is among them, or words, which stand in a row."""
    numbers = [level.number for level in levels]
    known = [number for number in numbers if number is not None]
    if len(known) == len(levels) and len(known) > 1:
        scale = scale_of(known, start, end, log=axis.is_log, pad=0.0)
        return [scale(number) for number in known], True
    step = (end - start) / max(len(levels) - 1, 1)
    return [start + i * step if len(levels) > 1 else (start + end) / 2 for i in range(len(levels))], False


def parallel(table: ResultTable) -> Figure | None:
    """A line a candidate, through its value of each parameter to its score."""
    axes = [axis for axis in table.axes if len(axis.levels) > 1]
    known = np.flatnonzero(~table.failed)
    if len(axes) < 2 or known.size < 2 or len(axes) > 12:
        return None
    order = known[np.argsort(-table.means[known], kind="stable")]
    chosen = order
    if order.size > _MOST_LINES:
        rest = np.random.default_rng(0).choice(order[_MOST_LINES // 2 :], _MOST_LINES // 2, replace=False)
        chosen = np.concatenate([order[: _MOST_LINES // 2], np.sort(rest)])
    top, bottom = 30.0, 290.0
    width = max(1080.0, 130.0 * (len(axes) + 1))
    xs = np.linspace(70, width - 70, len(axes) + 1)
    y = scale_of(table.means[chosen], bottom, top)
    columns = []
    for axis in axes:
        places, _ = _places(axis, list(axis.levels), bottom, top)
        columns.append(np.asarray([*places, bottom + 14]))  # the last one: not set
    parts: list[Markup] = []
    low, high = float(table.means[chosen].min()), float(table.means[chosen].max())
    near = set(table.near.tolist())
    for row in [*reversed(chosen.tolist()), *([table.best] if table.best in chosen else [])]:
        mean = float(table.means[row])
        shade = round((mean - low) / (high - low) * (_SHADES - 1)) if high > low else _SHADES // 2
        points = [
            (float(x), float(column[axis.codes[row]])) for x, column, axis in zip(xs, columns, axes, strict=False)
        ]
        kind = "pc win" if row == table.best else "pc near" if row in near else "pc"
        parts.append(
            element(
                "polyline",
                points=" ".join(f"{x:.0f},{at:.0f}" for x, at in [*points, (float(xs[-1]), y(mean))]),
                class_=f"{kind} s{shade}",
                data_row=row,
            )
        )
    for i, (x, axis) in enumerate(zip(xs, axes, strict=False)):
        shown = dict.fromkeys(np.linspace(0, len(axis.levels) - 1, min(len(axis.levels), 8)).astype(int).tolist())
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="axis"))
        parts.append(text(float(x), 16, axis.name, longest=18, class_="t name", anchor="middle"))
        parts += [
            text(float(x) + 6, columns[i][code] + 4, axis.levels[code].python, longest=14, class_="t halo")
            for code in shown
        ]
        parts.append(
            element("rect", x=float(x) - 14, y=top - 4, width=28, height=bottom - top + 22, class_="brush", data_axis=i)
        )
    parts.append(element("line", x1=xs[-1], x2=xs[-1], y1=top, y2=bottom, class_="axis"))
    parts.append(text(float(xs[-1]), 16, table.metric.told, longest=18, class_="t name", anchor="middle"))
    parts += [text(float(xs[-1]) + 6, y(value) + 4, f"{value:.4g}", class_="t halo") for value in y.ticks()]
    parts.append(
        element(
            "rect",
            x=float(xs[-1]) - 14,
            y=top - 4,
            width=28,
            height=bottom - top + 8,
            class_="brush",
            data_axis=len(axes),
        )
    )
    some = "" if chosen.size == order.size else f" {chosen.size:,} of {order.size:,} are drawn: the best and a sample."
    told = f"A line is a candidate; the answer is the thick one, and stronger lines score higher.{some} Drag along an axis to "
    told += "choose lines; a click on it chooses all again. The table of candidates follows."
    rows = tuple(
        (str(row), params_in_words(table, row), score(float(table.means[row]), table.error))
        for row in order[:20].tolist()
    )
    picture = drawn(bottom + 26, "Every candidate through its parameters", parts, width=width)
    return Figure(
        "parallel",
        "All parameters side by side",
        told,
        (("", picture),),
        FigureTable(("candidate", "parameters", "mean"), rows),
        wide=True,
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
