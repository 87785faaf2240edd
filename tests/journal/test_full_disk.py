"""On a full disk the journal loses nothing that it has acknowledged, and goes on when there is room again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.journal.makers import Pod, a_search, works
from tests.journal.refused import one_sentence
from tests.servers.missing import missing
from tests.servers.postgres import running
from tuningjob.errors import JournalError
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.protocol.records import Cell

SPLITS = 5


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own, for every user; needs the right to mount one."""
    path = Path(tempfile.mkdtemp(prefix="tuningjob-disk-"))
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"a small disk needs root, and the right to mount: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)
    finally:
        path.rmdir()


def fill(disk: Path, *, but_for: int = 0) -> Path:
    """Take all the room that is left, but for so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(file.tell() - but_for)
    return filler


def report_until_it_fails(journal: SqlJournal, acknowledged: set[Cell]) -> str:
    """Returns what was said then."""

    def report() -> None:
        pod = Pod(journal.view("search-a"))
        while (unit := pod.claim()) is not None:
            for start in range(0, len(unit.cells), 10):
                pod.report(*unit.cells[start : start + 10])
                acknowledged.update(unit.cells[start : start + 10])

    with pytest.raises(JournalError) as said:
        report()
    return one_sentence(said)


@pytest.mark.slow
def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_when_there_is_room() -> None:
    acknowledged: set[Cell] = set()
    with small_disk(megabytes=8) as disk, closing(open_sqlite(disk / "tuning.db")) as journal:
        journal.open_search(a_search(candidates=2000))
        filler = fill(disk, but_for=600_000)
        said = report_until_it_fails(journal, acknowledged)
        assert "the journal's database must answer, but got: database or disk is full" in said
        assert len(acknowledged) > 10
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged, (
            "what is there can be read"
        )
        with closing(open_sqlite(disk / "tuning.db")) as another:
            assert another.progress("search-a").done == len(acknowledged), "by another process, too"
        filler.unlink()
        pod = Pod(journal.view("search-a"))
        unit = pod.must_claim()
        assert not acknowledged & set(unit.cells)
        pod.finish(unit)
        acknowledged.update(unit.cells)
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged


def test_a_new_journal_on_a_full_disk_is_refused_and_works_once_there_is_room() -> None:
    with small_disk(megabytes=1) as disk:
        filler = fill(disk)
        with pytest.raises(JournalError, match="database or disk is full"):
            open_sqlite(disk / "tuning.db")
        filler.unlink()
        with closing(open_sqlite(disk / "tuning.db")) as journal:
            works(journal)


@pytest.mark.slow
def test_a_full_disk_under_postgres_loses_nothing_that_was_acknowledged() -> None:
    acknowledged: set[Cell] = set()
    with (
        small_disk(megabytes=160) as disk,
        running(disk / "postgres") as server,
        closing(SqlJournal(server.url(server.create_database()))) as journal,
    ):
        journal.open_search(a_search(candidates=20_000))
        filler = fill(disk, but_for=300_000)
        assert "must answer, but got: " in report_until_it_fails(journal, acknowledged)
        assert len(acknowledged) > 10
        filler.unlink()
        server.restart()
        assert {result.cell for result in journal.view("search-a").results()} == acknowledged
        pod = Pod(journal.view("search-a"))
        pod.finish(pod.must_claim())
