"""Elements of an SVG. What is put into one is escaped; colours are classes of the page's style, light and dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup, escape

from tuningjob.report.words import cut

WIDTH: Final = 540.0
_MOST_TICKS: Final = 6


@dataclass(frozen=True)
class FigureTable:
    """The numbers of a figure as a table, for readers who do not see it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure. ``told``: what it shows. ``variants``: a heatmap's pictures to choose from; the first one is shown.

    ``by_hand``: what a reader can do with it if the report's script runs.
    """

    key: str
    title: str
    told: str
    variants: tuple[tuple[str, Markup], ...]
    grid: FigureTable
    wide: bool = False
    by_hand: str = ""


def element(tag: str, *inside: object, **attributes: object) -> Markup:
    """``<tag name="value">inside</tag>``. A name's last underscore is dropped, others are dashes.

    Names are always this package's own. A report has hundreds of elements, and ``Markup.format`` took five times as long.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    end = f">{''.join(map(escape, inside))}</{tag}>" if inside else "/>"
    return Markup(f"<{tag}{named}{end}")  # noqa: S704  what is not our own is escaped


def _number(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def text(x: float, y: float, words: str, *, longest: int = 24, class_: str = "t", anchor: str | None = None) -> Markup:
    """A label, cut to at most ``longest`` letters."""
    return element("text", cut(words, longest), x=x, y=y, class_=class_, text_anchor=anchor)


def drawn(height: float, title: str, parts: Iterable[Markup], *, width: float = WIDTH) -> Markup:
    """The whole picture."""
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        class_="fig",
    )


@dataclass(frozen=True)
class Scale:
    """Maps values to places. If the ends are equal, every value is in the middle."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, at = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        part = 0.5 if high == low else (at - low) / (high - low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last > first:
                every = max(1, (last - first) // _MOST_TICKS + 1)
                return [10.0**power for power in range(first, last + 1, every)]
            return [self.low, self.high]
        if self.high == self.low:
            return [self.low]
        rough = (self.high - self.low) / (_MOST_TICKS - 1)
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough)
        start = math.ceil(self.low / step - 1e-9)
        return [each * step for each in range(start, math.floor(self.high / step + 1e-9) + 1)]


def scale_of(
    values: Sequence[float] | np.ndarray, start: float, end: float, *, log: bool = False, pad: float = 0.04
) -> Scale:
    """A scale over all finite values, with a little room."""
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if log:
        found = found[found > 0]
    if not found.size:
        return Scale(0.0 if not log else 1.0, 1.0 if not log else 10.0, start, end, log)
    low, high = float(found.min()), float(found.max())
    if log:
        room = (high / low) ** pad
        return Scale(low / room, high * room, start, end, log=True)
    room = (high - low) * pad or abs(high) * pad or 1.0
    return Scale(low - room, high + room, start, end)


def tick(value: float) -> str:
    """A number beside an axis."""
    return f"{value:.4g}"


def left_axis(scale: Scale, x: float, right: float) -> list[Markup]:
    """Lines and numbers of a vertical axis."""
    return [
        part
        for value in scale.ticks()
        for part in (
            element("line", x1=x, x2=right, y1=scale(value), y2=scale(value), class_="grid"),
            text(x - 6, scale(value) + 4, tick(value), anchor="end"),
        )
    ]


def bottom_axis(scale: Scale, y: float, top: float, told: str) -> list[Markup]:
    """Lines, numbers and name of a horizontal axis."""
    ticks = [
        part
        for value in scale.ticks()
        for part in (
            element("line", x1=scale(value), x2=scale(value), y1=top, y2=y, class_="grid"),
            text(scale(value), y + 16, tick(value), anchor="middle"),
        )
    ]
    return [*ticks, text((scale.start + scale.end) / 2, y + 34, told, longest=60, class_="t name", anchor="middle")]


def dot(x: float, y: float, class_: str, told: str, radius: float = 3.5) -> Markup:
    """A point that says what it is."""
    return element("circle", element("title", told), cx=x, cy=y, r=radius, class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)
