"""``python -m benchmarks.public_grids``: grids as people published them, our search against scikit-learn's.

Exit code 1 when a result was not scikit-learn's to the bit.
"""

import re
import sys
from pathlib import Path
from typing import Final

import click

from benchmarks.public_grids.grids import read
from benchmarks.public_grids.page import cells_of, markdown, summary
from benchmarks.public_grids.rows import measure, read_rows, write_rows
from benchmarks.public_grids.sides import SIDES, STOCK
from benchmarks.report import machine

_RESULTS: Final = Path(__file__).parents[1] / "results"
_PAGE: Final = _RESULTS / "public-grids.md"
_ROWS: Final = _RESULTS / "public-grids.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", metavar="PATTERN", default="", help="Grids whose number and name this regular expression finds."
)
@click.option(
    "--missing", is_flag=True, help="Go on where an earlier run ended: grids that the page has are left as they are."
)
@click.option("--repeat", type=click.IntRange(min=0), default=5, show_default=True, help="Searches after the first.")
@click.option("--limit", type=float, default=300.0, show_default=True, help="Seconds for one search.")
@click.option(
    "--side", "chosen", multiple=True, type=click.Choice(list(SIDES)[1:]), help="One of ours; all by default."
)
@click.option("--date", help="The day, for the page; without it none is written.")
def main(*, only: str, missing: bool, repeat: int, limit: float, chosen: tuple[str, ...], date: str | None) -> None:
    """Measure, hold every result to scikit-learn's bits, and write results/public-grids.md after each grid."""
    if date and chosen:
        raise click.UsageError("--date must be without --side, because the page has all of them.")
    grids, rows, measured = read(), read_rows(_ROWS), []
    for grid in grids:
        if not re.search(only, f"{grid.number} {grid.name}", re.IGNORECASE) or (missing and grid.number in rows):
            continue
        sides = [STOCK, *(chosen or list(SIDES)[1:])]
        row = measure(grid, repeat=repeat, limit=limit, sides=sides, when=f"{date}, {machine()}")
        measured.append(row)
        click.echo(f"{' · '.join(cells_of(grid, row))} {'; '.join(row.problems)}")
        if date:
            rows[grid.number] = row
            write_rows(rows, _ROWS)
            _PAGE.write_text(markdown(grids, rows), encoding="utf-8")
    for line in summary(measured):
        click.echo(line)
    sys.exit(1 if any(row.problems for row in measured) else 0)


if __name__ == "__main__":
    main()
