"""The figure of a search that goes by rounds: what each round tried, and how good its best was."""

from typing import Final

import numpy as np

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
from tuningjob.report.table import ResultTable
from tuningjob.report.words import cut, params_in_words, score

_MOST_DOTS: Final = 300  # of one round, the best ones
_LEFT: Final = 64.0
_TOP: Final = 24.0
_BOTTOM: Final = 250.0


def rounds_of(table: ResultTable) -> Figure | None:
    """Each candidate by its round; a line joins the best ones. None for a search without rounds."""
    if table.rounds is None or np.unique(table.rounds[~table.failed]).size < 2:
        return None
    numbers = np.unique(table.rounds).tolist()
    y = scale_of(table.means, _BOTTOM, _TOP)
    step = (WIDTH - 14 - _LEFT) / len(numbers)
    parts = left_axis(y, _LEFT, WIDTH - 14)
    best: list[tuple[float, float]] = []
    rows: list[tuple[str, ...]] = []
    for i, number in enumerate(numbers):
        x = _LEFT + (i + 0.5) * step
        within = np.flatnonzero(table.rounds == number)
        known = within[~table.failed[within]]
        order = known[np.argsort(-table.means[known], kind="stable")]
        resources = "" if table.resources is None else f" of {int(table.resources[within[0]]):,}"
        parts.append(text(x, _BOTTOM + 18, f"round {number}{resources}", anchor="middle"))
        parts += [
            dot(x, y(float(table.means[row])), "dot", cut(f"candidate {row}: {params_in_words(table, row)}", 300))
            for row in order[:_MOST_DOTS].tolist()
        ]
        top = "" if not order.size else score(float(table.means[order[0]]), table.error)
        if order.size:
            best.append((x, y(float(table.means[order[0]]))))
        rows.append(
            (f"{number}", f"{within.size:,}", resources.removeprefix(" of "), f"{order[0]}" if order.size else "", top)
        )
    parts.append(path(best, "front"))
    if table.best < table.size and not table.failed[table.best]:
        x = _LEFT + (numbers.index(int(table.rounds[table.best])) + 0.5) * step
        parts.append(dot(x, y(float(table.means[table.best])), "dot best", f"the answer, candidate {table.best}", 6))
    parts.append(text(4, 13, table.metric.told, longest=60, class_="t name"))
    parts.append(element("line", x1=_LEFT, x2=WIDTH - 14, y1=_BOTTOM, y2=_BOTTOM, class_="grid"))
    halved = "Each round has fewer candidates and more of the resource: scores of two rounds are not to be compared."
    finer = "Each round tries values nearer to the best before it."
    told = f"{finer if table.resources is None else halved} The line joins the best of each; the answer is the large point."
    title = "Rounds"
    return Figure(
        "rounds",
        title,
        told,
        (("", drawn(_BOTTOM + 30, title, parts)),),
        FigureTable(("round", "candidates", "resource", "best candidate", "its mean"), tuple(rows)),
    )
