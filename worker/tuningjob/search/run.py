"""The loop of a worker: claim, fit, report, until nothing is left; then, if it falls to this one, rank and refit.

The same in a pod (the journal over HTTP, one completion index) and on a laptop (the journal in SQLite, index 0).
"""

import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sklearn.base import clone

from tuningjob.engine import Engine, Evaluated, one_thread
from tuningjob.errors import SearchFailed, WorkerDied
from tuningjob.journal.contract import SearchJournal
from tuningjob.journal.records import MAX_CELLS_PER_REPORT, Answer, Cell, CellResult, Next
from tuningjob.search.cells import count_warnings, key_of, result_of, summaries_of, with_warnings, work_of
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import Results, gather, jsonable, write_files
from tuningjob.search.stop import Stop, Terminated

# Finished cells are reported by count and by time: at most this late, so that a killed pod loses only what it had in flight.
REPORT_SECONDS: Final = 1.0
REPORT_CELLS: Final = 64
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
        with Engine(work_of(self.problem), self.n_jobs, around=with_warnings) as engine:
            self.on_start()
            return _Loop(self, engine).run()

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
            with one_thread(), count_warnings(self.warnings):
                return estimator.fit(self.problem.data.X, self.problem.data.y)
        except Exception as error:
            raise SearchFailed(f"the refit of candidate {results.best_index} failed: {error!r}") from error


class _Loop:
    """The state of ``evaluate_all``: what is held, and what waits to be reported."""

    def __init__(self, worker: Worker, engine: Engine) -> None:
        self.worker = worker
        self.engine = engine
        self.finished: list[CellResult] = []
        self.held: dict[int, set[Cell]] = {}
        self.drained = False
        self.reported_at = worker.clock()

    def run(self) -> bool:
        try:
            return self._until_nothing_is_left()
        except WorkerDied:
            self._report()
            raise

    def _until_nothing_is_left(self) -> bool:
        while True:
            if self.worker.stop.requested:
                self._report()
                raise Terminated
            if self.engine.is_hungry and not self.drained:
                self._claim()
            self._collect()
            if self._report_is_due():
                self._report()
            if self.engine.is_done:
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
            self.engine.add(map(key_of, claim.unit.cells))
        return claim.next

    def _collect(self) -> None:
        due = max(0.0, self.reported_at + REPORT_SECONDS - self.worker.clock()) if self.finished else _POLL_SECONDS
        evaluated = self._evaluated(min(due, _POLL_SECONDS))
        for each in evaluated:
            self.worker.warnings.update(summaries_of(each))
        if evaluated:
            results = list(map(result_of, evaluated))
            self.finished += results
            self.worker.on_cells(results)

    def _evaluated(self, timeout: float) -> list[Evaluated]:
        try:
            return self.engine.wait(timeout)
        except WorkerDied:
            raise
        except Exception as error:
            # not the fit itself, whose failure is a NaN score: scikit-learn would end its search here, too
            self._report()
            reason = f"a fit could not even begin:\n{''.join(traceback.format_exception(error))}"
            self.worker.journal.fail(reason)
            raise SearchFailed(reason) from error

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
