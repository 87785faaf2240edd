"""What must hold of what a soak has seen. Pure: data in, sentences about what does not hold out."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

GROWS_BY: Final = 1.15
"""Memory is flat if the median of the last quarter of a process' life is at most so many times that of the second quarter, in
this life or in most lives of its kind (one that starts when the machine is busy has not begun to work by then) …"""
AND_BYTES: Final = 8 * 2**20
"""… and these bytes."""
LEAST_SAMPLES: Final = 12
"""Of a life with fewer samples nothing is said."""


@dataclass(frozen=True)
class Ended:
    """How a search was seen to end. ``digest`` is of all of its results but the times; '' if it has none."""

    name: str
    kind: str
    phase: str
    reason: str = ""
    digest: str = ""
    was_cancelled: bool = False
    was_deleted: bool = False


@dataclass(frozen=True)
class Cell:
    """An acknowledged result: of which search and place in it, a digest of what was acknowledged, and when (Unix time)."""

    search: str
    ordinal: int
    digest: str
    moment: float


@dataclass(frozen=True)
class Fit:
    """A fit that began, of a cell."""

    search: str
    ordinal: int
    moment: float


@dataclass
class Life:
    """Of one process: what it was, and its memory as it was sampled."""

    what: str
    pid: int
    resident_bytes: list[int] = field(default_factory=list)


def wrong_ends(ended: Iterable[Ended], wanted: Mapping[str, str]) -> list[str]:
    """Searches that did not end as they must: complete, and equal to the bit to what their kind comes to elsewhere."""
    found: list[str] = []
    for each in ended:
        if each.was_deleted:
            continue
        if each.phase == "Complete":
            if each.digest != wanted[each.kind]:
                found.append(
                    f"{each.name}: its results are not those of {each.kind} on a laptop ({each.digest or 'none'})"
                )
        elif not (each.was_cancelled and each.reason == "Cancelled"):
            found.append(f"{each.name}: ended {each.phase or 'not at all'} ({each.reason or 'no reason'})")
    return found


def lost(acknowledged: Iterable[Cell], there: Iterable[Cell], *, forgotten: Collection[str] = ()) -> list[str]:
    """Results that were acknowledged once, and are gone or others at the end; but of searches that were deleted."""
    known = {(cell.search, cell.ordinal): cell.digest for cell in there}
    found: list[str] = []
    for cell in acknowledged:
        if cell.search in forgotten:
            continue
        now = known.get((cell.search, cell.ordinal))
        if now != cell.digest:
            found.append(
                f"{cell.search}: cell {cell.ordinal} was acknowledged and is {'gone' if now is None else 'another'}"
            )
    return found


def fitted_again(fits: Iterable[Fit], acknowledged: Iterable[Cell], *, slack_seconds: float = 0.0) -> list[str]:
    """Cells of which a fit began after their result had been acknowledged.

    The moments of both are of one machine's clock; ``slack_seconds`` is how long after its acknowledgement a fit may still be
    on its way to be heard of.
    """
    when = {(cell.search, cell.ordinal): cell.moment for cell in acknowledged}
    late: Counter[tuple[str, int]] = Counter()
    latest: dict[tuple[str, int], float] = {}
    for fit in fits:
        key = fit.search, fit.ordinal
        if key in when and fit.moment > when[key] + slack_seconds:
            late[key] += 1
            latest[key] = max(latest.get(key, 0.0), fit.moment - when[key])
    return [
        f"{search}: cell {ordinal} was fitted {times} times more, up to {latest[search, ordinal]:.1f} s after it was acknowledged"
        for (search, ordinal), times in sorted(late.items())
    ]


def grown(lives: Iterable[Life], limits: Mapping[str, int]) -> list[str]:
    """Processes whose memory was not flat, or above its container's limit."""
    found: list[str] = []
    lives = list(lives)
    usual = _usual(lives)
    for life in lives:
        samples = life.resident_bytes
        if max(samples, default=0) > limits[life.what]:
            found.append(
                f"{life.what} (pid {life.pid}): {_mib(max(samples))}, above its limit of {_mib(limits[life.what])}"
            )
        if len(samples) < LEAST_SAMPLES:
            continue
        before, after = quarters(samples)
        if after > max(before, usual[life.what]) * GROWS_BY + AND_BYTES:
            every = max(1, len(samples) // 16)
            course = " ".join(f"{each / 2**20:.0f}" for each in samples[::every])
            found.append(f"{life.what} (pid {life.pid}): grew from {_mib(before)} to {_mib(after)}: {course}")
    return found


def _usual(lives: Iterable[Life]) -> dict[str, float]:
    """The median of the second quarters of the lives of each kind, in bytes."""
    found: dict[str, list[float]] = defaultdict(list)
    for life in lives:
        if len(life.resident_bytes) >= LEAST_SAMPLES:
            found[life.what].append(quarters(life.resident_bytes)[0])
    return {what: median(befores) for what, befores in found.items()}


def quarters(samples: Sequence[int]) -> tuple[float, float]:
    """The medians of the second and of the last quarter: the first is that of its start."""
    part = max(1, len(samples) // 4)
    return median(samples[part : 2 * part]), median(samples[-part:])


def not_emptied(rows: Mapping[str, int], *, kept: Mapping[str, int]) -> list[str]:
    """Tables that hold more than what is kept for good, once all TuningJobs are deleted and their cells purged."""
    return [
        f"{table}: {count} rows, and {kept.get(table, 0)} are to stay"
        for table, count in sorted(rows.items())
        if count > kept.get(table, 0)
    ]


def left_behind(objects: Mapping[str, Iterable[str]], *, ours: Collection[str]) -> list[str]:
    """Objects of the tenants' namespaces that are there though their TuningJobs are gone."""
    of_kinds: dict[str, list[str]] = defaultdict(list)
    for where, names in objects.items():
        of_kinds[where] += [name for name in names if name.partition("/")[2] not in ours]
    return [f"{where}: {', '.join(sorted(names))}" for where, names in sorted(of_kinds.items()) if names]


def _mib(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"
