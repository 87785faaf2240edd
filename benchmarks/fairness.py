"""A neighbour's storm, and what a quiet search sees of it: `python -m benchmarks.fairness`, from the repository's root.

The real service in a process of its own, on SQLite and on a real Postgres. One namespace is quiet: a claim and a report of 64
cells twenty times a second. The other has ten searches with eight pods each, all of which report 1,000 cells at a time, and
claim, as fast as they can.
"""

import os
import platform
import secrets
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

import click

from benchmarks.journal import Load, Reporter, Service, console, databases, open_search, quantile
from tuningjob.journal.sql import SqlJournal

_RESULTS = Path(__file__).parent / "results" / "fairness.md"
_SEARCHES, _PODS, _CELLS = 10, 8, 1_000
_PAUSE = 0.05
_LEAST = 5  # rounds
_processes = get_context("fork")


@dataclass(frozen=True)
class Row:
    """What the quiet search saw, alone or with the neighbour."""

    database: str
    neighbour: str
    claims: tuple[float, ...]
    reports: tuple[float, ...]
    cells_per_second: float


def quiet(service: Service, search: str, seconds: float, told: "SimpleQueue[Load]") -> None:
    """One pod, as most are: it waits for others."""
    load = Load()
    reporter = Reporter(service, search, 0, until=0, load=load)
    reporter.report(reporter.claim()[:64])
    load.claims.clear()
    load.reports.clear()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(load.claims) < _LEAST:
        reporter.report(reporter.claim()[:64])
        time.sleep(_PAUSE)
    told.put(load)


def storm(service: Service, search: str, is_over: Event, told: "SimpleQueue[Load]") -> None:
    """The pods of one search, each a thread with a connection of its own."""
    load = Load()

    def run(index: int) -> None:
        reporter = Reporter(service, search, index, until=0, load=load)
        known: list[dict[str, int]] = []
        while not is_over.is_set():
            known = [*known, *reporter.claim()][-_CELLS:]
            if known:
                reporter.report((known * (_CELLS // len(known) + 1))[:_CELLS])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(_PODS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(load)


def measure(service: Service, journal: SqlJournal, database: str, seconds: float, *, neighbours: int) -> Row:
    """The quiet search, beside so many others of one other namespace."""
    told: SimpleQueue[Load] = _processes.SimpleQueue()
    loads: SimpleQueue[Load] = _processes.SimpleQueue()
    searches = [open_search(journal, "10^6", namespace="loud") for _ in range(neighbours)]
    mine = open_search(journal, "10^6", namespace="quiet")
    is_over, began = _processes.Event(), time.perf_counter()
    others = [_processes.Process(target=storm, args=(service, search, is_over, loads)) for search in searches]
    for each in others:
        each.start()
    time.sleep(1)
    one = _processes.Process(target=quiet, args=(service, mine, seconds, told))
    one.start()
    load = told.get()
    is_over.set()
    cells = sum(loads.get().cells for _ in others)
    for each in (*others, one):
        each.join()
    if load.errors:
        raise SystemExit(f"the quiet search was refused {load.errors} times")
    return Row(
        database=database,
        neighbour=f"{neighbours} searches, {neighbours * _PODS} pods" if neighbours else "none",
        claims=tuple(quantile(load.claims, q) for q in (0.5, 0.99)),
        reports=tuple(quantile(load.reports, q) for q in (0.5, 0.99)),
        cells_per_second=cells / (time.perf_counter() - began),
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=15.0, show_default=True, help="Of each measurement.")
@click.option("--database", "names", multiple=True, default=("SQLite", "Postgres"), show_default=True)
@click.option("--write/--no-write", default=True, help=f"Write benchmarks/results/{_RESULTS.name}.")
@click.option("--date", default="", help="The date to write there.")
def main(*, seconds: float, names: tuple[str, ...], write: bool, date: str) -> None:
    """Measure a quiet search alone, and beside a storm."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-fairness-"))
    rows: list[Row] = []
    try:
        with databases(folder, names) as urls:
            for name, url in urls.items():
                data = folder / f"data-{secrets.token_hex(4)}"
                data.mkdir()
                service = Service(data, url)
                try:
                    service.wait()
                    journal = SqlJournal(url)
                    rows += [measure(service, journal, name, seconds, neighbours=n) for n in (0, _SEARCHES)]
                    journal.close()
                    console.print(f"{name}: {service.resident_bytes / 2**20:.0f} MiB at the most")
                finally:
                    service.end()
    finally:
        shutil.rmtree(folder)
    page = _page(rows, seconds, date)
    console.print(page)
    if write:
        _RESULTS.write_text(page)


def _page(rows: list[Row], seconds: float, date: str) -> str:
    headings = (
        "database",
        "neighbour",
        "claim p50 ms",
        "claim p99 ms",
        "report p50 ms",
        "report p99 ms",
        "neighbour's cells/s",
    )
    how = (
        f"Written by `python -m benchmarks.fairness`{f' on {date}' if date else ''}: {os.cpu_count()} CPUs "
        f"({platform.machine()}), which all pods and Postgres share with the service; {seconds:.0f} s each. The quiet search "
        f"claims a unit and reports 64 cells every {_PAUSE} s. Each of the neighbour's pods reports {_CELLS:,} cells at a time, "
        "and claims, without a pause."
    )
    lines = ["# A quiet search beside a storm", "", how, "", f"| {' | '.join(headings)} |", f"|---|---|{'---:|' * 5}"]
    for row in rows:
        times = (f"{1e3 * each:.1f}" for each in (*row.claims, *row.reports))
        lines.append(f"| {' | '.join((row.database, row.neighbour, *times, f'{row.cells_per_second:,.0f}'))} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
