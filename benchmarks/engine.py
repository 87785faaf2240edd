"""Our search against scikit-learn's: `python -m benchmarks.engine`, from the repository's root.

Exit code 1 when a result was not scikit-learn's to the bit, or a search failed.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console

import benchmarks.workloads  # noqa: F401  (fills WORKLOADS)
from benchmarks import report, rivals
from benchmarks.measure import Contest, Row
from benchmarks.problem import WORKLOADS, Workload
from benchmarks.side import Side

_RESULTS = Path(__file__).parent / "results" / "engine.md"
_REPEAT_RIVALS = 1

STOCK = Side(heading="scikit-learn", kind="scikit-learn")
OURS = Side(heading="tuningjob", kind="tuningjob")
RIVALS_HERE = [
    Side(heading="contexts dropped", kind="scikit-learn without contexts"),
    Side(heading="memory=", kind="scikit-learn with Pipeline(memory=)"),
]
RIVALS_ELSEWHERE = {
    rivals.DASK_ML: [
        Side(heading="dask-ml, threads", kind="dask-ml threads", interpreter=rivals.interpreter(rivals.DASK_ML)),
        Side(heading="dask-ml, processes", kind="dask-ml processes", interpreter=rivals.interpreter(rivals.DASK_ML)),
    ],
    rivals.SKLEARN_1_8: [
        Side(heading="1.8", kind="scikit-learn", interpreter=rivals.interpreter(rivals.SKLEARN_1_8)),
    ],
}

# in a pipe or a file the table is as wide as it needs to be
console = Console(highlight=False, width=None if sys.stdout.isatty() else 300)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="PATTERN", default="", help="Workloads whose name this regular expression finds.")
@click.option("--repeat", type=click.IntRange(min=1), default=5, show_default=True, help="Repetitions of each search.")
@click.option("--rivals/--no-rivals", "with_rivals", default=True, help="Measure the rivals, too (one repetition).")
@click.option(
    "--rivals-on", metavar="PATTERN", default="", help="... on the workloads whose name this regular expression finds."
)
@click.option(
    "--write/--no-write", default=True, help="Write the page of results; with --only just where --output says."
)
@click.option("--output", type=click.Path(path_type=Path), help="The page; benchmarks/results/engine.md by default.")
@click.option("--date", help="The date to write there.")
def main(
    *, only: str, repeat: int, with_rivals: bool, rivals_on: str, write: bool, output: Path | None, date: str | None
) -> None:
    """Measure our search against scikit-learn's, and hold every result to scikit-learn's bits."""
    chosen = [workload for name, workload in WORKLOADS.items() if re.search(only, name, re.IGNORECASE)]
    if not chosen:
        raise click.BadParameter(f"finds none of: {'; '.join(WORKLOADS)}", param_hint="--only")
    missing = [name for name in RIVALS_ELSEWHERE if with_rivals and not rivals.is_installed(name)]
    sides = [*RIVALS_HERE, *(side for name, there in RIVALS_ELSEWHERE.items() if name not in missing for side in there)]
    repeat_rivals = min(repeat, _REPEAT_RIVALS)

    rows: list[Row] = []
    with Contest(stock=STOCK, ours=OURS, rivals=sides if with_rivals else []) as contest:
        for row in _measure(contest, chosen, repeat=repeat, repeat_rivals=repeat_rivals, rivals_on=rivals_on):
            rows.append(row)
            if write and (output or not only):
                # after each, so that an hour's work is not lost with the last of it
                _RESULTS.parent.mkdir(exist_ok=True)
                page = report.markdown(rows, date=date, repeat=repeat, repeat_rivals=repeat_rivals, missing=missing)
                (output or _RESULTS).write_text(page)
    console.print(report.terminal_table(rows))
    for line in report.summary_lines(rows, missing=missing):
        console.print(line, markup=False)
    sys.exit(1 if any(row.problems for row in rows) else 0)


def _measure(
    contest: Contest, workloads: Sequence[Workload], *, repeat: int, repeat_rivals: int, rivals_on: str
) -> Iterator[Row]:
    rows: list[Row] = []
    for number, workload in enumerate(workloads, start=1):
        meet = repeat_rivals if re.search(rivals_on, workload.name, re.IGNORECASE) else 0
        rows.append(contest.row(workload, repeat=repeat, repeat_rivals=meet))
        cells = [f"{column.heading} {column.cell(rows[-1])}" for column in report.columns_of(rows)[1:]]
        console.print(f"{number}/{len(workloads)} {workload.name}: {' · '.join(cells)}", markup=False)
        yield rows[-1]


if __name__ == "__main__":
    main()
