"""What pages that watch cost the results service: `python -m benchmarks.pages`, from the repository's root: two minutes.

The service in a process of its own, on SQLite; a search of 10,000 fits that runs, with a map of its 2,000 candidates, of which
another process reports 20 a second to its journal; and first no page, then 50 that hold a stream of that search open, over the
network of this machine.
"""

import asyncio
import json
import multiprocessing
import os
import platform
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import click
import httpx

from tests.journal.makers import Pod, a_preflight, a_search
from tests.service.server import Service

_RESULTS: Final = Path(__file__).parent / "results" / "pages.md"
_PAGES: Final = 50
_SECONDS: Final = 30.0
# of 2,000 candidates, so that the page has a map
_SPEC: Final = {
    "estimator": {"class": "sklearn.svm.SVC"},
    "search": {"grid": {"parameters": {"C": list(range(1, 101)), "gamma": {"logspace": [-4, 1, 20]}}}},
    "data": {"loader": "sklearn.datasets.load_digits"},
}
_PATH: Final = "/v1/namespaces/team/ui/searches/running/stream"


def serve(folder: Path, told: Connection) -> None:
    """In a process of its own, until it is told to end."""
    service = Service(folder)
    service.start()
    told.send((os.getpid(), service.url, service.register.enter("ada", "get")))
    told.recv()
    service.close()


def spent_seconds(pid: int) -> float:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


async def watch(url: str, token: str, pages: int, seconds: float) -> int:
    """Hold so many streams open; how many bytes came."""
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=90
    ) as http:

        async def one() -> int:
            size, until = 0, time.monotonic() + seconds
            while time.monotonic() < until:  # a stream ends after a while, and a browser comes again
                async with http.stream("GET", _PATH) as answer:
                    assert answer.status_code == 200
                    async for block in answer.aiter_bytes():
                        size += len(block)
                        if time.monotonic() > until:
                            break
            return size

        if not pages:
            await asyncio.sleep(seconds)
        return sum(await asyncio.gather(*(one() for _ in range(pages))))


async def measured(pid: int, url: str, token: str, pod: Pod, pages: int) -> dict[str, float]:
    """CPU, memory and traffic of so many pages, while fits come in."""
    watching = asyncio.create_task(watch(url, token, pages, _SECONDS))
    await asyncio.sleep(3)
    before, began = spent_seconds(pid), time.monotonic()
    while not watching.done():
        for cell in pod.must_claim().cells:
            if watching.done():
                break
            pod.report(cell)
            await asyncio.sleep(0.05)
    taken = time.monotonic() - began
    size = await watching
    return {
        "pages": pages,
        "cores": (spent_seconds(pid) - before) / taken,
        "mib": resident_mib(pid),
        "kib_per_page_second": size / 1024 / max(1, pages) / _SECONDS,
    }


@click.command()
def main() -> None:
    """Measure, and write the result."""
    with tempfile.TemporaryDirectory() as place:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(Path(place), theirs))
        process.start()
        pid, url, token = ours.recv()
        journal = Service(Path(place)).journal
        journal.open_search(a_search("running", candidates=2_000, spec=_SPEC))
        view = journal.view("running")
        view.set_preflight(a_preflight())
        found = [asyncio.run(measured(pid, url, token, Pod(view), pages)) for pages in (0, _PAGES)]
        ours.send("end")
        process.join()
        journal.close()
    for each in found:
        click.echo(json.dumps(each))
    none, many = found
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite"
    columns = ("pages", "cores", "mib", "kib_per_page_second")
    rows = "".join(f"| {' | '.join(f'{each[name]:.3g}' for name in columns)} |\n" for each in found)
    cores, mib = many["cores"] - none["cores"], many["mib"] - none["mib"]
    _RESULTS.write_text(
        "# Pages that watch a search\n\n"
        f"`python -m benchmarks.pages`, {where}; a search with 20 fits a second, {_SECONDS:.0f} s each.\n\n"
        "| pages | cores | memory in MiB | KiB a second to each page |\n|---:|---:|---:|---:|\n"
        f"{rows}\n50 pages cost {cores:.3f} of a core and {mib:.0f} MiB. Each look at the journal is made once for all of them,\n"
        "every two seconds, and a part that has not changed is not sent again.\n"
    )


if __name__ == "__main__":
    main()
