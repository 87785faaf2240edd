"""One side of the comparison in a process of its own: `python -m benchmarks.serve KIND`, pickles on stdin and stdout.

It lives through the whole benchmark. Sides do not share a process because scikit-learn's search leaves joblib's threads
behind, and ours forks from a process that has one thread.
"""

import gc
import os
import pickle
import sys
import time
from dataclasses import replace
from functools import lru_cache
from typing import BinaryIO

import benchmarks.workloads  # noqa: F401  (fills WORKLOADS)
from benchmarks.answers import Answer, Failed, Ran, as_text
from benchmarks.problem import WORKLOADS, Problem
from benchmarks.searches import MakesNoSense, search_of


def main(kind: str) -> None:
    """Run the workload that each request names, until there are no more."""
    requests = sys.stdin.buffer
    with _answers_apart_from_prints() as answers:
        while True:
            try:
                name = pickle.load(requests)
            except EOFError:
                return
            pickle.dump(_answer(name, kind=kind), answers)
            answers.flush()


def _answers_apart_from_prints() -> BinaryIO:
    """The way to the parent; what an estimator prints from now on goes to stderr and not among the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _answer(name: str, *, kind: str) -> Answer:
    try:
        return _run(name, kind=kind)
    except MakesNoSense:
        return None
    except Exception as error:  # noqa: BLE001  whatever a rival raises is its cell of the table
        return Failed(reason=f"{type(error).__name__}: {error}")


@lru_cache(maxsize=1)
def _problem(name: str) -> Problem:
    return WORKLOADS[name].build()


def _run(name: str, *, kind: str) -> Ran:
    problem, oracle = _problem(name), WORKLOADS[name].oracle
    candidates = problem.candidates()
    # The first candidate alone, not timed: starts the pool, or starts it again when it has idled away, and imports in it.
    first = replace(problem, grid={parameter: [value] for parameter, value in candidates[0].items()}, n_iter=None)
    with search_of(first, kind=kind) as search:
        search.fit(problem.X, problem.y)
    with search_of(problem, kind=kind) as search:
        gc.collect()
        start = time.perf_counter()
        search.fit(problem.X, problem.y)
        wall_seconds = time.perf_counter() - start
    return Ran(
        wall_seconds=wall_seconds,
        candidates=len(candidates),
        folds=problem.cv,
        oracle=oracle(candidates) if oracle else None,
        results={key: as_text(value) for key, value in search.cv_results_.items() if not key.endswith("_time")},
    )


if __name__ == "__main__":
    main(sys.argv[1])
