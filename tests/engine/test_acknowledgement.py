"""Results may be believed steadily, from early on, and the guard costs no time: shown in simulated time."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from tuningjob.engine import CellKey, Evaluated, Work
from tuningjob.engine.schedule import Schedule, Task

SPLITS = 5


@dataclass(frozen=True)
class Search:
    """``seconds`` of a candidate's own fit. Those that differ in ``nested`` alone are one fit: the longest."""

    estimator: Any
    candidates: list[dict[str, Any]]
    seconds: Callable[[dict[str, Any]], float]
    nested: str = ""

    def fits(self, task: Task) -> list[tuple[float, list[int]]]:
        """The seconds of each fit of a task, and the candidates that it serves."""
        served: dict[Any, list[int]] = {}
        for candidate in task.candidates:
            others = {name: value for name, value in self.candidates[candidate].items() if name != self.nested}
            served.setdefault(tuple(others.items()), []).append(candidate)
        return [(max(self.seconds(self.candidates[each]) for each in fit), fit) for fit in served.values()]


BOOSTING = Search(
    GradientBoostingClassifier(random_state=0),
    list(
        ParameterGrid({"learning_rate": [0.05, 0.1, 0.2, 0.3], "max_depth": [2, 3, 4], "n_estimators": [100, 200, 300]})
    ),
    lambda params: params["n_estimators"] * params["max_depth"] / 900,
    nested="n_estimators",
)
REDUCED = Search(
    Pipeline([("pca", PCA(svd_solver="full")), ("svc", SVC())]),
    list(
        ParameterGrid({"pca__n_components": [2, 4, 8], "svc__C": [0.1, 1, 10, 100], "svc__gamma": [0.1, 0.01, 0.001]})
    ),
    lambda params: 0.1 * params["pca__n_components"] + params["svc__C"] ** 0.3,
)


@dataclass(frozen=True)
class Run:
    """When it ended, when each result could be believed, and the seconds that processes were at work."""

    end: float
    told: list[float]
    busy: float

    def part_told(self, part: float) -> float:
        """Of the results, at a part of the time."""
        return sum(at <= part * self.end for at in self.told) / len(self.told)


def simulated(search: Search, processes: int, *, guard: bool = True, pieces: int = 1, seed: int = 0) -> Run:
    """A search in ``pieces``, each asked for when a process is about to be idle, as the worker's loop does it."""
    work = Work(estimator=search.estimator, candidates=search.candidates, X=None, y=None, splits=(), scorer=None)
    schedule = Schedule(work, processes, guard=guard, seed=seed)
    cells = [CellKey(candidate, split) for split in range(SPLITS) for candidate in range(len(search.candidates))]
    size = len(cells) // pieces
    coming = [cells[start : start + size] for start in range(0, len(cells), size)]
    number = itertools.count()
    events: list[tuple[float, int, Task, Evaluated | None]] = []
    now, busy, idle = 0.0, 0.0, processes
    told: list[float] = []
    while coming or events or schedule.pending:
        if coming and schedule.pending < processes:
            schedule.add(coming.pop(0))
        while idle and (task := schedule.take()) is not None:
            idle -= 1
            at = now
            for seconds, served in search.fits(task):
                at += seconds
                for candidate in served:
                    outcome = {
                        "fit_error": None,
                        "test_scores": 0.5,
                        "fit_time": seconds / len(served),
                        "score_time": 0.0,
                    }
                    heapq.heappush(events, (at, next(number), task, Evaluated(CellKey(candidate, task.split), outcome)))
            heapq.heappush(events, (at, next(number), task, None))
            busy += at - now
        if events:
            now, _, task, result = heapq.heappop(events)
            if result is None:
                schedule.finished(task)
                idle += 1
            else:
                schedule.arrived(task, result)
            told += [now] * len(schedule.ready())
    assert len(told) == len(cells)
    return Run(now, told, busy)


@pytest.mark.parametrize("pieces", [1, 6])
@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("search", [BOOSTING, REDUCED], ids=["boosting", "reduced"])
def test_a_fifth_may_be_believed_after_a_third_of_the_time_and_then_it_goes_on_steadily(
    search: Search, processes: int, pieces: int
) -> None:
    run = simulated(search, processes, pieces=pieces)
    assert run.part_told(0.35) >= 0.2
    assert run.part_told(0.5) >= 0.35
    assert run.part_told(0.75) >= 0.6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("search", "processes"), [(BOOSTING, 1), (BOOSTING, 2), (BOOSTING, 8), (REDUCED, 1), (REDUCED, 8)]
)
def test_what_the_guard_adds_is_its_own_fits_and_nobody_waits_for_them(
    search: Search, processes: int, seed: int
) -> None:
    watched = simulated(search, processes, seed=seed)
    unwatched = simulated(search, processes, guard=False)
    of_the_guard = (watched.busy - unwatched.busy) / processes
    assert watched.end <= 1.02 * (unwatched.end + of_the_guard)
