"""The page of the incident: a table for each condition, and what was not measured. Pure."""

import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.incident.arms import CONDITIONS, Condition
from benchmarks.incident.ratios import UNCHANGED, compare, quantile

REQUEST_MILLICORES: Final = 250
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_NOT_MEASURED: Final = """\
- A neighbour that an autoscaler gives more pods, and nodes of more cores: there are two cores for all.
- Cores of the generator's own: here there are none to pin it to; on another cluster it is on another node than the neighbour.
- The kubelet's own eviction when memory is short: it looks at the machine, which has more than the node's bound.
- The page cache: what a container reads counts towards its own memory limit, so a search holds no more of it than that.
"""


@dataclass(frozen=True)
class Block:
    """What was measured of one arm in one block. Latencies are seconds; ``cores`` is the CPU that the search got."""

    latencies: list[float]
    failed: int
    cores: float
    throttled: float  # the part of its periods in which the search was stopped
    fits_per_second: float
    pressure: float  # the part of the time in which something on the node waited for a core
    deaths: int  # pods of the search that have failed since it was applied
    restarts: int  # of the neighbour, in the block


@dataclass
class Measured:
    """What was measured of a condition: the blocks of each arm, by its name, and how."""

    how: str
    blocks: dict[str, list[Block]] = field(default_factory=dict)


def page(measured: Mapping[str, Measured], kept: str) -> str:
    """The page with what was measured now; of other conditions what it said before."""
    groups = "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"
    how = (
        f"`python -m benchmarks.incident`: every arm once in each block, forwards and backwards in turn; {os.cpu_count()} cores, "
        "which both nodes, the control plane and the load generator share on the test cluster; control groups "
        f"v{groups}. The neighbour is a web service in Python with {REQUEST_MILLICORES}m of CPU requested and no limit, the "
        "search a GridSearchCV over an MLPClassifier, or over an SGDRegressor that streams its rows. Requests leave at intended "
        "times (an open loop), and latency counts from the intended time."
    )
    words = (
        "p50, p99 and p99.9 are medians over blocks. *p99 ÷ alone* is the geometric mean over blocks with its 95 % bootstrap "
        f"interval; *unchanged* means that its upper bound is below {UNCHANGED:.2f}, *worse* that its lower one is above 1, "
        f"*open* that so many blocks do not tell. A request without an answer counts as 20 s. *Pressure* is the part of the "
        "time in which something on the node waited for a core (`/proc/pressure/cpu`; both nodes of the test cluster are this "
        "one machine)."
    )
    lines = ["# The incident again: a neighbour's latency beside a search", "", how, "", words, ""]
    sections = {section.partition("\n")[0]: section for section in kept.split("\n## ")[1:]}
    for condition in CONDITIONS:
        heading = _heading(condition)
        if condition.name in measured:
            lines += _table(condition, measured[condition.name])
        elif section := sections.get(heading.removeprefix("## ")):
            lines += [f"## {section.rstrip()}", ""]
    lines += ["## What was not measured, and why", "", _NOT_MEASURED]
    return "\n".join(lines)


def _heading(condition: Condition) -> str:
    return f"## {condition.name[0].upper()}{condition.name[1:]}"


def _table(condition: Condition, measured: Measured) -> list[str]:
    found = measured.blocks
    draws = random.Random(0)
    quiet = [quantile(block.latencies, _QUANTILES["p99"]) for block in found["alone"]]
    heads = ["beside the neighbour", *(f"{name}, ms" for name in _QUANTILES), "p99 ÷ alone", ""]
    heads += ["pressure", "cores of the search", "stopped by its limit", "fits/s", "unanswered"]
    rules = ["---", *["---:"] * 4, "---", *["---:"] * 5]
    if condition.node_bytes is not None:
        heads += ["searches that died", "restarts of the neighbour"]
        rules += ["---:"] * 2
    lines = [_heading(condition), "", measured.how, "", _row(heads), _row(rules)]
    for name, blocks in found.items():
        quantiles = {q: [quantile(block.latencies, part) for block in blocks] for q, part in _QUANTILES.items()}
        cells = [name, *(f"{1e3 * _median(values):.1f}" for values in quantiles.values())]
        pressure = f"{100 * _median([block.pressure for block in blocks]):.0f} %"
        if name == "alone":
            cells += ["1", "", pressure, "", "", ""]
        else:
            ratio = compare(quantiles["p99"], quiet, draws)
            cells += [str(ratio), ratio.verdict, pressure]
            cores = [block.cores for block in blocks if not math.isnan(block.cores)]
            cells += [f"{_median(cores):.2f}" if cores else ""]
            cells += [f"{100 * _median([block.throttled for block in blocks]):.0f} %"]
            cells += [f"{_median([block.fits_per_second for block in blocks]):.1f}"]
        cells.append(str(sum(block.failed for block in blocks)))
        if condition.node_bytes is not None:
            cells += [str(sum(block.deaths for block in blocks)), str(sum(block.restarts for block in blocks))]
        lines.append(_row(cells))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan
