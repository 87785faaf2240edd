"""How well the schedule fills machines with more processes than this one has: `python -m benchmarks.makespan`.

Every task is really evaluated, one after the other, and its CPU seconds are measured; only the clock by which processes become
free is simulated. So the tasks, their order, their cuts and what is done twice are those of a machine with so many processes,
which never wait for memory. Beside that, what the process of the search itself costs with more processes than CPUs, measured.
"""

import heapq
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv

import benchmarks.workloads  # noqa: F401  (fills WORKLOADS)
from benchmarks.problem import WORKLOADS, Problem
from benchmarks.report import machine
from tuningjob.engine import CellKey, Engine, Evaluated, Work
from tuningjob.engine.engine import one_thread
from tuningjob.engine.evaluate import PATCHES, Evaluator
from tuningjob.engine.schedule import Schedule, Task

_RESULTS: Final = Path(__file__).parent / "results" / "makespan.md"
_WORKLOADS: Final = (
    "random forest × n_estimators",
    "gradient boosting × n_estimators",
    "text: tf-idf → SGD, dask-ml's grid",
    "SVC × C × gamma",
    "decision tree on iris, 1,000 candidates",
)
_SLOTS: Final = (1, 4, 16, 32, 64)
_HERE: Final = (2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A search on so many processes. All in seconds: from the first task to the last, all tasks together, the longest of them."""

    slots: int
    tasks: int
    makespan: float
    total: float
    longest: float

    @property
    def bound(self) -> float:
        """No order of these tasks ends sooner."""
        return max(self.total / self.slots, self.longest)


def work_of(problem: Problem) -> Work:
    """As GridSearchCV would evaluate it."""
    splits = list(
        check_cv(problem.cv, problem.y, classifier=is_classifier(problem.estimator)).split(problem.X, problem.y)
    )
    scorer = check_scoring(problem.estimator, problem.scoring)
    return Work(
        estimator=problem.estimator,
        candidates=problem.candidates(),
        X=problem.X,
        y=problem.y,
        splits=splits,
        scorer=scorer,
    )


def _cells(work: Work) -> list[CellKey]:
    return [CellKey(*cell) for cell in itertools.product(range(len(work.candidates)), range(len(work.splits)))]


def simulate(work: Work, slots: int) -> Simulated:
    """Give tasks to processes as they become free, by measured seconds."""
    schedule = Schedule(work, slots)
    schedule.add(_cells(work))
    free = [Evaluator(work) for _ in range(slots)]
    busy: list[tuple[float, int, Task, list[Evaluated], Evaluator]] = []
    seconds: list[float] = []
    now = 0.0
    while schedule.unfinished:
        while free and (task := schedule.take()) is not None:
            evaluator = free.pop()
            began = time.process_time()
            steps = evaluator.evaluate(task.split, task.candidates, plain=task.plain)
            results = [step for step in steps if isinstance(step, Evaluated)]
            seconds.append(time.process_time() - began)
            heapq.heappush(busy, (now + seconds[-1], len(seconds), task, results, evaluator))
        now, _, task, results, evaluator = heapq.heappop(busy)
        free.append(evaluator)
        for result in results:
            schedule.arrived(task, result)
        schedule.finished(task)
        schedule.ready()
    return Simulated(slots=slots, tasks=len(seconds), makespan=now, total=sum(seconds), longest=max(seconds))


def parents_seconds(work: Work, processes: int) -> tuple[float, float]:
    """CPU seconds of the process of the search with so many others, and its seconds by the clock."""
    cells = _cells(work)
    began, used = time.perf_counter(), time.process_time()
    with Engine(work, processes) as engine:
        engine.add(cells)
        while not engine.is_done:
            engine.wait()
    return time.process_time() - used, time.perf_counter() - began


def _simulations(names: Sequence[str]) -> Iterator[str]:
    yield "| workload | processes | tasks | makespan | total ÷ processes | longest task | makespan ÷ the greater | work |\n"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|\n"
    for name in names:
        work, alone = work_of(WORKLOADS[name].build()), 0.0
        for slots in _SLOTS:
            with one_thread(), PATCHES.in_force():
                one = simulate(work, slots)
            alone = alone or one.total
            yield (
                f"| {name} | {slots} | {one.tasks} | {one.makespan:.3f} s | {one.total / slots:.3f} s | {one.longest:.3f} s "
                f"| {one.makespan / one.bound:.2f} | {one.total / alone:.2f} |\n"
            )


def _parents(names: Sequence[str]) -> Iterator[str]:
    yield "| workload | cells | processes | the search's own process, CPU | of each cell | by the clock |\n"
    yield "|---|---:|---:|---:|---:|---:|\n"
    for name in names:
        work = work_of(WORKLOADS[name].build())
        cells = len(work.candidates) * len(work.splits)
        for processes in _HERE:
            used, seconds = parents_seconds(work, processes)
            yield f"| {name} | {cells} | {processes} | {used:.3f} s | {1e6 * used / cells:.0f} µs | {seconds:.2f} s |\n"


@click.command()
@click.option("--only", metavar="NAME", multiple=True, type=click.Choice(_WORKLOADS), help="These workloads.")
@click.option("--date", help="The day, for the page; without it none is written.")
def main(*, only: tuple[str, ...], date: str | None) -> None:
    """Simulate, measure, and write results/makespan.md."""
    names = only or _WORKLOADS
    tables: list[str] = []
    # forked first: what is evaluated in this process may start threads
    for make in (_parents, _simulations):
        lines = []
        for line in make(names):
            lines.append(line)
            click.echo(line, nl=False)
        tables.insert(0, "".join(lines))
    if date is not None:
        page = _PAGE.format(
            date=date, machine=machine(), load=os.getloadavg()[0], simulated=tables[0], parents=tables[1]
        )
        _RESULTS.write_text(page, encoding="utf-8")


_PAGE: Final = """\
# The schedule on bigger machines

{date}, `python -m benchmarks.makespan`: {machine}; load {load:.1f} at the end. Tasks were evaluated one after the other and their
CPU seconds measured; the clock by which processes become free is simulated. *Makespan ÷ the greater* of total ÷ processes
and the longest task is 1.00 where nobody waits; *work*, all tasks' seconds against those of one process, is what more processes
do twice, because work is cut finer for them.

{simulated}
What the process of the search itself costs, measured with real processes (more than there are CPUs):

{parents}"""


if __name__ == "__main__":
    main()
