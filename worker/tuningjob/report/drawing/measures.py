"""Figures of what was measured: score against time, the splits of the best, train against test, metrics against each other."""

from typing import Final

import numpy as np

from tuningjob.report.drawing.svg import (
    WIDTH,
    Figure,
    FigureTable,
    bottom_axis,
    dot,
    drawn,
    element,
    left_axis,
    path,
    scale_of,
    text,
)  # fmt: skip
from tuningjob.report.table import Floats, Ints, ResultTable
from tuningjob.report.words import cut, duration, params_in_words, score

_MOST_DOTS: Final = 1_500
_MOST_ROWS: Final = 20
_MOST_METRICS: Final = 3
_LEFT: Final = 64.0
_RIGHT: Final = WIDTH - 14
_TOP: Final = 24.0
_BOTTOM: Final = 250.0


def cost(table: ResultTable) -> Figure | None:
    """Score against time; the front has the candidates to which no other is both better and as fast."""
    times = table.fit_seconds + np.nan_to_num(table.score_seconds)
    known = np.flatnonzero(~table.failed & np.isfinite(times))
    if known.size < 2:
        return None
    shown, some = _some(table, known)
    log = bool((times[shown] > 0).all() and times[shown].max() > 10 * times[shown].min())
    x, y = scale_of(times[shown], _LEFT, _RIGHT, log=log), scale_of(table.means[shown], _BOTTOM, _TOP)
    front = _front(times, table.means, known)
    parts = [*left_axis(y, _LEFT, _RIGHT), *bottom_axis(x, _BOTTOM, _TOP, "seconds of a fit and its scoring")]
    top = table.metric.top
    if top is not None and np.isfinite(table.error) and table.error > 0:
        at = y(max(float(table.means[top]) - table.error, y.low))
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=at, y2=at, class_="limit"))
        parts.append(
            text(
                _RIGHT,
                at - 5 if at > _TOP + 20 else at + 14,
                "one standard error",
                class_="t limit-t halo",
                anchor="end",
            )
        )
    parts.append(text(4, 13, table.metric.told, longest=60, class_="t name"))
    parts.append(path([(x(times[row]), y(table.means[row])) for row in front], "front"))
    ordered = sorted(shown.tolist(), key=lambda row: row == table.best)
    for row in ordered:
        told = f"{score(float(table.means[row]), table.error)} in {duration(float(times[row]))}"
        label = f"candidate {row}: {told}; {params_in_words(table, row)}"
        kind = "dot best" if row == table.best else "dot on-front" if row in set(front) else "dot"
        parts.append(dot(x(times[row]), y(table.means[row]), kind, cut(label, 300), 6 if row == table.best else 3.5))
    rows = tuple(
        (
            str(row),
            params_in_words(table, row),
            score(float(table.means[row]), table.error),
            duration(float(times[row])),
        )
        for row in front
    )
    told = f"The line joins the candidates that nothing else is both better and faster than; the answer is the large point.{some}"
    title = "Score against time"
    return Figure(
        "cost",
        title,
        told,
        (("", drawn(_BOTTOM + 42, title, parts)),),
        FigureTable(("candidate", "parameters", "mean", "time"), rows),
    )


def _some(table: ResultTable, known: Ints) -> tuple[Ints, str]:
    """The best candidates and a sample of the others, if there are too many to be seen."""
    if known.size <= _MOST_DOTS:
        return known, ""
    order = known[np.argsort(-table.means[known], kind="stable")]
    half = _MOST_DOTS // 2
    rest = np.random.default_rng(0).choice(order[half:], half, replace=False)
    chosen = np.union1d(np.concatenate([order[:half], rest]), [table.best] if not table.failed[table.best] else [])
    return chosen.astype(np.intp), f" {chosen.size:,} of {known.size:,} candidates are drawn: the best and a sample."


def _front(times: Floats, means: Floats, known: Ints) -> list[int]:
    front: list[int] = []
    highest = -np.inf
    for row in known[np.lexsort((-means[known], times[known]))].tolist():
        if means[row] > highest:
            front.append(row)
            highest = float(means[row])
    return front


