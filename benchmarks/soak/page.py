"""The page that a soak writes of itself, when everything held."""

import os
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from benchmarks.soak import kinds, plan
from benchmarks.soak.checks import AND_BYTES, GROWS_BY
from benchmarks.soak.stage import IN_FLIGHT, LIMITS, TENANTS, Stage


@dataclass
class Found:
    """What came of a run. ``sent_again`` are cells whose report was sent once more, because its answer was lost.

    ``ended_late`` are pods that were deleted, and ended only when the controller manager was started anew.
    """

    faults: list[str] = field(default_factory=list)
    deeds: Counter[str] = field(default_factory=Counter)
    misfires: list[str] = field(default_factory=list)
    fits_heard: int = 0
    cells: int = 0
    sent_again: int = 0
    ended_late: int = 0
    database_bytes: int = 0


def _late(pods: int) -> str:
    return f"none; {pods} pods of deleted Jobs ended only when Kubernetes' controller manager was started anew"


def page_of(stage: Stage, found: Found, *, minutes: float, seed: int, date: str) -> str:
    """Of a run without a fault."""
    ends = Counter((each.kind, "deleted" if each.was_deleted else each.phase) for each in stage.ended)
    complete = sum(each.phase == "Complete" for each in stage.ended)
    searched = (
        f"{len(stage.ended)} searches of {len({each.kind for each in stage.ended})} kinds by {len(TENANTS)} tenants, {IN_FLIGHT} "
        f"at a time, on the two-node test cluster ({os.cpu_count()} cores, which everything shares) with Postgres"
    )
    how = (
        f"{date}, `python -m benchmarks.soak --minutes {minutes:g} --seed {seed}`: {searched}, while one thing after the other "
        f"was done to it. {complete} of them were complete; the others were cancelled or deleted on purpose. A run in which "
        "anything below does not hold prints what was done, and writes no page."
    )
    rule = (
        f"Memory is flat if, in the life of each process, the median of the last quarter is at most {GROWS_BY:g} times that of "
        f"the second quarter and {AND_BYTES // 2**20} MiB: of its own second quarter, or of what is usual in lives of its kind. "
        f"Fits are heard of by datagrams from those of the kind `{kinds.COUNTED}`; some are lost while a node is cut off."
    )
    size = f"{found.database_bytes / 2**20:.0f} MiB of database at the end"
    holds = {
        "every result is that of the same search on a laptop": f"{complete} of {complete} searches",
        "nothing acknowledged is lost": f"{len(stage.acknowledged):,} results seen, all there at the end as they were",
        "no cell is fitted after it was acknowledged": f"{found.fits_heard:,} fits heard of, none such",
        "memory is flat": _memory(stage),
        "tables are flat": f"{size}; once all is deleted and purged, only the audit has rows",
        "no object is left behind": "none" if not found.ended_late else _late(found.ended_late),
    }
    lines = [
        "# A soak: everything goes wrong, and nothing is lost",
        "",
        how,
        "",
        "| what must hold | seen |",
        "|---|---|",
    ]
    lines += [f"| {what} | {seen} |" for what, seen in holds.items()]
    again = f"Of {found.cells:,} cells {found.sent_again} were reported once more, their first answer being lost."
    lines += ["", f"{rule} {again}", "", "| what was done | times |", "|---|---:|"]
    lines += [f"| {deed} | {found.deeds[deed]} |" for deed in plan.HOLDS]
    lines += ["", "| kind | complete | cancelled | deleted |", "|---|---:|---:|---:|"]
    for kind in kinds.SPECS:
        lines.append(_row(kind, *(ends[kind, end] for end in ("Complete", "Failed", "deleted"))))
    if found.misfires:
        lines += ["", f"{len(found.misfires)} things could not be done, because what they need was just away."]
    return "\n".join([*lines, ""])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _memory(stage: Stage) -> str:
    parts: list[str] = []
    for what in LIMITS:
        lives = [life for life in stage.lives.values() if life.what == what]
        peak = max((max(life.resident_bytes) for life in lives), default=0)
        typical = median([median(life.resident_bytes) for life in lives]) if lives else 0
        parts.append(f"{what}: {typical / 2**20:.0f} MiB, at the most {peak / 2**20:.0f}, in {len(lives)} lives")
    return "; ".join(parts)
