"""The sides of the comparison, each in a process of its own: one search for each line that it is sent."""

import gc
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import sklearn.model_selection

import tuningjob
from benchmarks.answers import as_text
from benchmarks.public_grids.grids import read

_ROOT: Final = Path(__file__).parents[2]
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_GRACE_SECONDS: Final = 10.0
STOCK: Final = "scikit-learn"
FORKED: Final = "forked"
LOKY: Final = "joblib's"
PRUNED: Final = "pruned"
# in the order in which they are measured, and shown
SIDES: Final[Mapping[str, Callable[..., Any]]] = {
    STOCK: sklearn.model_selection.GridSearchCV,
    FORKED: tuningjob.GridSearchCV,
    LOKY: tuningjob.GridSearchCV,
    PRUNED: partial(tuningjob.GridSearchCV, prune="certain"),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One search: its seconds and what it found as text, or the beginning of what it raised.

    best: the index, score and parameters. results: cv_results_ without its times.
    """

    seconds: float
    best: list[str] = field(default_factory=list)
    results: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None

    def scores(self) -> list[str]:
        """Of each candidate and split."""
        splits = (
            values for key, values in self.results.items() if key.startswith("split") and key.endswith("_test_score")
        )
        return [score for values in splits for score in values[1:]]


def serve(side: str, number: int) -> None:
    """Search once for each line on stdin, and answer with what came of it, pickled."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    grid = read()[number]
    if side == LOKY:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    X, y = grid.data()
    warnings.simplefilter("ignore")
    for _ in sys.stdin:
        search = grid.search(SIDES[side], X, y)
        gc.collect()
        error = None
        began = time.perf_counter()
        try:
            search.fit(X, y)
        except ValueError as raised:
            error = str(raised).split("\n", 1)[0]
        seconds = time.perf_counter() - began
        pickle.dump(_found(seconds, search) if error is None else Found(seconds=seconds, error=error), answers)
        answers.flush()


def _found(seconds: float, search: Any) -> Found:  # noqa: ANN401
    results = {key: as_text(value) for key, value in search.cv_results_.items() if not key.endswith("_time")}
    best = [repr(search.best_index_), repr(float(search.best_score_)), repr(search.best_params_)]
    return Found(seconds=seconds, best=best, results=results)


class SideProcess:
    """A side's process for one grid, and all that it starts, in a group of their own."""

    def __init__(self, side: str, number: int, limit: float) -> None:
        self.limit = limit
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.public_grids.sides import serve; serve({side!r}, {number})"],
            cwd=_ROOT,
            env={**os.environ, **_ONE_THREAD, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()  # it ends by itself, and joblib's folder with it
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def search(self) -> Found | None:
        """One search; None if it was not done within the limit, or its process died."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], self.limit)[0]:
                return None
            found: Found = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError):
            return None
        return found