def folds(table: ResultTable) -> Figure | None:
    """The scores of the best twenty candidates on each split."""
    known = np.flatnonzero(~table.failed)
    if table.splits < 2 or not known.size:
        return None
    order = known[np.argsort(-table.means[known], kind="stable")][:_MOST_ROWS]
    height, left = 20.0, 84.0
    bottom = _TOP + 8 + height * len(order)
    x = scale_of(table.folds[order].ravel(), left, _RIGHT)
    parts = bottom_axis(x, bottom, _TOP, table.metric.told)
    for i, row in enumerate(order.tolist()):
        y = _TOP + 14 + i * height
        parts.append(text(left - 8, y + 4, f"{row}", class_="t strong" if row == table.best else "t", anchor="end"))
        values = table.folds[row]
        parts.append(
            element("line", x1=x(float(values.min())), x2=x(float(values.max())), y1=y, y2=y, class_="whisker")
        )
        parts += [
            dot(x(float(value)), y, "dot small", f"candidate {row}, split {k}: {value:.4g}", 3)
            for k, value in enumerate(values)
        ]
        mean = float(table.means[row])
        parts.append(
            element(
                "rect",
                element("title", f"mean {score(mean, table.error)}"),
                x=x(mean) - 1.5,
                y=y - 7,
                width=3,
                height=14,
                class_="mean",
            )
        )
    parts.append(text(4, 12, "candidate", class_="t name"))
    few = range(min(table.splits, 12))
    head = ("candidate", "parameters", "mean", *(f"split {k}" for k in few))
    rows = tuple(
        (
            str(row),
            params_in_words(table, row),
            score(float(table.means[row]), table.error),
            *(f"{table.folds[row, k]:.4g}" for k in few),
        )
        for row in order.tolist()
    )
    title = f"The best {len(order)} on each split" if len(order) > 1 else "The candidate on each split"
    return Figure(
        "folds",
        title,
        "A point is a split, the bar their mean. Rows that overlap cannot be told apart.",
        (("", drawn(bottom + 42, title, parts)),),
        FigureTable(head, rows),
    )


def gaps(table: ResultTable) -> Figure | None:
    """Train and test score through the answer, along the numeric parameter by which their gap changes most."""
    home = table.home
    if table.train is None or not home.is_full or home.cube is None:
        return None
    found = []
    for i, axis in enumerate(home.axes):
        if axis.is_numeric and len(home.codes[i]) >= 2:
            place = tuple(slice(None) if j == i else home.place(j, table.best) for j in range(len(home.axes)))
            rows = [int(row) for row in home.cube[place] if np.isfinite(table.train[row]) and not table.failed[row]]
            if len(rows) >= 2:
                found.append((float(np.ptp((table.train - table.means)[rows])), i, rows))
    if not found:
        return None
    _, i, rows = max(found)
    axis = home.axes[i]
    codes = [int(axis.codes[row]) for row in rows]
    numbers = [axis.levels[code].number for code in codes]
    plain = [number for number in numbers if number is not None]
    log = axis.is_log and len(plain) == len(numbers)
    x = scale_of(plain, _LEFT + 20, _RIGHT - 20, log=log, pad=0.0)
    places = [_RIGHT - 20 if number is None else x(number) for number in numbers]
    if len(plain) < len(numbers) or len(set(plain)) < 2:  # None comes after the numbers
        places = np.linspace(_LEFT + 20, _RIGHT - 20, len(rows)).tolist()
    train, test = table.train, table.means
    y = scale_of([*train[rows], *test[rows]], _BOTTOM, _TOP)
    parts = left_axis(y, _LEFT, _RIGHT)
    some = dict.fromkeys(np.linspace(0, len(rows) - 1, min(len(rows), 8)).astype(int).tolist())
    parts += [text(places[k], _BOTTOM + 16, axis.levels[codes[k]].python, longest=10, anchor="middle") for k in some]
    parts.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 34, axis.name, longest=50, class_="t name", anchor="middle"))
    parts.append(path([(at, y(train[row])) for at, row in zip(places, rows, strict=True)], "line train"))
    parts.append(path([(at, y(test[row])) for at, row in zip(places, rows, strict=True)], "line"))
    for at, row in zip(places, rows, strict=True):
        parts.append(
            element(
                "rect",
                element("title", f"train {train[row]:.4g}"),
                x=at - 3.5,
                y=y(train[row]) - 3.5,
                width=7,
                height=7,
                class_="train",
            )
        )
        parts.append(
            dot(
                at,
                y(test[row]),
                "dot best" if row == table.best else "dot",
                f"test {test[row]:.4g}",
                6 if row == table.best else 4,
            )
        )
    parts.append(text(4, 13, table.metric.told, longest=60, class_="t name"))
    parts.append(text(places[-1] - 10, y(train[rows[-1]]) - 8, "train", class_="t halo", anchor="end"))
    parts.append(text(places[-1] - 10, y(test[rows[-1]]) + 16, "test", class_="t halo", anchor="end"))
    grid = tuple(
        (cut(axis.levels[code].python, 40), f"{train[row]:.4g}", f"{test[row]:.4g}", f"{train[row] - test[row]:.3g}")
        for code, row in zip(codes, rows, strict=True)
    )
    title = f"Train and test along {cut(axis.name, 60)}"
    told = "Squares and the dashed line are train scores, points and the whole line test scores; all else is as in the answer. "
    told += "A gap that widens is overfitting."
    return Figure(
        "gap",
        title,
        told,
        (("", drawn(_BOTTOM + 42, title, parts)),),
        FigureTable((cut(axis.name), "train", "test", "gap"), grid),
    )


