"""A purge of any size, in slices: what was deleted goes, the others stay, and nobody who writes waits for long."""

import sqlite3
import statistics
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.journal.conftest import OpenJournal
from tests.journal.makers import Clock, Pod, a_search
from tuningjob.journal.purge import Purge
from tuningjob.journal.sql import SqlJournal


def fill(journal: SqlJournal, search: str, count: int) -> None:
    """Cells, as many as it takes a day to fit."""
    rows = (
        "INSERT INTO cells (search_id, ordinal, result, reported_by, reported_at, reports, identity) "
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count) "
        "SELECT :search, i, :result, 0, CURRENT_TIMESTAMP, 1, printf FROM (SELECT i, 'x' || i AS printf FROM n) AS many"
    )
    with journal._database.writing() as connection:
        connection.execute(text(rows), {"count": count, "search": search, "result": "x" * 350})


@pytest.fixture
def old(journal: SqlJournal, clock: Clock) -> SqlJournal:
    """search-old has 5,000 cells and was deleted; search-a is at work."""
    for search in ("search-old", "search-a"):
        journal.open_search(a_search(search, candidates=5_000, splits=1))
    fill(journal, "search-old", 5_000)
    journal.delete("search-old")
    clock.pass_time(days=1)
    Pod(journal.view("search-a")).finish(Pod(journal.view("search-a")).must_claim())
    return journal


def test_what_was_deleted_goes_and_the_others_stay(old: SqlJournal, clock: Clock) -> None:
    before = old.progress("search-a")
    assert old.purge(clock.now) == 1
    with old._database.reading() as connection:
        left = connection.execute(text("SELECT DISTINCT search_id FROM cells")).scalars().all()
        assert left == ["search-a"]
        assert connection.execute(text("SELECT count(*) FROM searches")).scalar() == 1
    assert old.progress("search-a") == before
    assert old.purge(clock.now) == 0


def test_it_is_cut_into_slices_with_a_pause_as_long_as_each(old: SqlJournal, clock: Clock) -> None:
    now = 0.0
    pauses: list[float] = []

    def look() -> float:
        nonlocal now
        now += 0.15
        return now

    Purge(old._database, clock=look, sleep=pauses.append).run(clock.now)
    # slow ones: 1,000 cells, then 500, 250, 125, and never less than 100
    assert len(pauses) > 20
    assert pauses == [pytest.approx(0.15)] * len(pauses)


def test_a_search_that_is_opened_again_meanwhile_is_left_alone(old: SqlJournal, clock: Clock) -> None:
    def open_again(_seconds: float) -> None:
        old.open_search(a_search("search-old", candidates=5_000, splits=1))
        Pod(old.view("search-old")).finish(Pod(old.view("search-old")).must_claim())

    Purge(old._database, sleep=open_again).run(clock.now)
    assert old.progress("search-old").done > 0


@pytest.mark.slow
def test_a_neighbour_writes_between_the_slices_and_the_log_stays_small(
    sqlite_file: Path, open_journal: OpenJournal, clock: Clock
) -> None:
    service = open_journal(f"sqlite:///{sqlite_file}")
    for search in ("search-old", "search-a"):
        service.open_search(a_search(search, candidates=10_000_000))
    fill(service, "search-old", 300_000)
    service.delete("search-old")
    with closing(sqlite3.connect(sqlite_file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    clock.pass_time(days=1)
    operator = SqlJournal(f"sqlite:///{sqlite_file}", clock=clock)  # another process, to SQLite
    purging = threading.Thread(target=operator.purge, args=(clock.now,))
    worker, log = Pod(service.view("search-a")), 0

    def wait_of_a_claim() -> float:
        begun = time.monotonic()
        worker.must_claim()
        return time.monotonic() - begun

    # what this machine takes anyway, when it is busy
    calm = statistics.quantiles([wait_of_a_claim() for _ in range(20)], n=20)[-1]
    waits: list[float] = []
    purging.start()
    while purging.is_alive() and len(waits) < 5_000:
        purging.join(0.01)  # as a pod that evaluates something between two claims
        waits.append(wait_of_a_claim())
        log = max(log, sqlite_file.with_name("tuning.db-wal").stat().st_size)
    purging.join()
    operator.close()
    assert len(waits) > 20
    assert statistics.quantiles(waits, n=20)[-1] < 0.2 + 10 * calm
    assert log < 64 * 2**20
    assert service.progress("search-a").deaths == 0
