"""The engine: it takes cells and gives their results, evaluated in its own processes or in this one."""

import contextlib
import functools
import re
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import joblib
import numpy as np
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import ThreadpoolController

from tuningjob.engine.evaluate import PATCHES, AtWork, Evaluated, Evaluator
from tuningjob.engine.processes import Died, Finished, Item, Processes, Raised, current_slot, how, may_fork
from tuningjob.engine.rules.base import Rule, register, rules_by_hand
from tuningjob.engine.schedule import Schedule, Task
from tuningjob.engine.sklearn_private import MultimetricScorer, end_what_was_interrupted, scorers_of, warn_if_unproved
from tuningjob.engine.slices import SharedRows
from tuningjob.engine.work import CellKey, Work, shared_rows
from tuningjob.errors import WorkerDied

_KILLED: Final = (
    "a process of this worker was killed from outside (it {}). With less spec.resources.cpu (n_jobs) fewer fits are in memory "
    "at a time."
)
_ENDED: Final = "a process of this worker ended in the middle of a fit, by something that the fit calls: it {}."
_EXIT_CODE_TOLD_BY_LOKY: Final = re.compile(r"EXIT\((\d+)\)|SIG\w+\((-\d+)\)")
_Steps = Iterator[Evaluated | AtWork]


def as_they_are(steps: _Steps) -> _Steps:
    """Return the steps unchanged: the default of ``Engine``'s ``around``."""
    return steps


@functools.lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:  # noqa: ARG001
    """The BLAS and OpenMP libraries of this process. Finding them takes milliseconds, so it is repeated only after imports."""
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit each fit in here to one thread, even if its n_jobs says more, because processes × threads = the CPU limit."""
    with _pools(len(sys.modules)).limit(limits=1), joblib.parallel_config(backend="sequential"):
        yield


class Engine:
    """Evaluates cells of one search in ``processes`` others: ``add`` cells, ``wait`` for results, until ``is_done``.

    If it is safe (``processes.may_fork``), the processes are forked before the constructor returns; else they are joblib's.
    With ``processes=0`` everything happens in ``wait``, with the threads that the caller allows. ``around`` is an importable
    function that may change the results of a task, in the process that evaluates it.
    """

    def __init__(
        self,
        work: Work,
        processes: int,
        *,
        guard: bool = True,
        seed: int = 0,
        around: Callable[[_Steps], _Steps] = as_they_are,
        parallel: Parallel | None = None,
    ) -> None:
        forks = processes > 0 and parallel is None and may_fork()
        rows = _shared_rows(work) if forks else None
        self.work = replace(work, rows=rows)
        self._evaluator = Evaluator(self.work)
        watches = guard and self._evaluator.shares
        self.schedule = Schedule(self.work, max(1, processes), guard=watches, seed=seed, by_fold=rows is not None)
        self._around = around
        self._tasks: dict[int, Task] = {}
        self._fitting: dict[int, AtWork] = {}
        self._open: set[int] = set()
        warn_if_unproved()
        if forks:
            _pools(len(sys.modules))  # once here rather than in each process of every search
        with PATCHES.in_force():  # a process forked in here works for this search only
            self._processes = Processes(self._run_alone, processes) if forks else None
        self._parallel = parallel or (
            Parallel(n_jobs=processes, return_as="generator_unordered") if processes else None
        )
        self._from_joblib: Generator[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once, in the middle of their work; Ctrl-C does not cut this short."""
        if self._processes is not None:
            self._processes.close()
        if self._from_joblib is not None and self._parallel is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # joblib warns of unused results, which are expected here
                    self._from_joblib.close()
            finally:
                end_what_was_interrupted(self._parallel)

    def add(self, cells: Iterable[CellKey]) -> None:
        """Add cells to evaluate; those that share work should come together."""
        self.schedule.add(cells)

    @property
    def is_done(self) -> bool:
        """Whether every cell's result has been handed out."""
        return self.schedule.unfinished == 0

    @property
    def wants_more(self) -> bool:
        """Whether a process will soon be idle unless more cells come."""
        return self.schedule.pending < self.schedule.processes

    @property
    def is_hungry(self) -> bool:
        """Whether a process is about to be idle with no task left for it: the last moment to add cells.

        With joblib's processes this is true only when all is done, because its threads take tasks at any time.
        """
        return self.is_done or (self._processes is not None and self.schedule.pending == 0)

    @property
    def keeps_time(self) -> bool:
        """Whether ``wait`` keeps to its timeout; if not, do urgent things before calling it."""
        return self._processes is not None

    def wait(self, timeout: float | None = None) -> list[Evaluated]:
        """Results, as soon as there are any, or none after ``timeout`` seconds (which only forked processes keep to).

        Raises what scikit-learn would raise for a cell, and WorkerDied if a process has died.
        """
        if self.is_done:
            return []
        if self._processes is not None:
            self._dispatch(self._processes)
            for event in self._processes.events(timeout):
                self._take_note(event)
            self._dispatch(self._processes)
        elif self._parallel is not None:
            self._work_with_joblib(self._parallel)
        else:
            self._work_here()
        self._release_rows()
        return self.schedule.ready()

    # --- in this process

    def _work_here(self) -> None:
        task = self.schedule.take()
        if task is None:
            return
        with PATCHES.in_force():
            for step in self._around(self._evaluator.evaluate(task.split, task.candidates, plain=task.plain)):
                if isinstance(step, Evaluated):
                    self.schedule.arrived(task, step)
        self.schedule.finished(task)

    # --- in others

    def _run_alone(self, task: Task) -> Iterator[Evaluated | AtWork]:
        with one_thread():
            for step in self._around(self._evaluator.evaluate(task.split, task.candidates, plain=task.plain)):
                yield replace(step, process=current_slot()) if isinstance(step, Evaluated) else step

    def _dispatch(self, processes: "Processes[Task, Evaluated | AtWork]") -> None:
        # never more than one task for each process, so that the order is decided as late as possible
        while processes.idle:
            task = self.schedule.take()
            if task is None:
                return
            self._tasks[processes.submit(task)] = task

    def _take_note(self, event: "Item[Evaluated | AtWork] | Finished | Raised | Died") -> None:
        ticket = event.ticket
        task = self._tasks[ticket]
        if isinstance(event, Item):
            if isinstance(event.value, AtWork):
                self._fitting[ticket] = event.value
            else:
                self.schedule.arrived(task, event.value)
            return
        del self._tasks[ticket]
        fitting = self._fitting.pop(ticket, None)
        if isinstance(event, Finished):
            self.schedule.finished(task)
        elif isinstance(event, Raised):
            raise event.exception
        elif event.timed_out:
            slow = self.schedule.lost(task, fitting)
            if slow is not None:
                told = f"TimeoutError: the fit took longer than {self.work.timeout:g} s and was interrupted"
                self.schedule.give(task, Evaluated(slow, self._failed(slow, told, TimeoutError)))
        elif self.schedule.is_risky(task, self.work.expendable):
            lethal = self.schedule.part(task, self.work.expendable)
            if lethal is not None:
                told = f"WorkerDied: {_died(event.exitcode)}"
                self.schedule.give(task, Evaluated(lethal, self._failed(lethal, told, WorkerDied)))
        else:
            raise WorkerDied(_died(event.exitcode))

    def _failed(self, cell: CellKey, told: str, kind: type[Exception]) -> dict[str, Any]:
        """The outcome of a failed fit, as scikit-learn returns it. Raises ``kind`` if ``error_score`` is "raise"."""
        work = self.work
        if work.error_score == "raise":
            raise kind(f"{told} (parameters {work.candidates[cell.candidate]}, split {cell.split})")
        metrics = scorers_of(work.scorer) if isinstance(work.scorer, MultimetricScorer) else None
        score = work.error_score if metrics is None else dict.fromkeys(metrics, work.error_score)
        return {
            "fit_error": told,
            "test_scores": score,
            **({"train_scores": score} if work.return_train_score else {}),
            "n_test_samples": len(work.splits[cell.split][1]),
            "fit_time": (work.timeout or 0.0) if kind is TimeoutError else 0.0,
            "score_time": 0.0,
        }

    def _release_rows(self) -> None:
        if self.work.rows is None:
            return
        still_open = self.schedule.open_splits
        for split in self._open - still_open:
            self.work.rows.release(2 * split)
            self.work.rows.release(2 * split + 1)
        self._open = still_open

    # --- where nothing may be forked: in joblib's processes, which outlive a search and pickle what they are given

    def _work_with_joblib(self, parallel: Parallel) -> None:
        if self._from_joblib is None:
            self._from_joblib = self._round(parallel)
        try:
            ended = next(self._from_joblib, self) is self
        except BrokenProcessPool as broken:
            raise WorkerDied(_died_in_loky(broken)) from broken
        if ended or self.is_done:
            # exhausted, because joblib warns of a generator that is not
            deque(self._from_joblib, maxlen=0)
            self._from_joblib = None

    def _round(self, parallel: Parallel) -> Generator[None]:
        """Evaluate all that is scheduled by now, one task at a step; ``parallel`` takes further tasks at any time."""
        rules = rules_by_hand()
        run = delayed(_run_task)
        tasks = iter(self.schedule.take, None)
        for id, steps in parallel(run(_only(self.work, task), task, self._around, rules) for task in tasks):  # noqa: A001
            task = self.schedule.at_work(id)
            for step in steps:
                self.schedule.arrived(task, step)
            self.schedule.finished(task)
            yield