def metrics(table: ResultTable) -> list[Figure]:
    """A figure for each other metric against the one that decides."""
    return [
        figure
        for i, _ in enumerate(table.metrics[1 : 1 + _MOST_METRICS], 1)
        if (figure := _against(table, i)) is not None
    ]


def _against(table: ResultTable, i: int) -> Figure | None:
    first, other = table.metric, table.metrics[i]
    known = np.flatnonzero(~table.failed & np.isfinite(other.means))
    if known.size < 2:
        return None
    shown, some = _some(table, known)
    x, y = scale_of(first.means[shown], _LEFT, _RIGHT), scale_of(other.means[shown], _BOTTOM, _TOP)
    parts = [*left_axis(y, _LEFT, _RIGHT), *bottom_axis(x, _BOTTOM, _TOP, first.told)]
    parts.append(text(4, 13, other.told, longest=60, class_="t name"))
    top = other.top
    for row in sorted(shown.tolist(), key=lambda row: (row == table.best, row == top)):
        label = f"candidate {row}: {first.means[row]:.4g}, {other.means[row]:.4g}; {params_in_words(table, row)}"
        place = x(first.means[row]), y(other.means[row])
        if row == top and row != table.best:
            parts.append(
                element(
                    "rect",
                    element("title", cut(label, 300)),
                    x=place[0] - 5,
                    y=place[1] - 5,
                    width=10,
                    height=10,
                    class_="other",
                )
            )
        else:
            parts.append(
                dot(
                    *place, "dot best" if row == table.best else "dot", cut(label, 300), 6 if row == table.best else 3.5
                )
            )
    rows = tuple(
        (what, str(row), f"{first.means[row]:.4g}", f"{other.means[row]:.4g}", params_in_words(table, row))
        for what, row in (("the answer", table.best), (f"best by {cut(other.told)}", top)) if row is not None
    )  # fmt: skip
    title = f"{cut(other.told, 60)} against {cut(first.told, 60)}"
    told = f"A point is a candidate; the large one is the answer, the square the best by {cut(other.told)}.{some}"
    return Figure(
        f"metric-{i}",
        title,
        told,
        (("", drawn(_BOTTOM + 42, title, parts)),),
        FigureTable(("", "candidate", cut(first.told), cut(other.told), "parameters"), rows),
    )
