"""The loop of a worker: claim, fit, report, until nothing is left; then, if it falls to this one, rank and refit.

The same in a pod (the journal over HTTP, one completion index) and on a laptop (the journal in SQLite, index 0).
"""

import math
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sklearn.base import clone

from tuningjob.errors import SearchFailed, WorkerDied
from tuningjob.journal.contract import SearchJournal
from tuningjob.journal.records import MAX_CELLS_PER_REPORT, Answer, Cell, CellResult, Next
from tuningjob.search.evaluate import collect_warnings, one_thread
from tuningjob.search.pool import end_pool, make_pool, submit
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import Results, gather, jsonable, write_files
from tuningjob.search.stop import Stop, Terminated

# Finished cells are reported by count and by time: at most this late, so that a killed pod loses only what it had in flight.
REPORT_SECONDS: Final = 1.0
REPORT_CELLS: Final = 64
# Tiny fits travel to a process several at a time: at this length dispatch is far below 5 % of the work.
CHUNK_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.25


@dataclass
class Worker:
    """One worker's part of a search.

    ``on_start`` is called once the processes are there (before that nothing may start a thread), ``on_cells`` as cells finish.
    """

    journal: SearchJournal
    problem: SearchProblem
    index: int
    n_jobs: int
    stop: Stop = field(default_factory=Stop)
    on_start: Callable[[], None] = lambda: None
    on_cells: Callable[[list[CellResult]], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    warnings: Counter[str] = field(default_factory=Counter)

    def evaluate_all(self) -> bool:
        """Claim and evaluate until nothing is left; whether finishing the search falls to this worker.

        Raises Terminated, WorkerDied, and SearchFailed (after telling the journal).
        """
        with make_pool(self.problem, self.n_jobs) as pool:
            self.on_start()
            try:
                return _Loop(self, pool).run()
            except BaseException:
                end_pool(pool)
                raise

    def finish(self, folder: Path, hand_in: Callable[[Path], None] = lambda _: None) -> tuple[Results, Answer, int]:
        """Rank, refit on all the data, write the files below ``folder``, hand them in, complete the search.

        Returns the results, the answer and its version in the audit table. Raises SearchFailed, after telling the journal.
        """
        try:
            results = gather(self.problem, self.journal.results())
            started = self.clock()
            with self.stop.interruptible():
                best = self._refit(results)
            seconds = self.clock() - started
        except SearchFailed as failed:
            self.journal.fail(str(failed))
            raise
        write_files(results, best, folder)
        hand_in(folder)
        answer = Answer(
            best_index=results.best_index,
            best_score=results.best_score,
            best_std=results.best_std,
            best_params=jsonable(results.best_params),
            metric=self.problem.metric,
            failed_fits=results.failed_fits,
            refit_seconds=seconds,
            fit_seconds_total=results.fit_seconds_total,
        )
        return results, answer, self.journal.complete(answer)

    def _refit(self, results: Results) -> Any:  # noqa: ANN401  an estimator
        """The best candidate, fitted on all the data. Raises SearchFailed: scikit-learn's error_score does not cover it."""
        estimator = clone(self.problem.estimator).set_params(**clone(results.best_params, safe=False))
        try:
            with one_thread(), collect_warnings(self.warnings):
                return estimator.fit(self.problem.data.X, self.problem.data.y)
        except Exception as error:
            raise SearchFailed(f"the refit of candidate {results.best_index} failed: {error!r}") from error


class _Loop:
    """The state of ``evaluate_all``: what is queued, what is being fitted, what waits to be reported."""

    def __init__(self, worker: Worker, pool: ProcessPoolExecutor) -> None:
        self.worker = worker
        self.pool = pool
        self.queue: deque[Cell] = deque()
        self.running: dict[Future[tuple[list[CellResult], Counter[str]]], int] = {}
        self.finished: list[CellResult] = []
        self.held: dict[int, set[Cell]] = {}
        self.drained = False
        self.reported_at = worker.clock()
        self.seconds_per_cell: float | None = None

    def run(self) -> bool:
        try:
            return self._until_nothing_is_left()
        except BrokenProcessPool as broken:
            self._report()
            raise WorkerDied(
                "a process of this worker was killed from outside, mostly for lack of memory. What was finished is kept; "
                "with less spec.resources.cpu fewer fits are in memory at a time."
            ) from broken

    def _until_nothing_is_left(self) -> bool:
        while True:
            if self.worker.stop.requested:
                self._report()
                raise Terminated
            if len(self.queue) < self.worker.n_jobs and not self.drained:
                self._claim()
            self._dispatch()
            if self.running:
                self._collect()
            if self._report_is_due():
                self._report()
            if not self.running and not self.queue:
                self._report()
                # what others held may have come back, or finishing may fall to us: ask once more with empty hands
                claim = self._claim()
                if claim is not Next.EVALUATE:
                    return claim is Next.FINISH

    def _claim(self) -> Next:
        claim = self.worker.journal.claim(index=self.worker.index, slots=self.worker.n_jobs, holding=self.held.keys())
        self.drained = claim.next is not Next.EVALUATE
        if claim.unit is not None:
            self.held[claim.unit.id] = set(claim.unit.cells)
            self.queue.extend(claim.unit.cells)
        return claim.next

    def _dispatch(self) -> None:
        # one chunk at work and one in waiting for each process: none is idle while we talk to the journal
        while self.queue and len(self.running) < 2 * self.worker.n_jobs:
            chunk = [self.queue.popleft() for _ in range(self._chunk_size())]
            self.running[submit(self.pool, chunk)] = len(chunk)

    def _chunk_size(self) -> int:
        if self.seconds_per_cell is None:
            return 1
        fitting = max(1, int(CHUNK_SECONDS / max(self.seconds_per_cell, 1e-6)))
        fair = math.ceil(len(self.queue) / (2 * self.worker.n_jobs))
        return min(len(self.queue), fitting, fair)

    def _collect(self) -> None:
        due = max(0.0, self.reported_at + REPORT_SECONDS - self.worker.clock()) if self.finished else _POLL_SECONDS
        done, _ = wait(self.running, timeout=min(due, _POLL_SECONDS), return_when=FIRST_COMPLETED)
        for future in done:
            del self.running[future]
            results, seen = self._outcome(future)
            self.worker.warnings.update(seen)
            self.finished += results
            self._learn(results)
            self.worker.on_cells(results)

    def _outcome(self, future: Future[tuple[list[CellResult], Counter[str]]]) -> tuple[list[CellResult], Counter[str]]:
        try:
            return future.result()
        except BrokenProcessPool:
            raise
        except Exception as error:
            # not the fit itself, whose failure is a NaN score: scikit-learn would end its search here, too
            self._report()
            reason = f"a fit could not even begin:\n{''.join(traceback.format_exception(error))}"
            self.worker.journal.fail(reason)
            raise SearchFailed(reason) from error

    def _learn(self, results: list[CellResult]) -> None:
        mean = sum(result.fit_seconds + result.score_seconds for result in results) / len(results)
        self.seconds_per_cell = mean if self.seconds_per_cell is None else 0.7 * self.seconds_per_cell + 0.3 * mean

    def _report_is_due(self) -> bool:
        late = self.worker.clock() - self.reported_at >= REPORT_SECONDS
        return bool(self.finished) and (late or len(self.finished) >= REPORT_CELLS)

    def _report(self) -> None:
        while self.finished:
            batch = self.finished[:MAX_CELLS_PER_REPORT]
            self.worker.journal.report(index=self.worker.index, results=batch)
            del self.finished[: len(batch)]
            for result in batch:
                self._let_go(result.cell)
        self.reported_at = self.worker.clock()

    def _let_go(self, cell: Cell) -> None:
        for unit, left in list(self.held.items()):
            left.discard(cell)
            if not left:
                del self.held[unit]
