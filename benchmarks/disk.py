"""What a cell takes on the journal's disk: `python -m benchmarks.disk`, from the repository's root. A minute.

The journal itself, on SQLite and on a real Postgres: searches with one metric and with four, with and without train scores, whose
cells all succeed. What is told of a cell is what the engine tells: scores as Python's random numbers, times, an identity.
"""

import random
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from benchmarks.journal import console, databases
from tests.journal.makers import a_preflight, a_search
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, CellResult
from tuningjob.protocol.requests import ClaimRequest, Report

_RESULTS: Final = Path(__file__).parent / "results" / "disk.md"
_SPLITS: Final = 5
_DRAW: Final = random.Random(12)


@dataclass(frozen=True)
class Kind:
    """What the cells of a search are told with."""

    name: str
    metrics: int
    with_train: bool


_KINDS: Final = (
    Kind("one metric", 1, with_train=False),
    Kind("one metric, train scores", 1, with_train=True),
    Kind("four metrics", 4, with_train=False),
)


def result_of(cell: Cell, kind: Kind) -> CellResult:
    """A cell that was fitted."""
    scores = {f"metric_{number}" if kind.metrics > 1 else "score": _DRAW.random() for number in range(kind.metrics)}
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores=scores,
        train_scores={name: _DRAW.random() for name in scores} if kind.with_train else None,
        fit_seconds=_DRAW.random(),
        score_seconds=_DRAW.random(),
        test_samples=114,
        identity=f"{_DRAW.getrandbits(128):032x}",
    )


def fill(journal: SqlJournal, kind: Kind, cells: int) -> None:
    """One search with so many cells, all of them reported."""
    search = f"search-{kind.name}"
    journal.open_search(a_search(search, candidates=cells // _SPLITS, splits=_SPLITS, pods=1))
    view = journal.view(search)
    view.set_preflight(a_preflight())
    done = 0
    while done < cells:
        unit = view.claim(ClaimRequest(index=0, slots=1, holding=set())).unit
        assert unit is not None, "nothing is left, but not all was reported"
        view.report(Report(index=0, results=[result_of(cell, kind) for cell in unit.cells]))
        done += len(unit.cells)


@contextmanager
def opened(url: str) -> Iterator[SqlJournal]:
    """The journal of a database, which is closed at the end: SQLite's log is in its file then."""
    with closing(SqlJournal(url)) as journal:
        yield journal


def bytes_of(url: str) -> int:
    """What the database takes."""
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///")).stat().st_size
    import psycopg  # noqa: PLC0415  an extra, and for Postgres alone

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return int(found[0])


@click.command()
@click.option("--cells", default=50_000, show_default=True, help="Of each search.")
@click.option("--date", default="", help="The date to write there.")
def main(*, cells: int, date: str) -> None:
    """Measure, and write the page."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder), ("SQLite", "Postgres")) as urls:
        for name, url in urls.items():
            for kind in _KINDS:
                with opened(url):
                    before = bytes_of(url)
                with opened(url) as journal:
                    fill(journal, kind, cells)
                each = (bytes_of(url) - before) / cells
                console.print(f"{name}, {kind.name}: {each:.0f} bytes a cell")
                rows.append(f"| {name} | {kind.name} | {each:.0f} | {each * 1e6 / 2**20:,.0f} MiB |")
    when = f" on {date}" if date else ""
    _RESULTS.write_text(
        f"""# What a search takes on disk

Written by `python -m benchmarks.disk`{when}: searches of {cells:,} cells (a candidate on a fold), all of which
succeed.

| database | cells with | bytes a cell | a million cells |
|---|---|---:|---:|
"""
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    main()
