"""Two figures of a running search: the best score over time, and which process fitted what when. No library is needed."""

import datetime as dt
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from markupsafe import Markup

from tuningjob.live.records import CellMark, NotedDeath, WatchedSearch
from tuningjob.live.svg import END, WIDTH, LiveFigure, label, picture

_LEFT: Final = 84
_LANE: Final = 22
_MOST_LANES: Final = 40
_MOST_DOTS: Final = 1_500
_TAKEN_OVER: Final = "taken over"
_MOST_ROWS: Final = 50


def progress_of(search: WatchedSearch) -> LiveFigure | None:
    """The score of each candidate at the time of its last fit, and the best so far; None before there are two."""
    found = _finished(search)
    if len(found) < 2:
        return None
    times, scores = [at for at, _ in found], [score for _, score in found]
    low, high = min(scores), max(scores)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    x = _TimeScale(times[0], times[-1])

    def y(score: float) -> float:
        return 220 - (score - low) / (high - low) * 190

    better = _improvements(found)
    corners = [(x(at), y(score)) for at, score in better]
    steps = [corners[0], *(corner for one, two in pairwise(corners) for corner in ((two[0], one[1]), two))]
    ends = [*steps, (x(times[-1]), corners[-1][1])]
    line = Markup('<polyline class="front" points="{}"/>').format(" ".join(f"{a:.1f},{b:.1f}" for a, b in ends))
    dots = Markup().join(
        Markup('<circle class="dot" r="3" cx="{:.1f}" cy="{:.1f}"/>').format(x(at), y(score))
        for at, score in found[:: max(1, len(found) // _MOST_DOTS)]
    )
    labels = Markup().join(
        label(_LEFT - 8, y(score) + 4, f"{score:.4g}", anchor=END) for score in (low, (low + high) / 2, high)
    )
    told = f"{len(found):,} candidates by the time of their last fit; the best so far is {better[-1][1]:.4g}"
    return LiveFigure(
        "progress",
        "The best so far",
        "Each point is a candidate whose fits are all in; the line is the best of them.",
        picture(250, told, dots + line + labels + _clock(times, 244)),
        ("when (UTC)", "the best by then"),
        tuple((at.strftime("%H:%M:%S"), f"{score:.6g}") for at, score in better[-_MOST_ROWS:]),
    )


def _improvements(found: Sequence[tuple[dt.datetime, float]]) -> list[tuple[dt.datetime, float]]:
    """The ones that were better than all before them."""
    better = [found[0]]
    for at, score in found[1:]:
        if score > better[-1][1]:
            better.append((at, score))
    return better


def timeline_of(search: WatchedSearch) -> LiveFigure | None:
    """The timeline: each fit as a bar on the lane of the process that reported it, each death as a cross.

    A bar ends when the fit was reported, and begins as much earlier as the fit took. Reused fits of other searches have a lane of
    their own. None before there is a fit.
    """
    marks = search.marks
    if not marks:
        return None
    begins = [mark.at - dt.timedelta(seconds=mark.seconds) if not mark.is_reused else mark.at for mark in marks]
    first = min(begins)
    died = [death for death in search.died if death.at >= first]
    lanes = _lanes(marks, died)
    last = max([mark.at for mark in marks] + [death.at for death in died])
    x, place = _TimeScale(first, last), {lane: number for number, lane in enumerate(lanes)}
    names = _names(lanes)
    parts = [label(_LEFT - 8, 25 + number * _LANE, name, anchor=END) for number, name in enumerate(names)]
    for mark, begin in zip(marks, begins, strict=True):
        lane = place.get(_lane_of(mark))
        if lane is not None:
            parts.append(_bar(mark, x(begin), x(mark.at), 12 + lane * _LANE))
    for death in died:
        lane = place.get(_lane_of_death(death, lanes))
        if lane is not None:
            parts.append(_cross(death, x(death.at), 12 + lane * _LANE))
    height = 10 + len(lanes) * _LANE
    told = f"The latest {len(marks):,} fits by the index that reported them"
    return LiveFigure(
        "timeline",
        "Who fitted what when",
        "A bar is a fit, on the lane of the completion index that reported it, and of the process of its pod where there are "
        "several. A broken outline: it failed. A mark above: a pod had died with it before. A cross: a pod had died, and its "
        "successor asked for what it held. Pale: it needed no fit of its own, because others shared theirs.",
        picture(height + 30, told, Markup().join(parts) + _clock([first, last], height + 22)),
        ("lane", "fits", "failed", "shared", "retried", "deaths", "seconds"),
        tuple(
            _counted(
                name,
                [mark for mark in marks if _lane_of(mark) == lane],
                [death for death in died if _lane_of_death(death, lanes) == lane],
            )
            for name, lane in zip(names, lanes, strict=True)
        ),
    )


# the completion index and the number of its pod's process; None: reused from another search
_Lane: TypeAlias = tuple[int, int] | None


def _lanes(marks: Sequence[CellMark], died: Sequence[NotedDeath]) -> list[_Lane]:
    fitted = {(mark.index, mark.process) for mark in marks if not mark.is_reused}
    quiet = {(death.index, 0) for death in died} - {(index, 0) for index, _ in fitted}
    taken: list[_Lane] = [None] if any(mark.is_reused for mark in marks) else []
    return [*sorted(fitted | quiet)[:_MOST_LANES], *taken]


def _names(lanes: Sequence[_Lane]) -> list[str]:
    has_several = any(lane is not None and lane[1] for lane in lanes)
    return [
        _TAKEN_OVER if lane is None else f"index {lane[0]}" + (f" · {lane[1]}" if has_several else "") for lane in lanes
    ]


def _lane_of(mark: CellMark) -> _Lane:
    return None if mark.is_reused else (mark.index, mark.process)


def _lane_of_death(death: NotedDeath, lanes: Sequence[_Lane]) -> _Lane:
    """The first lane of the dead claimant's index."""
    return next((lane for lane in lanes if lane is not None and lane[0] == death.index), (death.index, 0))


def _counted(name: str, marks: Sequence[CellMark], died: Sequence[NotedDeath]) -> tuple[str, ...]:
    kinds = [dict(_kinds(mark)) for mark in marks]
    counts = [sum(kind[told] for kind in kinds) for told in ("failed", "shared", "retried")]
    seconds = f"{sum(mark.seconds for mark in marks):,.3g}"
    return (name, f"{len(marks):,}", *(f"{count:,}" for count in (*counts, len(died))), seconds)


def _cross(death: NotedDeath, x: float, y: float) -> Markup:
    strokes = f"M{x - 5:.1f} {y + 2:.1f}l10 10m0 -10l-10 10"
    told = f"a pod had died: {death.at.strftime('%H:%M:%S')} UTC"
    return Markup('<path class="died" d="{}"><title>{}</title></path>').format(strokes, told)


def _bar(mark: CellMark, begin: float, end: float, y: float) -> Markup:
    kinds = [name for name, is_so in _kinds(mark) if is_so]
    told = (
        f"candidate {mark.candidate}, split {mark.split}: {mark.seconds:.3g} s{''.join(f' ({kind})' for kind in kinds)}"
    )
    look = " ".join(["bar", *kinds])
    bar = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="14"><title>{}</title></rect>').format(
        look, begin, y, max(2.0, end - begin), told
    )
    if not mark.is_retried:
        return bar
    corners = f"{end - 4:.1f},{y - 5:.1f} {end + 4:.1f},{y - 5:.1f} {end:.1f},{y + 2:.1f}"
    return bar + Markup('<polygon class="again" points="{}"><title>{}</title></polygon>').format(corners, told)


def _kinds(mark: CellMark) -> tuple[tuple[str, bool], ...]:
    is_shared = mark.is_shared and not mark.is_reused
    return ("failed", mark.has_failed), ("reused", mark.is_reused), ("shared", is_shared), ("retried", mark.is_retried)


def _finished(search: WatchedSearch) -> list[tuple[dt.datetime, float]]:
    """When the last fit was in, and the mean, for each candidate whose splits are all among the marks."""
    by_candidate: dict[int, list[CellMark]] = {}
    for mark in search.marks:
        by_candidate.setdefault(mark.candidate, []).append(mark)
    whole = [marks for marks in by_candidate.values() if len(marks) == search.splits]
    found = [
        (max(mark.at for mark in marks), math.fsum(mark.score or 0.0 for mark in marks) / search.splits)
        for marks in whole
        if all(mark.score is not None and math.isfinite(mark.score) for mark in marks)
    ]
    return sorted(found)


class _TimeScale:
    def __init__(self, first: dt.datetime, last: dt.datetime) -> None:
        self.first = first
        self.span = max((last - first).total_seconds(), 1e-3)

    def __call__(self, at: dt.datetime) -> float:
        return _LEFT + (at - self.first).total_seconds() / self.span * (WIDTH - _LEFT - 20)


def _clock(times: Sequence[dt.datetime], y: float) -> Markup:
    first, last = times[0], times[-1]
    form = "%H:%M:%S" if (last - first) < dt.timedelta(days=1) else "%m-%d %H:%M"
    end = label(WIDTH - 20, y, f"{last.strftime(form)} UTC", anchor=END)
    return label(_LEFT, y, first.strftime(form)) + end
