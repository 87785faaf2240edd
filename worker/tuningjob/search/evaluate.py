"""One cell after the other, as scikit-learn would: its own ``_fit_and_score``, in a process of ours."""

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import joblib
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from threadpoolctl import threadpool_limits

from tuningjob.journal.records import MAX_ERROR_LENGTH, Cell, CellResult
from tuningjob.search.problem import SearchProblem

SCORE: Final = "score"
_SCORING_FAILED: Final = "Scoring failed"
_ELLIPSIS: Final = "…\n"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Fits in here use one thread each, whatever the estimator's own n_jobs says: processes × threads = the CPU limit."""
    with threadpool_limits(limits=1), joblib.parallel_config(backend="sequential"):
        yield


@contextlib.contextmanager
def collect_warnings(seen: Counter[str]) -> Iterator[list[warnings.WarningMessage]]:
    """Warnings are counted in ``seen``, by category and first line, instead of being printed once for each of a thousand fits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    seen.update(_summary(warning) for warning in caught)


def evaluate(problem: SearchProblem, cells: Sequence[Cell]) -> tuple[list[CellResult], Counter[str]]:
    """Fit and score cells in order; also the warnings that came up, counted."""
    results: list[CellResult] = []
    seen: Counter[str] = Counter()
    with one_thread():
        for cell in cells:
            with collect_warnings(seen) as caught:
                results.append(_evaluate_cell(problem, cell, caught))
                # scoring that failed is the cell's error, not one more warning
                caught[:] = [warning for warning in caught if not _is_scoring_failure(warning)]
    return results, seen


def _evaluate_cell(problem: SearchProblem, cell: Cell, caught: list[warnings.WarningMessage]) -> CellResult:
    train, test = problem.splits[cell.split]
    spec = problem.spec
    outcome = _fit_and_score(
        clone(problem.estimator),
        problem.data.X,
        problem.data.y,
        scorer=problem.scorer,
        train=train,
        test=test,
        verbose=0,
        parameters=problem.candidates[cell.candidate],
        fit_params=None,
        score_params=None,
        return_train_score=spec.return_train_score,
        return_n_test_samples=True,
        return_times=True,
        error_score=math.nan,
    )
    error = outcome["fit_error"]
    if error is None:
        error = next((str(warning.message) for warning in caught if _is_scoring_failure(warning)), None)
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores={SCORE: float(outcome["test_scores"])},
        train_scores={SCORE: float(outcome["train_scores"])} if spec.return_train_score else None,
        # a clock that is set back in the middle of a fit must not refuse the result
        fit_seconds=max(0.0, outcome["fit_time"]),
        score_seconds=max(0.0, outcome["score_time"]),
        test_samples=int(outcome["n_test_samples"]),
        error=None if error is None else _end_of(error),
    )


def _is_scoring_failure(warning: warnings.WarningMessage) -> bool:
    return str(warning.message).startswith(_SCORING_FAILED)


def _end_of(traceback: str) -> str:
    """The end of a traceback: that is where the reason stands."""
    return (
        traceback
        if len(traceback) <= MAX_ERROR_LENGTH
        else _ELLIPSIS + traceback[-(MAX_ERROR_LENGTH - len(_ELLIPSIS)) :]
    )


def _summary(warning: warnings.WarningMessage) -> str:
    first_line = str(warning.message).strip().split("\n", 1)[0]
    return f"{warning.category.__name__}: {first_line[:200]}"
