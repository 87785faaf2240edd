"""All parameters side by side: a line for each candidate, through its value of each parameter to its score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from tuningjob.report.axes import ParameterAxis
from tuningjob.report.drawing.svg import Figure, FigureTable, Scale, drawn, element, scale_of, text
from tuningjob.report.spelling import Spelled
from tuningjob.report.table import Floats, Ints, ResultTable
from tuningjob.report.words import params_in_words, score

_MOST_LINES: Final = 600
_MOST_AXES: Final = 12
_MOST_LABELS: Final = 8
_MOST_ROWS: Final = 20
_SHADES: Final = 9
_TOP: Final = 30.0
_BOTTOM: Final = 290.0


@dataclass(frozen=True, eq=False)
class _Frame:
    """The layout: each axis is at its ``xs``, with its values at ``columns``; the scores are at the last of ``xs``, by ``y``."""

    axes: tuple[ParameterAxis, ...]
    xs: tuple[float, ...]
    columns: tuple[Floats, ...]
    y: Scale
    width: float


def parallel(table: ResultTable) -> Figure | None:
    """The figure; None for fewer than two parameters, for too many, or for fewer than two candidates with a score."""
    axes = tuple(axis for axis in table.axes if len(axis.levels) > 1)
    known = np.flatnonzero(~table.failed)
    if not 2 <= len(axes) <= _MOST_AXES or known.size < 2:
        return None
    order = known[np.argsort(-table.means[known], kind="stable")]
    chosen = _best_and_some(order)
    frame = _frame(table, axes, chosen)
    parts = [*_lines(table, frame, chosen), *_axes(frame), *_scores(table, frame)]
    some = "" if chosen.size == order.size else f" {chosen.size:,} of {order.size:,} are drawn: the best and a sample."
    told = f"A line is a candidate; the answer is the thick one, and stronger lines score higher.{some}"
    rows = tuple(
        (str(row), params_in_words(table, row), score(float(table.means[row]), table.error))
        for row in order[:_MOST_ROWS].tolist()
    )
    return Figure(
        "parallel",
        "All parameters side by side",
        told,
        (("", drawn(_BOTTOM + 26, "Every candidate through its parameters", parts, width=frame.width)),),
        FigureTable(("candidate", "parameters", "mean"), rows),
        wide=True,
        by_hand="Drag along an axis to choose lines; a click on it chooses all again. The table of candidates follows.",
    )


def places_of(axis: ParameterAxis, levels: Sequence[Spelled], start: float, end: float) -> tuple[list[float], bool]:
    """The places of values, and whether these are to scale: those of numbers are, unless None is among them."""
    numbers = [level.number for level in levels]
    known = [number for number in numbers if number is not None]
    if len(known) == len(levels) and len(known) > 1:
        scale = scale_of(known, start, end, log=axis.is_log, pad=0.0)
        return [scale(number) for number in known], True
    step = (end - start) / max(len(levels) - 1, 1)
    return [start + i * step if len(levels) > 1 else (start + end) / 2 for i in range(len(levels))], False


def _best_and_some(order: Ints) -> Ints:
    """All candidates, or the best and a sample of the others if there are too many; the best first."""
    if order.size <= _MOST_LINES:
        return order
    half = _MOST_LINES // 2
    rest = np.random.default_rng(0).choice(order[half:], half, replace=False)
    return np.concatenate([order[:half], np.sort(rest)])


def _frame(table: ResultTable, axes: tuple[ParameterAxis, ...], chosen: Ints) -> _Frame:
    width = max(1080.0, 130.0 * (len(axes) + 1))
    # a candidate that does not set a parameter passes below its last value
    columns = [np.asarray([*places_of(axis, axis.levels, _BOTTOM, _TOP)[0], _BOTTOM + 14]) for axis in axes]
    xs = tuple(np.linspace(70, width - 70, len(axes) + 1).tolist())
    return _Frame(axes, xs, tuple(columns), scale_of(table.means[chosen], _BOTTOM, _TOP), width)


def _lines(table: ResultTable, frame: _Frame, chosen: Ints) -> list[Markup]:
    """The lines, the worst first, so that better ones lie above; the answer lies above all."""
    low, high = float(table.means[chosen].min()), float(table.means[chosen].max())
    near = set(table.near.tolist())
    lines: list[Markup] = []
    for row in [*reversed(chosen.tolist()), *([table.best] if table.best in chosen else [])]:
        mean = float(table.means[row])
        shade = round((mean - low) / (high - low) * (_SHADES - 1)) if high > low else _SHADES // 2
        ys = [float(column[axis.codes[row]]) for column, axis in zip(frame.columns, frame.axes, strict=True)]
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(frame.xs, [*ys, frame.y(mean)], strict=True))
        kind = "pc win" if row == table.best else "pc near" if row in near else "pc"
        lines.append(element("polyline", points=points, class_=f"{kind} s{shade}", data_row=row))
    return lines


def _axes(frame: _Frame) -> list[Markup]:
    """Each parameter: its line, its name, some of its values, and the area to drag over to choose lines."""
    parts: list[Markup] = []
    for i, (x, axis, column) in enumerate(zip(frame.xs, frame.axes, frame.columns, strict=False)):
        labels = min(len(axis.levels), _MOST_LABELS)
        shown = dict.fromkeys(np.linspace(0, len(axis.levels) - 1, labels).astype(int).tolist())
        parts += _axis(x, axis.name)
        parts += [
            text(x + 6, column[code] + 4, axis.levels[code].python, longest=14, class_="t halo") for code in shown
        ]
        parts.append(_brush(x, i, _BOTTOM - _TOP + 22))
    return parts


def _scores(table: ResultTable, frame: _Frame) -> list[Markup]:
    """The last axis, which has the scores."""
    x = frame.xs[-1]
    labels = [text(x + 6, frame.y(value) + 4, f"{value:.4g}", class_="t halo") for value in frame.y.ticks()]
    return [*_axis(x, table.metric.told), *labels, _brush(x, len(frame.axes), _BOTTOM - _TOP + 8)]


def _axis(x: float, name: str) -> tuple[Markup, Markup]:
    line = element("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="axis")
    return line, text(x, 16, name, longest=18, class_="t name", anchor="middle")


def _brush(x: float, number: int, height: float) -> Markup:
    return element("rect", x=x - 14, y=_TOP - 4, width=28, height=height, class_="brush", data_axis=number)
