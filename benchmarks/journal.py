"""The results service under load: `python -m benchmarks.journal`, from the repository's root.

The real service in a process of its own, on SQLite and on a real Postgres; 16 reporters, each a completion index, that claim
units and report their cells in batches of 64 as workers do, over HTTP, for some seconds each. What is measured is what a
worker sees. Searches of 10^3, 10^5 and 10^6 candidates, 5 splits.
"""

import http.client
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tests.servers import postgres
from tuningjob.journal.records import NewSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Axis, Block, Preflight
from tuningjob_operator import tokens

_RESULTS = Path(__file__).parent / "results" / "journal.md"
_SPLITS = 5
_BATCH = 64
_REPORTERS = 16
_HELD = 1_000  # what a claim may name
_CALM_SECONDS = 0.8  # 16 reporters: 20 claims a second, and 1,280 cells
_LOCK = threading.Lock()
_SIZES = {"10^3": (10, 10, 10), "10^5": (10, 100, 100), "10^6": (100, 100, 100)}

console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@dataclass
class Load:
    """What the reporters of one search saw, seconds each."""

    claims: list[float] = field(default_factory=list)
    reports: list[float] = field(default_factory=list)
    cells: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Row:
    database: str
    size: str
    cells_per_second: float
    claims_per_second: float
    claim_p50: float
    claim_p99: float
    report_p99: float
    first_claim: float
    resident: int


