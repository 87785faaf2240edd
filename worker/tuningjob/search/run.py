"""The loop of a worker: it claims, fits and reports until nothing is left; one of the workers then ranks and refits.

It is the same in a pod (the journal over HTTP, one completion index) and on a laptop (the journal in SQLite, index 0). The loop
waits only for the engine: a courier carries results to the journal and fetches the next units.
"""

import contextlib
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sklearn.base import clone

from tuningjob.aliases import Estimator
from tuningjob.engine import Engine, Evaluated, one_thread
from tuningjob.engine.race import Leader, Race
from tuningjob.errors import JournalError, SearchFailed, ServiceUnavailable, WorkerDied
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import Answer, Cell, CellResult, Next, SearchRecord, Standing, Unit
from tuningjob.protocol.requests import ClaimRequest, NewStage
from tuningjob.search.baseline import measured
from tuningjob.search.cells import (
    count_warnings,
    identities_of,
    result_of,
    summaries_of,
    with_expendable_defaults,
    with_warnings,
    work_of,
)
from tuningjob.search.courier import Courier, Sender
from tuningjob.search.judgement import told_of
from tuningjob.search.lost import lost_result
from tuningjob.search.nested import estimated
from tuningjob.search.outbox import Outbox
from tuningjob.search.problem import SearchProblem
from tuningjob.search.pruning import above_the_bound, race_for
from tuningjob.search.results import Results, every_fit_failed, fitted_search, gather, write_files
from tuningjob.search.stages import stage_after, stage_with
from tuningjob.search.stop import Stop, Terminated
from tuningjob.search.written import to_literals

# Finished cells are sent by count and by time, at most this late, so that a killed pod loses few results.
REPORT_SECONDS: Final = 1.0
REPORT_CELLS: Final = 64
_POLL_SECONDS: Final = 0.25
# The seconds between two requests of a worker that has nothing to do while others end a stage.
WAIT_SECONDS: Final = 1.0
# The first wait for the engine while an answer is under way; each next wait is twice as long. Mostly the answer takes some
# milliseconds, and processes may be idle meanwhile.
_FIRST_POLL_SECONDS: Final = 0.002


class Conclusion(NamedTuple):
    """The conclusion of a complete search: its results, its answer, and its version in the audit."""

    results: Results
    answer: Answer
    version: int


