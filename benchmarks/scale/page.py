"""What was measured, as a page. Pure.

Measurements are kept in one JSON file, so that the parts can be run one by one: each for as long as the machine is quiet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SIDES: Final[Mapping[str, str]] = {
    "ours": "`tuningjob.GridSearchCV`",
    "scikit-learn": "scikit-learn's GridSearchCV, joblib's processes",
    "optuna": "Optuna, a process for each slot, Postgres",
    "ray": "Ray Tune",
}
BOUND_GOAL: Final = 1.03
RATIO_GOAL: Final = 10.0


@dataclass(frozen=True)
class Slept:
    """A search of sleeping fits on one machine; ``wall_seconds`` None: it was not measured, and ``why``."""

    side: str
    count: int
    seconds: float
    slots: int
    wall_seconds: float | None
    why: str = ""
    date: str = ""

    @property
    def bound(self) -> float:
        """No order ends sooner."""
        return bound(self.count, self.seconds, self.slots)


@dataclass(frozen=True)
class OnPods:
    """So many candidates on the cluster, one way or the other: from `kubectl apply` until it is complete."""

    way: str  # "a TuningJob" or "a pod for each"
    count: int
    seconds: float
    slots: int
    wall_seconds: float
    date: str = ""


@dataclass(frozen=True)
class Many:
    """One search of very many fits, from `kubectl apply` until it is complete.

    ``object_bytes``: how large its TuningJob is at the end, as JSON.
    """

    fits: int
    wall_seconds: float
    object_bytes: int
    date: str = ""


def bound(count: int, seconds: float, slots: int) -> float:
    """The least that so many equal fits take: what each slot has to do, or the longest."""
    return max(count * seconds / slots, seconds)


def page(slept: list[Slept], pods: list[OnPods], many: list[Many], remarks: list[str], *, machine: str) -> str:
    """All of it."""
    lines = ["# Scale: sleeping fits, beside others", "", machine, ""]
    if slept:
        lines += _slept(slept)
    if pods:
        lines += _pods(pods)
    if many:
        lines += _many(many)
    if remarks:
        lines += ["## What is not measured, and what falls short", "", *(f"- {remark}" for remark in remarks), ""]
    return "\n".join(lines)


def _slept(slept: list[Slept]) -> list[str]:
    how = (
        "A candidate is one fit that sleeps, so all slots can be had on any machine, and what is measured is what the "
        "scheduler adds. The bound is total ÷ slots. Ray's authors publish 715 s for 10,000 of 1 s on 16 CPUs, whose "
        "bound is 625 s; our goal was 640 s."
    )
    lines = [
        "## A scheduler on one machine",
        "",
        how,
        "",
        "| candidates × sleep | slots | | seconds | ÷ bound | measured |",
        "|---|---:|---|---:|---:|---|",
    ]
    for each in slept:
        told, ratio = "not measured", each.why
        if each.wall_seconds is not None:
            told, ratio = f"{each.wall_seconds:.1f}", f"{each.wall_seconds / each.bound:.3f}"
        lines.append(
            f"| {each.count:,} × {each.seconds:g} s | {each.slots} | {SIDES[each.side]} | {told} | {ratio} | {each.date} |"
        )
    return [*lines, ""]


def _pods(pods: list[OnPods]) -> list[str]:
    how = (
        "On the two-node test cluster, from `kubectl apply` until it is complete. *A pod for each* is a plain Indexed Job of the "
        "same image that imports scikit-learn and sleeps, as many at a time as the TuningJob has slots: the least that one pod "
        f"for each trial must cost. The goal was {RATIO_GOAL:g} times as fast at 90 candidates, and {BOUND_GOAL:g} × the bound."
    )
    lines = [
        "## A pod for each candidate",
        "",
        how,
        "",
        "| candidates × sleep | slots | bound | a TuningJob | a pod for each | ÷ | TuningJob ÷ bound | measured |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for count in sorted({each.count for each in pods}):
        found = {each.way: each for each in pods if each.count == count}
        ours, theirs = found.get(TUNINGJOB), found.get(EACH)
        either = ours or theirs
        if either is None:
            continue
        least = bound(either.count, either.seconds, either.slots)
        cells = [
            f"{count} × {either.seconds:g} s",
            str(either.slots),
            f"{least:.1f} s",
            f"{ours.wall_seconds:.1f} s" if ours else "not measured",
            f"{theirs.wall_seconds:.1f} s" if theirs else "not measured",
            f"{theirs.wall_seconds / ours.wall_seconds:.1f}" if ours and theirs else "",
            f"{ours.wall_seconds / least:.2f}" if ours else "",
            either.date,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _many(many: list[Many]) -> list[str]:
    how = (
        "GaussianNB over 200,000 values of `var_smoothing`, 5 folds, 2 pods of one process each on the two-node test cluster: "
        "from `kubectl apply` until the answer is there. The object is the TuningJob as Kubernetes keeps it at the end."
    )
    lines = [
        "## Very many fits",
        "",
        how,
        "",
        "| fits | seconds | fits/s | the object | measured |",
        "|---:|---:|---:|---:|---|",
    ]
    for each in many:
        rate, size = each.fits / each.wall_seconds, each.object_bytes / 1000
        lines.append(f"| {each.fits:,} | {each.wall_seconds:.0f} | {rate:,.0f} | {size:.1f} kB | {each.date} |")
    return [*lines, ""]


TUNINGJOB: Final = "a TuningJob"
EACH: Final = "a pod for each"