class Service:
    """The service as its container starts it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._folder = folder
        environment = {
            **os.environ,
            "TUNINGJOB_DATA_DIR": str(folder),
            "TUNINGJOB_DATABASE_URL": database_url,
            "TUNINGJOB_RESULTS_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "tuningjob_operator.service"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.ask("GET", "/readyz", "")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the service did not become ready within a minute")

    def token(self, search: str) -> str:
        key = tokens.read_keys(None, self._folder / "signing.key")
        return tokens.issue(key, search)

    def ask(self, method: str, path: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @property
    def resident_bytes(self) -> int:
        """The most that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Reporter:
    """One completion index: a connection that is kept, claims and batches until it is told to stop."""

    def __init__(self, service: Service, search: str, index: int, *, until: float, load: Load) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {service.token(search)}", "Content-Type": "application/json"}
        self._index = index
        self._until = until
        self._load = load
        self._holding: list[int] = []

    def run(self) -> None:
        """Claim and report until the time is over or nothing is left."""
        while time.perf_counter() < self._until and (cells := self.claim()):
            for start in range(0, len(cells), _BATCH):
                self.report(cells[start : start + _BATCH])
                if time.perf_counter() >= self._until:
                    break

    def run_calmly(self) -> None:
        """As a worker whose fits take their time: a request then waits for the service, not in the queue."""
        time.sleep(_CALM_SECONDS * self._index / _REPORTERS)
        self.report(self.claim()[:_BATCH])
        # the first ones, of connections and processes that have just begun, are a number of their own
        self._load.claims.clear()
        self._load.reports.clear()
        time.sleep(_CALM_SECONDS)
        while time.perf_counter() < self._until and (cells := self.claim()):
            self.report(cells[:_BATCH])
            time.sleep(_CALM_SECONDS)

    def claim(self) -> list[dict[str, int]]:
        """The cells of the next unit."""
        body = {"index": self._index, "slots": 4, "claimant": f"pod-{self._index}", "holding": self._holding}
        claim, seconds = self._ask("/v1/claims", body)
        with _LOCK:
            self._load.claims.append(seconds)
        unit = claim.get("unit")
        if unit is None:
            return []
        self._holding = [*self._holding, unit["id"]][-_HELD:]
        cells: list[dict[str, int]] = unit["cells"]
        return cells

    def report(self, cells: list[dict[str, int]]) -> None:
        """All of them in one request."""
        results = [result_of(cell) for cell in cells]
        answer, seconds = self._ask("/v1/cells", {"index": self._index, "results": results})
        with _LOCK:
            self._load.reports.append(seconds)
            self._load.cells += answer.get("new", 0)
            self._load.errors += not answer

    def _ask(self, path: str, body: object) -> tuple[dict[str, Any], float]:
        text = json.dumps(body).encode()
        started = time.perf_counter()
        self._connection.request("POST", path, text, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        seconds = time.perf_counter() - started
        if response.status != 200:
            console.print(path, response.status, answer[:300].decode())
            return {}, seconds
        return json.loads(answer), seconds


def result_of(cell: dict[str, int]) -> dict[str, object]:
    return {
        **cell,
        "test_scores": {"score": 0.5 + cell["candidate"] % 1000 / 2000},
        "fit_seconds": 0.01,
        "score_seconds": 0.001,
        "test_samples": 100,
        "identity": f"{cell['candidate']:016x}{cell['split']:016x}",
    }


def measure(service: Service, journal: SqlJournal, name: str, size: str, seconds: float) -> Row:
    """Two searches of a size: one whose reporters want all they can get, one whose reporters are calm."""
    search = open_search(journal, size)
    started = time.perf_counter()
    Reporter(service, search, 0, until=started, load=Load()).claim()
    first_claim = time.perf_counter() - started
    # before the database has a backlog of its own, of pages to write and rows to vacuum
    calm = _calm_load(service, open_search(journal, size), seconds)
    busy, took = _load(service, journal, search, seconds, Reporter.run)
    return Row(
        database=name,
        size=size,
        cells_per_second=busy.cells / took,
        claims_per_second=len(busy.claims) / took,
        claim_p50=quantile(calm.claims, 0.5),
        claim_p99=quantile(calm.claims, 0.99),
        report_p99=quantile(calm.reports, 0.99),
        first_claim=first_claim,
        resident=service.resident_bytes,
    )


def open_search(journal: SqlJournal, size: str, *, namespace: str = "benchmark") -> str:
    search = f"search-{secrets.token_hex(4)}"
    first, second, third = _SIZES[size]
    journal.open_search(
        NewSearch(
            id=search, namespace=namespace, name=search, model_key=search, spec={},
            candidates=first * second * third, splits=_SPLITS, pods=_REPORTERS,
        )
    )  # fmt: skip
    axes = (Axis(size=first, stride=second * third), Axis(size=second, stride=third), Axis(size=third, stride=1))
    blocks = (Block(start=0, axes=axes),)
    journal.view(search).set_preflight(Preflight(data_digest="d", samples=1, features=1, versions={}, blocks=blocks))
    return search


def _load(
    service: Service, journal: SqlJournal, search: str, seconds: float, run: Callable[[Reporter], None]
) -> tuple[Load, float]:
    """What the reporters of a search saw, and for how long they were at it. Everything acknowledged must be there."""
    load = Load()
    started = time.perf_counter()
    reporters = [Reporter(service, search, index, until=started + seconds, load=load) for index in range(_REPORTERS)]
    threads = [threading.Thread(target=run, args=(reporter,)) for reporter in reporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if load.errors or journal.progress(search).done != load.cells:
        raise SystemExit(f"{load.errors} refusals; {load.cells} acknowledged, {journal.progress(search).done} there")
    return load, took


def _calm_load(service: Service, search: str, seconds: float) -> Load:
    """Each reporter in a process of its own, as pods are: threads of one would wait for each other, and count it."""
    processes = get_context("fork")
    told = processes.SimpleQueue()

    def report(index: int, until: float) -> None:
        load = Load()
        Reporter(service, search, index, until=until, load=load).run_calmly()
        told.put(load)

    until = time.perf_counter() + seconds
    reporters = [processes.Process(target=report, args=(index, until)) for index in range(_REPORTERS)]
    for reporter in reporters:
        reporter.start()
    loads = [told.get() for _ in reporters]
    for reporter in reporters:
        reporter.join()
    return Load(
        claims=[each for load in loads for each in load.claims],
        reports=[each for load in loads for each in load.reports],
    )


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


@contextmanager
def databases(folder: Path, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        urls = {}
        if "SQLite" in names:
            urls["SQLite"] = f"sqlite:///{folder / 'tuning.db'}"
        if "Postgres" in names:
            server = stack.enter_context(postgres.running())
            urls["Postgres"] = server.url(server.create_database())
        yield urls


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=15.0, show_default=True, help="Of load on each search.")
@click.option("--database", "names", multiple=True, default=("SQLite", "Postgres"), show_default=True)
@click.option("--write/--no-write", default=True, help=f"Write benchmarks/results/{_RESULTS.name}.")
@click.option("--date", default="", help="The date to write there.")
def main(*, seconds: float, names: tuple[str, ...], write: bool, date: str) -> None:
    """Measure the results service on both databases."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-journal-"))
    rows: list[Row] = []
    try:
        with databases(folder, names) as urls:
            for name, url in urls.items():
                data = folder / f"data-{name}"
                data.mkdir()
                service = Service(data, url)
                try:
                    service.wait()
                    journal = SqlJournal(url)
                    rows += [measure(service, journal, name, size, seconds) for size in _SIZES]
                    journal.close()
                finally:
                    service.end()
    finally:
        shutil.rmtree(folder)
    _show(rows)
    if write:
        _RESULTS.write_text(_page(rows, seconds, date))


_HEADINGS = (
    "database", "candidates", "cells/s", "claims/s", "claim p50 ms", "claim p99 ms", "report p99 ms", "first claim ms",
    "service MiB",
)  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.database,
        row.size,
        f"{row.cells_per_second:,.0f}",
        f"{row.claims_per_second:,.1f}",
        *(f"{1e3 * value:.1f}" for value in (row.claim_p50, row.claim_p99, row.report_p99, row.first_claim)),
        f"{row.resident / 2**20:.0f}",
    )


def _show(rows: list[Row]) -> None:
    table = Table(*_HEADINGS)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _page(rows: list[Row], seconds: float, date: str) -> str:
    when = f" on {date}" if date else ""
    how = (
        f"Written by `python -m benchmarks.journal`{when}: {_REPORTERS} reporters over HTTP, batches of {_BATCH} cells, "
        f"{_SPLITS} splits, {os.cpu_count()} CPUs ({platform.machine()}), which the reporters and Postgres share with the "
        f"service. Throughput: all of them want all they can get, for {seconds:.0f} s; every acknowledged cell was looked "
        f"for afterwards. Latencies: as long again, each in a process of its own, which claims a unit and reports a batch "
        f"every {_CALM_SECONDS} s, the first of each not counted."
    )
    lines = [
        "# The results service under load",
        "",
        how,
        "",
        f"| {' | '.join(_HEADINGS)} |",
        f"|---|---|{'---:|' * (len(_HEADINGS) - 2)}",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