@dataclass
class Worker:
    """One worker's part of a search.

    ``claimant`` is this process's name, by which the journal knows which one died; see ClaimRequest. ``name`` is the search's,
    for texts, and ``about`` says in the report who or what made it. ``memory`` is the limit in bytes of all that it may use, 0 if
    there is none. ``has_begun`` says that it was given a unit.

    ``on_start`` is called once the processes exist (before that nothing may start a thread), and ``on_cells`` as cells finish.
    ``on_reused`` gets the number of cells that came without a fit: taken over, or shared by the defaults with candidate
    ``shared_with``. ``on_pause`` is called when the processes have ended, before others may come for the next stage.
    """

    journal: SearchJournal
    problem: SearchProblem
    index: int
    n_jobs: int
    name: str = ""
    about: Sequence[tuple[str, str]] = ()
    claimant: str = ""
    memory: int = 0
    shared_with: int | None = None
    stop: Stop = field(default_factory=Stop)
    on_start: Callable[[], None] = lambda: None
    on_cells: Callable[[list[CellResult]], None] = lambda _: None
    on_reused: Callable[[int], None] = lambda _: None
    on_pause: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    has_begun: bool = field(default=False, init=False)
    warnings: Counter[str] = field(default_factory=Counter)
    outbox: Outbox = field(default_factory=Outbox)

    def evaluate_all(self) -> bool:
        """Claim and evaluate until nothing is left; returns whether this worker is to finish the search.

        Raises Terminated, WorkerDied, SearchFailed (after telling the journal), and the errors that ended the courier:
        ServiceUnavailable, JournalError.
        """
        if not self.problem.spec.search.has_stages:
            return self._evaluate() is Next.FINISH
        while True:
            search = self.journal.search()
            cells = list(self.journal.results())
            if len(cells) < search.candidates * search.splits:
                self.problem = stage_with(self.problem, search.candidates, cells)
                self.outbox = Outbox()  # that of the previous stage is closed
                asked = self._evaluate(search.candidates)
                self.on_pause()
            else:
                asked = self._asked(search.candidates)
                if asked is Next.FINISH:
                    following = self._stage_after(search, cells)
                    if following is None:
                        return True
                    self.journal.open_stage(NewStage(index=self.index, known=search.candidates, rows=following))
            while asked is Next.WAIT:
                self._nap()
                asked = self._asked(search.candidates)
            if asked is Next.NOTHING:
                return False

    def _asked(self, rows: int) -> Next:
        """Ask what is next without evaluating it: a unit in the answer will be given again to a worker that evaluates."""
        asking = ClaimRequest(
            index=self.index, slots=self.n_jobs, claimant=self.claimant, memory=self.memory, rows=rows
        )
        return self.journal.claim(asking).next

    def _nap(self) -> None:
        if self.stop.requested:
            # if the journal cannot be told, it takes this process for dead, which loses nothing more
            with contextlib.suppress(JournalError, ServiceUnavailable):
                self.journal.leave(index=self.index)
            raise Terminated
        self.stop.sleep(WAIT_SECONDS)

    def _stage_after(self, search: SearchRecord, cells: Sequence[CellResult]) -> int | None:
        """The number of rows with which the search goes on; None if it has ended."""
        self.problem = stage_with(self.problem, search.candidates, cells)
        first, is_beside = self.problem.rows.first, self.problem.is_beside
        last = [cell for cell in cells if cell.candidate >= first and not is_beside(cell.candidate)]
        must_work = self.problem.space.halving is not None or not self.problem.rows.first
        if must_work and all(cell.error is not None for cell in last):  # scikit-learn's search ends here, too
            reason = every_fit_failed(len(last), last[0].error or "")
            self.journal.fail(reason)
            raise SearchFailed(reason)
        following = stage_after(self.problem, search.candidates, cells)
        return None if following is None else search.candidates + len(following.rows.candidates)

    def _evaluate(self, rows: int = 0) -> Next:
        """Claim and evaluate until nothing is left of the open rows; returns what is next."""
        sender = Sender(
            index=self.index,
            slots=self.n_jobs,
            claimant=self.claimant,
            identities=lambda cells: identities_of(self.problem, cells),
            reuse=self.problem.spec.reuse,
            memory=self.memory,
            rows=rows,
            prunes=self.problem.spec.prune is not None,
        )
        # a laptop counts no deaths, and the defaults, which its user may not have asked for, must not end its search
        work = work_of(self.problem) if self.claimant else with_expendable_defaults(self.problem)
        with contextlib.closing(self.outbox), Engine(work, self.n_jobs, around=with_warnings) as engine:
            self.on_start()
            # started after the engine has forked its processes, because it is a thread
            with Courier(self.journal, self.outbox, sender) as courier:
                return _Loop(self, engine, courier).run()

    def finish(self, folder: Path, hand_in: Callable[[Path], Sequence[str]] = lambda _: ()) -> Conclusion:
        """Rank, refit on all the data, write the files below ``folder``, hand them in, complete the search.

        ``hand_in`` returns warnings. Raises SearchFailed, after telling the journal.
        """
        try:
            results = gather(self.problem, self.journal.results())
            if why := above_the_bound(self.problem, results.cv_results):
                raise SearchFailed(why)
            started = self.clock()
            with self.stop.interruptible():
                best = self._refit(results)
                seconds = self.clock() - started
                baseline, nested = measured(self.problem, results), estimated(self.problem, results)
        except SearchFailed as failed:
            self.journal.fail(str(failed))
            raise
        told = told_of(self.problem, results, name=self.name, refit_seconds=seconds, nested=nested, about=self.about)
        write_files(self.problem, results, fitted_search(self.problem, results, best, seconds), told, folder)
        warnings = hand_in(folder)
        answer = Answer(
            best_index=results.best_index,
            best_score=results.best_score,
            best_std=results.best_std,
            best_params=to_literals(results.best_params, best),
            metric=self.problem.metric,
            failed_fits=results.failed_fits,
            refit_seconds=seconds,
            fit_seconds_total=results.fit_seconds_total,
            scores=results.best_scores if self.problem.spec.metrics.several else {},
            choice=results.choice_told,
            baseline=baseline,
            nested=nested,
            warnings=(*results.warnings, *warnings),
        )
        return Conclusion(results, answer, self.journal.complete(answer))

    def _refit(self, results: Results) -> Estimator:
        """The best candidate, fitted on all the data. Raises SearchFailed: scikit-learn's error_score does not cover it."""
        estimator = clone(self.problem.estimator).set_params(**clone(results.best_params, safe=False))
        try:
            with one_thread(), count_warnings(self.warnings):
                data = self.problem.data
                y = () if data.y is None else (data.y,)  # as scikit-learn does
                return estimator.fit(data.X, *y, **self.problem.params[0])
        except Exception as error:
            raise SearchFailed(f"the refit of candidate {results.best_index} failed: {error!r}") from error


