"""The measurements as a table: on the terminal, and as Markdown."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean

from rich.table import Table

from benchmarks.measure import Row, Timing
from benchmarks.searches import N_JOBS

_NONE = "–"
_MEANING = """\
What the columns mean:

- **scikit-learn**, **tuningjob**: median seconds of `fit`, and the least and the most of the repetitions in brackets.
- **ratio**: the first ÷ the second. Above 1, tuningjob is faster.
- **oracle**: the sum of the candidates' work ÷ the work that differs, by a simple model that `benchmarks/workloads.py` states
  for each workload. The model counts fits, or members of ensembles, and neither overhead nor scoring: a yardstick of how much
  there was to share, not a bound.
- **exact**: every column of `cv_results_` but the times was equal to scikit-learn's to the bit, in every repetition.
- **MiB**: the peak of the resident memory of all processes together, scikit-learn's and tuningjob's. Sampled; memory that
  forked processes share is counted in each.
- The rest are rivals, as scikit-learn's seconds ÷ theirs, to be read beside the ratio:
  **contexts dropped** is scikit-learn's search without its callbacks' contexts, which it pickles with each batch of fits;
  **memory=** is scikit-learn's search of the same pipeline with `memory=` an empty folder;
  **dask-ml** with two threads and with two processes;
  **1.8** is scikit-learn 1.8.0 with joblib 1.5.3. "≠" marks a rival whose scores are not scikit-learn's to the bit.
"""
_HOW = """\
How it was measured: `n_jobs=2` and `refit=False` on all sides, one BLAS and OpenMP thread, every side in a process of its own
that lives through the benchmark and works alone, in turn (A B, B A, ...). Before each timed search the workload's first
candidate is searched alone: pools are up, imports are done, data are made.
"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, a row's cell, and the ratio that its geometric mean is taken of, if it is one of ratios."""

    heading: str
    cell: Callable[[Row], str]
    ratio: Callable[[Row], float | None] | None = None


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The table's columns; rivals only when they were measured."""
    columns = [
        Column(heading="workload", cell=lambda row: row.workload.name),
        Column(heading="fits", cell=lambda row: f"{row.candidates:,} × {row.folds}"),
        Column(heading="scikit-learn, s", cell=lambda row: _seconds(row.stock)),
        Column(heading="tuningjob, s", cell=lambda row: _seconds(row.ours)),
        Column(heading="ratio", cell=lambda row: _number(row.ratio), ratio=lambda row: row.ratio),
        Column(heading="oracle", cell=lambda row: _number(row.oracle), ratio=lambda row: row.oracle),
        Column(heading="exact", cell=lambda row: "no" if row.problems else "yes"),
        Column(heading="MiB", cell=lambda row: f"{_mebibytes(row.stock)} / {_mebibytes(row.ours)}"),
    ]
    return columns + [_rival_column(heading) for heading in (rows[0].rivals if rows else ())]


def _rival_column(heading: str) -> Column:
    def ratio(row: Row) -> float | None:
        return row.ratio_to(row.rivals[heading])

    def cell(row: Row) -> str:
        rival = row.rivals[heading]
        if rival.failure:
            return "fails"
        return _number(ratio(row)) + (" ≠" if rival.differences else "")

    return Column(heading=heading, cell=cell, ratio=ratio)


def _cells(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[list[list[str]], list[str]]:
    """The rows' cells, and the last line: the geometric mean of each column of ratios."""
    last = []
    for column in columns:
        ratios = [ratio for row in rows if column.ratio and (ratio := column.ratio(row)) is not None]
        last.append(_number(geometric_mean(ratios)) if ratios else "")
    last[0] = "geometric mean"
    return [[column.cell(row) for column in columns] for row in rows], last


def terminal_table(rows: Sequence[Row]) -> Table:
    """The table for a console."""
    columns = columns_of(rows)
    body, last = _cells(rows, columns)
    table = Table(show_footer=True)
    for index, column in enumerate(columns):
        table.add_column(column.heading, footer=last[index], justify="right" if index else "left")
    for cells in body:
        table.add_row(*cells)
    return table


def summary_lines(rows: Sequence[Row], *, missing: Sequence[str]) -> list[str]:
    """The ratio's means and minimum, and each workload that failed, differed or is missing."""
    ratios = {row.workload.name: ratio for row in rows if (ratio := row.ratio) is not None}
    first_14 = [
        ratios[row.workload.name] for row in rows if row.workload.is_of_the_first_14 and row.workload.name in ratios
    ]
    lines = []
    if ratios:
        least = min(ratios, key=lambda name: ratios[name])
        lines.append(
            f"Geometric mean of the ratio over {len(ratios)} workloads: {_number(geometric_mean(ratios.values()))}."
        )
        lines.append(f"Least: {_number(ratios[least])} ({least}).")
    if first_14:
        mean, least_ratio = _number(geometric_mean(first_14)), _number(min(first_14))
        lines.append(f"Over the prototype's {len(first_14)} workloads: geometric mean {mean}, least {least_ratio}.")
    problems = [problem for row in rows for problem in row.problems]
    lines += problems or ["Every result of tuningjob was equal to scikit-learn's to the bit."]
    lines += [
        f"{row.workload.name}: {heading} fails: {timing.failure}"
        for row in rows
        for heading, timing in row.rivals.items()
        if timing.failure
    ]
    return lines + [f"{environment} is not installed: python -m benchmarks.rivals" for environment in missing]


def markdown(rows: Sequence[Row], *, date: str | None, repeat: int, repeat_rivals: int, missing: Sequence[str]) -> str:
    """The page of results."""
    columns = columns_of(rows)
    body, last = _cells(rows, columns)
    table = [
        [column.heading for column in columns],
        ["---"] + ["---:"] * (len(columns) - 1),
        *body,
        [f"**{cell}**" if cell else "" for cell in last],
    ]
    again = f"python -m benchmarks.rivals && python -m benchmarks.engine --repeat {repeat}"
    parts = [
        "# The evaluation engine against scikit-learn's search",
        f"Made by `{again}`{f' on {date}' if date else ''}; do not edit.",
        f"Machine: {machine()}.",
        "\n".join(f"| {' | '.join(cells)} |" for cells in table),
        "\n".join(f"- {line}" for line in summary_lines(rows, missing=missing)),
        _HOW + f"Medians of {repeat}, rivals' of {repeat_rivals}.",
        _MEANING,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def machine() -> str:
    """What the seconds, and the bits, depend on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "joblib", "numpy", "scipy", "pandas"))
    python = f"Python {platform.python_version()}"
    return f"{_cpu_model()}, {os.cpu_count()} cores, {python}, {libraries}, {N_JOBS} processes of one thread"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _seconds(timing: Timing) -> str:
    if timing.failure:
        return "fails"
    if timing.median_seconds is None:
        return _NONE
    return f"{timing.median_seconds:.2f} [{min(timing.wall_seconds):.2f}–{max(timing.wall_seconds):.2f}]"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _mebibytes(timing: Timing) -> str:
    return f"{timing.peak_bytes / 2**20:.0f}" if timing.peak_bytes else _NONE
