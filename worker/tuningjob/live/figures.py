"""Two figures of a search that runs: how good the best was when, and who fitted what when. Text alone: no library is needed."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from tuningjob.live.records import CellMark, WatchedSearch

_WIDTH: Final = 1_080
_LEFT: Final = 70
_LANE: Final = 22
_MOST_LANES: Final = 40
_MOST_DOTS: Final = 1_500
_SVG: Final = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>')
_TEXT: Final = Markup('<text class="t" x="{:.1f}" y="{:.1f}"{}>{}</text>')
_END: Final = Markup(' text-anchor="end"')


def progress_of(search: WatchedSearch) -> Markup:
    """The score of each candidate when its last fit was in, and the best so far."""
    found = _finished(search)
    if len(found) < 2:
        return Markup()
    times, scores = [at for at, _ in found], [score for _, score in found]
    low, high = min(scores), max(scores)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    x = _TimeScale(times[0], times[-1])

    def y(score: float) -> float:
        return 220 - (score - low) / (high - low) * 190

    best = -math.inf
    corners: list[tuple[float, float]] = []
    for at, score in found:
        if score > best:
            corners += [] if best == -math.inf else [(x(at), y(best))]
            best = score
            corners.append((x(at), y(best)))
    corners.append((x(times[-1]), y(best)))
    line = Markup('<polyline class="front" points="{}"/>').format(" ".join(f"{a:.1f},{b:.1f}" for a, b in corners))
    dots = Markup().join(
        Markup('<circle class="dot" r="3" cx="{:.1f}" cy="{:.1f}"/>').format(x(at), y(score))
        for at, score in found[:: max(1, len(found) // _MOST_DOTS)]
    )
    labels = Markup().join(
        _TEXT.format(_LEFT - 8, y(score) + 4, _END, f"{score:.4g}") for score in (low, (low + high) / 2, high)
    )
    told = f"{len(found):,} candidates by the time of their last fit; the best so far is {best:.4g}"
    return _SVG.format(_WIDTH, 250, told, told, dots + line + labels + _clock(times, 244))


def timeline_of(search: WatchedSearch) -> Markup:
    """Each fit as a bar on the lane of who reported it: from when it began, as far as its length tells, until it was in."""
    marks = [mark for mark in search.marks if not mark.is_reused]
    lanes = sorted({mark.index for mark in marks})[:_MOST_LANES]
    if not marks or not lanes:
        return Markup()
    begins = [mark.at - dt.timedelta(seconds=mark.seconds) for mark in marks]
    first, last = min(begins), max(mark.at for mark in marks)
    x, place = _TimeScale(first, last), {index: number for number, index in enumerate(lanes)}
    parts = [_TEXT.format(_LEFT - 8, 10 + place[i] * _LANE + 15, _END, f"index {i}") for i in lanes]
    for mark, begin in zip(marks, begins, strict=True):
        if mark.index in place:
            kind = "bar failed" if mark.has_failed else "bar"
            told = f"candidate {mark.candidate}, split {mark.split}: {mark.seconds:.3g} s{' (failed)' if mark.has_failed else ''}"
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="14"><title>{}</title></rect>').format(
                    kind, x(begin), 12 + place[mark.index] * _LANE, max(1.5, x(mark.at) - x(begin)), told
                )
            )
    height = 10 + len(lanes) * _LANE
    told = f"The latest {len(marks):,} fits by the index that reported them"
    return _SVG.format(_WIDTH, height + 30, told, told, Markup().join(parts) + _clock([first, last], height + 22))


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
        return _LEFT + (at - self.first).total_seconds() / self.span * (_WIDTH - _LEFT - 20)


def _clock(times: Sequence[dt.datetime], y: float) -> Markup:
    first, last = times[0], times[-1]
    form = "%H:%M:%S" if (last - first) < dt.timedelta(days=1) else "%m-%d %H:%M"
    return _TEXT.format(_LEFT, y, "", first.strftime(form)) + _TEXT.format(
        _WIDTH - 20, y, _END, f"{last.strftime(form)} UTC"
    )