class _Loop:
    """The state of ``evaluate_all``: the finished cells that are not sent yet, and the cells that must be evaluated alone."""

    def __init__(self, worker: Worker, engine: Engine, courier: Courier) -> None:
        self.worker = worker
        self.metrics = worker.problem.spec.metrics
        self.rows = worker.problem.rows
        self.engine = engine
        self.race = race_for(worker.problem)
        self.courier = courier
        self.finished: list[CellResult] = []
        self.sent_at = worker.clock()
        self.is_alone = False
        self.alone: deque[Cell] = deque()
        self.drained = False
        self.empty_handed = False
        self.next_poll = _FIRST_POLL_SECONDS

    def run(self) -> Next:
        try:
            return self._until_nothing_is_left()
        except WorkerDied as died:
            self._deliver()
            raise WorkerDied(f"{died} What was finished is kept.") from died

    def _until_nothing_is_left(self) -> Next:
        while True:
            if self.worker.stop.requested:
                self._leave()
            self.courier.check()
            answer = self.courier.answer()
            if answer is not None:
                self.drained = answer.unit is None
                if answer.unit is not None:
                    self._begin(answer.unit, answer.known, answer.standing)
                elif self.empty_handed:
                    return answer.next
            if self.is_alone:
                self._go_on_alone()
            if self.race is not None and not self.is_alone:
                _follow(self.race, self.courier.standing())
                self._advance(self.race)
            if not self.is_alone and not self.courier.is_asking:
                self._ask()
            self._collect()
            if self._sending_is_due():
                self._send()

    # --- what is next

    def _ask(self) -> None:
        self.empty_handed = self.engine.is_done and (self.race is None or self.race.is_over)
        if self.empty_handed:
            # other workers' units may have come back, or this worker may have to finish, once all its cells are in
            self._send()
        wants_more = self.engine.wants_more and (self.race is None or self.race.left < self.worker.n_jobs)
        if self.empty_handed or (wants_more and not self.drained):
            self.courier.ask(deliver_first=self.empty_handed)
            self.next_poll = _FIRST_POLL_SECONDS

    def _begin(self, unit: Unit, known: Set[Cell], standing: Standing | None) -> None:
        self.worker.has_begun = True
        if unit.lost is not None:
            self._finish([lost_result(self.worker.problem, unit.lost)])
        if known:
            self.worker.on_reused(len(known) + self._shared(known))
        cells = [cell for cell in unit.cells if cell != unit.lost and cell not in known]
        if unit.alone:
            self.is_alone = True
            self.alone.extend(cells)
        elif self.race is None:
            self.engine.add(map(self.rows.key, cells))
        else:
            self._enter(self.race, cells, standing or Standing())

    def _enter(self, race: Race, cells: Sequence[Cell], standing: Standing) -> None:
        """Add the cells of a unit to the race; rows that are no candidates are evaluated in any case."""
        is_beside = self.worker.problem.is_beside
        self.engine.add([self.rows.key(cell) for cell in cells if is_beside(cell.candidate)])
        _follow(race, standing)
        known = {self.rows.key(Cell(each.candidate, each.split)): each.score for each in standing.scores}
        race.add([self.rows.key(cell) for cell in cells if not is_beside(cell.candidate)], known)

    def _advance(self, race: Race) -> None:
        """Have the engine evaluate the next cells of the race, and report the cells that have become unnecessary."""
        if self.engine.is_hungry and not race.is_over:
            self._finish([CellResult.not_needed(self.rows.cell(key)) for key in race.withdrawn()])
            self.engine.add(race.due(self.worker.n_jobs))

    def _go_on_alone(self) -> None:
        """Evaluate one cell after the other, alone, each acknowledged before the next begins.

        So a cell that kills the pod is the first one that the journal lacks, and no other is suspected.
        """
        if not self.engine.is_done:
            return
        self._send()
        if not self.courier.is_settled:
            return
        if self.alone:
            self.engine.add([self.rows.key(self.alone.popleft())])
        else:
            self.is_alone = False

    # --- what is finished

    def _collect(self) -> None:
        if self.engine.is_done or self.worker.outbox.is_full:
            self.courier.wait(_POLL_SECONDS)
            return
        evaluated = self._evaluated(self._patience())
        for each in evaluated:
            self.worker.warnings.update(summaries_of(each, self.metrics))
        results = [result_of(each, self.metrics, self.rows) for each in evaluated]
        if self.race is not None:
            for each, result in zip(evaluated, results, strict=True):
                self.race.heard(each.cell, result.test_scores[self.metrics.deciding])
        self._finish(results)

    def _patience(self) -> float:
        patience = _POLL_SECONDS
        if self.finished:
            patience = min(patience, max(0.0, self.sent_at + REPORT_SECONDS - self.worker.clock()))
        if self.courier.is_asking:
            patience = min(patience, self.next_poll)
            self.next_poll *= 2
        return patience

    def _evaluated(self, timeout: float) -> list[Evaluated]:
        try:
            return self.engine.wait(timeout)
        except WorkerDied:
            raise
        except Exception as error:
            # an error outside the fit, at which scikit-learn would end its search, too; a failed fit is a NaN score
            self._deliver()
            reason = f"a fit could not even begin:\n{''.join(traceback.format_exception(error))}"
            self.worker.journal.fail(reason)
            raise SearchFailed(reason) from error

    def _finish(self, results: Sequence[CellResult]) -> None:
        if results:
            self.finished += results
            self.worker.on_cells(list(results))
            if shared := self._shared(results):
                self.worker.on_reused(shared)

    def _shared(self, cells: Iterable[Cell | CellResult]) -> int:
        """The number of these cells that are cells of the defaults, too."""
        return sum(cell.candidate == self.worker.shared_with for cell in cells)

    def _sending_is_due(self) -> bool:
        # if the engine may not return before its task ends, send at once
        late = self.worker.clock() - self.sent_at >= REPORT_SECONDS or not self.engine.keeps_time
        return bool(self.finished) and (late or len(self.finished) >= REPORT_CELLS)

    def _send(self) -> None:
        if self.finished:
            self.courier.send(self.finished)
            self.finished = []
        self.sent_at = self.worker.clock()

    # --- the end

    def _deliver(self) -> None:
        """Send what is finished, and wait until the journal has it. Raises Terminated once a request to stop is overdue."""
        self._send()
        while not self.courier.is_idle:
            self.courier.check()
            if self.worker.stop.is_overdue:
                raise Terminated
            self.courier.wait(_POLL_SECONDS)

    def _leave(self) -> None:
        """Deliver what is finished, tell the journal that this worker leaves, and raise Terminated."""
        self._deliver()
        # if the journal cannot be told, it takes this process for dead, which loses nothing more
        with contextlib.suppress(JournalError, ServiceUnavailable):
            self.worker.journal.leave(index=self.worker.index)
        raise Terminated


def _follow(race: Race, standing: Standing | None) -> None:
    """Make the best reported candidate the leader of the race."""
    if standing is not None and standing.best is not None and standing.worst is not None:
        race.lead(Leader(standing.best, standing.worst))
