"""The operator's memory by the number of TuningJobs: `python -m benchmarks.memory`, from the repository's root: some minutes.

The real operator, with its own dependencies alone, on a real API server without nodes. A tenant creates more and more TuningJobs,
each with a manifest of 5 KiB that does not compress, which is more than any example has. At each number the operator is started,
and started again: it must stay within its container's memory, whatever there is.
"""

import http.client
import itertools
import json
import platform
import random
import ssl
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from benchmarks.fleet import OPERATOR_PYTHON
from tests.operator.process import LIMIT_BYTES, OperatorProcess, prepare, running
from tests.servers import apiserver
from tests.servers.apiserver import ADMIN, ApiServer

_ROOT: Final = Path(__file__).parents[1]
_RESULTS: Final = Path(__file__).parent / "results" / "memory.md"
_NAMESPACES: Final = ("evil", "evil-2", "evil-3", "evil-4", "evil-5")
_STEPS: Final = (0, 10, 100, 1_000, 5_000, 20_000)
_CLIENTS: Final = 8
_WORK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Found:
    """Of one number of TuningJobs."""

    tuningjobs: int
    seconds: float  # until it had seen all of them
    first: int  # bytes, at the most
    again: int  # likewise, of a process that finds them all
    steady: int


def manifest(name: str, *, kib: int = 5) -> bytes:
    """One of so many KiB, of letters that are drawn."""
    words = "".join(random.Random(name).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=kib * 1_024))
    values = [words[at : at + 100] for at in range(0, len(words), 100)]
    spec = {
        "estimator": {"class": "sklearn.tree.DecisionTreeClassifier"},
        "search": {"grid": {"parameters": {"criterion": values}}},
        "data": {"loader": "sklearn.datasets.load_iris"},
    }
    body = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": name}, "spec": spec}
    return json.dumps(body).encode()


def create(
    server: ApiServer, numbers: Iterable[int], *, kib: int = 5, namespaces: tuple[str, ...] = _NAMESPACES
) -> None:
    """These TuningJobs, by several clients at once."""
    shared, context = iter(numbers), ssl.create_default_context(cafile=str(server.ca_file))
    headers = {"Authorization": f"Bearer {server.token_of(ADMIN)}", "Content-Type": "application/json"}

    def work(mine: Iterator[int]) -> None:
        connection = http.client.HTTPSConnection(server.url.removeprefix("https://"), timeout=60, context=context)
        for number in mine:
            path = f"/apis/tuningjob.dev/v1alpha1/namespaces/{namespaces[number % len(namespaces)]}/tuningjobs"
            connection.request("POST", path, manifest(f"job-{number:06}", kib=kib), headers)
            response = connection.getresponse()
            told = response.read()
            if response.status != http.client.CREATED:
                raise click.ClickException(f"{response.status}: {told[:500]!r}")
        connection.close()

    all_numbers = list(shared)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(work, [iter(all_numbers[first::_CLIENTS]) for first in range(_CLIENTS)]))


def starts(process: OperatorProcess) -> int:
    """How often an operator of this volume has said that it had seen everything; the log outlives each of them."""
    return sum(line["message"] == "started" for line in process.lines()) if process.log.exists() else 0


def settled(process: OperatorProcess, *, starts_before: int) -> float:
    """Wait until it has seen all that is there, and has worked for a minute; returns after how many seconds it had seen it."""
    began, seen = time.monotonic(), 0.0
    while not seen or time.monotonic() - began < seen + _WORK_SECONDS:
        if process.exit_code is not None:
            raise click.ClickException(f"the operator ended: {process.log.read_text()[-2_000:]}")
        if not seen and starts(process) > starts_before:
            seen = time.monotonic() - began
        time.sleep(0.5)
    return seen


def measure(server: ApiServer, folder: Path, many: int) -> Found:
    """With so many there: a first life, and a second one."""
    lives: list[tuple[float, int, int]] = []
    log = OperatorProcess(server, folder, "operator")
    for _ in range(2):
        before = starts(log)
        with running(server, folder, "operator", OPERATOR_PYTHON) as process:
            seconds = settled(process, starts_before=before)
            lives.append((seconds, process.peak_bytes, process.resident_bytes))
    return Found(many, lives[0][0], lives[0][1], lives[1][1], lives[1][2])


def table(found: Iterable[Found], date: str) -> str:
    """The page."""
    rows = "\n".join(
        f"| {each.tuningjobs:,} | {each.first >> 20} MiB | {each.again >> 20} MiB | {each.steady >> 20} MiB "
        f"| {each.seconds:.0f} s |"
        for each in found
    )
    return f"""# The operator's memory

Written by `python -m benchmarks.memory` on {date}: the operator as a process of its own with its own dependencies, on a real API
server, on 2 CPUs ({platform.machine()}). TuningJobs of five namespaces, whose manifests have 5 KiB that do not compress, none of
which ends; the chart's default limits, by which 1,000 of a namespace and 4,000 in all are looked after. Its container has
{LIMIT_BYTES >> 20} MiB.

| TuningJobs | memory at the most | after a restart | a minute later | started after |
|---:|---:|---:|---:|---:|
{rows}
"""


@click.command()
@click.option("--date", required=True)
@click.option("--most", default=_STEPS[-1], help="of TuningJobs")
def main(date: str, most: int) -> None:
    """Measure, and write the page."""
    if not OPERATOR_PYTHON.exists():
        raise click.ClickException("the operator's own environment is not there: make bench-operator makes it")
    found: list[Found] = []
    with apiserver.running("operator") as server, tempfile.TemporaryDirectory() as folder:
        prepare(server, *_NAMESPACES)
        for before, many in itertools.pairwise((0, *(step for step in _STEPS if step <= most))):
            create(server, range(before, many))
            found.append(measure(server, Path(folder), many))
            click.echo(found[-1])
    _RESULTS.write_text(table(found, date))


if __name__ == "__main__":
    main()
