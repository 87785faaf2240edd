"""The journal's contract when many threads and processes work on it at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.journal import at_once
from tests.journal.makers import a_preflight, a_result, a_search, pod
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Axis, Block, Cell
from tuningjob.protocol.requests import ClaimRequest, Report

# --- many at once ---------------------------------------------------------------------------------------------------


def test_threads_that_claim_at_once_never_hold_one_cell(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=100, splits=5, pods=8))
    ready = threading.Barrier(8)

    def work(index: int) -> list[Cell]:
        ready.wait()
        return pod(journal, index, slots=2).work()

    with ThreadPoolExecutor(8) as pool:
        evaluated = [cell for cells in pool.map(work, range(8)) for cell in cells]
    assert len(evaluated) == len(set(evaluated)) == 500
    assert journal.report_counts("search-a") == {1: 500}


def _work(url: str, index: int, barrier: Any, evaluated: Any) -> None:
    barrier.wait()
    journal = SqlJournal(url)
    journal.open_search(a_search(candidates=40, splits=5, pods=4))
    evaluated.put(pod(journal, index, slots=2).work())
    journal.close()


@pytest.mark.slow
def test_processes_that_make_open_and_work_one_journal_at_once_fit_every_cell_once(database_url: str) -> None:
    context = at_once.processes()
    barrier, evaluated = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_work, args=(database_url, index, barrier, evaluated)) for index in range(4)]
    for worker in workers:
        worker.start()
    cells = [cell for _ in workers for cell in evaluated.get(timeout=240)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(cells) == len(set(cells)) == 200


@pytest.mark.slow
def test_sixteen_at_once_down_to_the_last_cells_never_wait_for_each_other_in_a_circle(
    journal: SqlJournal, kind: str
) -> None:
    def work(search: str, index: int) -> int:
        holding: set[int] = set()
        costs = random.Random(index)
        count = 0
        while (
            unit := journal.view(search).claim(ClaimRequest(index=index, slots=1, holding=holding)).unit
        ) is not None:
            holding.add(unit.id)
            for start in range(0, len(unit.cells), 8):
                # what is expected to take longest changes all the time, and with it where each looks first
                cells = unit.cells[start : start + 8]
                results = [a_result(cell, fit_seconds=cell.candidate * costs.random()) for cell in cells]
                count += journal.view(search).report(Report(index=index, results=results)).new
        return count

    axes = (Axis(size=10, stride=10), Axis(size=10, stride=1))
    # SQLite has one lock, so that there is no circle: once is enough to see that all get their turn
    for number in range(4 if kind == "postgres" else 1):
        search = f"search-{number}"
        journal.open_search(a_search(search, candidates=100, splits=5, pods=16))
        journal.view(search).set_preflight(a_preflight(blocks=(Block(start=0, axes=axes),)))
        with ThreadPoolExecutor(16) as pool:
            # an error of the journal, such as a deadlock that the database has found, would come out here
            assert sum(pool.map(work, [search] * 16, range(16))) == 500
