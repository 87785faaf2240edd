"""The figure of a nested search: the score of each outer fold's choice on rows that it had not seen."""

import math
from typing import Final

from tuningjob.report.drawing.svg import (
    WIDTH,
    Figure,
    FigureTable,
    bottom_axis,
    dot,
    drawn,
    element,
    scale_of,
    text,
)  # fmt: skip
from tuningjob.report.table import ResultTable
from tuningjob.report.words import score

_MOST_FOLDS: Final = 40
_LEFT: Final = 84.0
_TOP: Final = 34.0
_HEIGHT: Final = 20.0


def outer_of(table: ResultTable) -> Figure | None:
    """Each outer fold's score, their mean, and the score of the answer, which was chosen by the splits it is measured on.

    None if a fold's choice failed.
    """
    outer = table.origin.outer
    if outer is None or not math.isfinite(outer.mean):
        return None
    shown = outer.scores[:_MOST_FOLDS]
    best = float(table.means[table.best])
    right, bottom = WIDTH - 14, _TOP + 8 + _HEIGHT * len(shown)
    x = scale_of([*shown, outer.mean, *([best] if math.isfinite(best) else [])], _LEFT, right)
    parts = bottom_axis(x, bottom, _TOP, table.metric.told)
    for i, value in enumerate(shown):
        y = _TOP + 14 + i * _HEIGHT
        parts.append(text(_LEFT - 8, y + 4, f"fold {i}", anchor="end"))
        parts.append(dot(x(value), y, "dot on-front", f"outer fold {i}: {score(value)}", 4))
    # one above the other, because they may be close
    for value, told, class_, y in ((outer.mean, "mean", "axis", 26.0), (best, "the answer", "limit", 12.0)):
        if math.isfinite(value):
            anchor = "end" if x(value) > right - 70 else "start"
            at = x(value) + (-4 if anchor == "end" else 4)
            parts.append(element("line", x1=x(value), x2=x(value), y1=y - 8, y2=bottom, class_=class_))
            parts.append(text(at, y, told, class_="t halo", anchor=anchor))
    more = "" if len(shown) == len(outer.scores) else f" The first {len(shown)} of {len(outer.scores)} are drawn."
    told = (
        "The choice of each outer fold, scored on rows that it had not seen. Their mean is what to expect; the answer's own "
        f"score is of the splits that it was chosen by.{more}"
    )
    rows = (*((f"{i}", score(value)) for i, value in enumerate(outer.scores)), ("mean", score(outer.mean)))
    title = "Outer folds"
    return Figure(
        "outer",
        title,
        told,
        (("", drawn(bottom + 42, title, parts)),),
        FigureTable(("outer fold", table.metric.told), rows),
    )
