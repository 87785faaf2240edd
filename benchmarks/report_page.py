"""How long a report takes and how large it is, by the candidates of its search: `python -m benchmarks.report_page`."""

import os
import platform
import time
from pathlib import Path
from typing import Final

import click

from tests.report.tables import drawn
from tuningjob.report.judged import judge
from tuningjob.report.page import Provenance, render_page

_RESULTS: Final = Path(__file__).parent / "results" / "report-page.md"
_SIZES: Final = (100, 20_000, 200_000)


def _row(candidates: int) -> str:
    table = drawn(candidates)
    began = time.perf_counter()
    page = render_page(judge(table), Provenance("0.1.0", [], "estimator: {}"))
    seconds = time.perf_counter() - began
    return f"| {candidates:,} | {seconds:.2f} | {len(page.encode()) / 1e6:.2f} |"


@click.command()
@click.option("--date", required=True, help="Of the measurement.")
def main(date: str) -> None:
    """Measure, and write benchmarks/results/report-page.md."""
    text = [
        "# A report by the candidates of its search",
        "",
        (
            f"{date}, `python -m benchmarks.report_page`, {os.cpu_count()} cores, Python {platform.python_version()}: three "
            "parameters that were drawn at random, and three splits. Seconds to judge the table and to write the page."
        ),
        "",
        "| candidates | seconds | MB |",
        "|---:|---:|---:|",
        *(_row(candidates) for candidates in _SIZES),
    ]
    _RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
    click.echo("\n".join(text))


if __name__ == "__main__":
    main()