def _only(work: Work, task: Task) -> Work:
    """The search reduced to what one task needs, because it is pickled for each task."""
    candidates: Any = {
        candidate: work.candidates[candidate] for candidate in task.candidates
    }  # looked up by their numbers
    splits: Any = {task.split: work.splits[task.split]}
    return replace(work, candidates=candidates, splits=splits)


def _run_task(
    work: Work, task: Task, around: Callable[[_Steps], _Steps], rules: Sequence[type[Rule]]
) -> tuple[int, list[Evaluated]]:
    """Evaluate a task in one of joblib's processes, which outlives the search and so must keep nothing of it.

    Keeping the rows of a fold from one task to the next would save cutting them again, but would also keep the file to which
    joblib maps X: joblib would wait a second for it at the end of every search, and leave it in /dev/shm.
    """
    for rule in rules:
        register(rule)
    evaluator = Evaluator(work)
    try:
        with PATCHES.in_force():
            steps = around(evaluator.evaluate(task.split, task.candidates, plain=task.plain))
            return task.id, [step for step in steps if isinstance(step, Evaluated)]
    finally:
        evaluator.close()


def _shared_rows(work: Work) -> SharedRows | None:
    """The result of ``shared_rows``; None for invalid indices, because the fits raise scikit-learn's own error for them."""
    if any(np.ndim(indices) != 1 for split in work.splits for indices in split):
        return None
    try:
        return shared_rows(work)
    except IndexError:
        return None


def _died(exitcode: int) -> str:
    return (_KILLED if exitcode == -signal.SIGKILL else _ENDED).format(how(exitcode))


def _died_in_loky(broken: BrokenProcessPool) -> str:
    found = _EXIT_CODE_TOLD_BY_LOKY.search(str(broken))
    if found is None:
        return f"a process of this worker ended in the middle of a fit: {broken}"
    return _died(int(found[1] or found[2]))
