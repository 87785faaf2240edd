"""Two figures of a search that runs: how good the best was when, and who fitted what when. Text alone: no library is needed."""

import datetime as dt
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from tuningjob.live.records import CellMark, WatchedSearch
from tuningjob.live.svg import END, WIDTH, LiveFigure, label, picture

_LEFT: Final = 84
_LANE: Final = 22
_MOST_LANES: Final = 40
_MOST_DOTS: Final = 1_500
_TAKEN_OVER: Final = "taken over"
_MOST_ROWS: Final = 50


def progress_of(search: WatchedSearch) -> LiveFigure | None:
    """The score of each candidate when its last fit was in, and the best so far; None before there are two."""
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
    """Those that were better than all before them."""
    better = [found[0]]
    for at, score in found[1:]:
        if score > better[-1][1]:
            better.append((at, score))
    return better


def timeline_of(search: WatchedSearch) -> LiveFigure | None:
    """Each fit as a bar on the lane of who reported it: from when it began, as far as its length tells, until it was in.

    Fits of another search that were taken over have a lane of their own. None before there is one.
    """
    marks = search.marks
    if not marks:
        return None
    lanes = _lanes(marks)
    begins = [mark.at - dt.timedelta(seconds=mark.seconds) if not mark.is_reused else mark.at for mark in marks]
    first, last = min(begins), max(mark.at for mark in marks)
    x, place = _TimeScale(first, last), {name: number for number, name in enumerate(lanes)}
    parts = [label(_LEFT - 8, 25 + number * _LANE, name, anchor=END) for number, name in enumerate(lanes)]
    for mark, begin in zip(marks, begins, strict=True):
        lane = place.get(_lane_of(mark))
        if lane is not None:
            parts.append(_bar(mark, x(begin), x(mark.at), 12 + lane * _LANE))
    height = 10 + len(lanes) * _LANE
    told = f"The latest {len(marks):,} fits by the index that reported them"
    return LiveFigure(
        "timeline",
        "Who fitted what when",
        "A bar is a fit, on the lane of the completion index that reported it. A broken outline: it failed. A mark above: a "
        "pod had died with it before. Pale: it needed no fit of its own, because others shared theirs.",
        picture(height + 30, told, Markup().join(parts) + _clock([first, last], height + 22)),
        ("lane", "fits", "failed", "shared", "retried", "seconds"),
        tuple(_counted(name, [mark for mark in marks if _lane_of(mark) == name]) for name in lanes),
    )


def _lanes(marks: Sequence[CellMark]) -> list[str]:
    own = sorted({mark.index for mark in marks if not mark.is_reused})[:_MOST_LANES]
    taken = [_TAKEN_OVER] if any(mark.is_reused for mark in marks) else []
    return [f"index {index}" for index in own] + taken


def _lane_of(mark: CellMark) -> str:
    return _TAKEN_OVER if mark.is_reused else f"index {mark.index}"


def _counted(lane: str, marks: Sequence[CellMark]) -> tuple[str, ...]:
    kinds = [dict(_kinds(mark)) for mark in marks]
    counts = (sum(kind[name] for kind in kinds) for name in ("failed", "shared", "retried"))
    return (lane, f"{len(marks):,}", *(f"{count:,}" for count in counts), f"{sum(mark.seconds for mark in marks):,.3g}")


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
    """Candidates whose every split is among the marks: when the last was in, and the mean."""
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
