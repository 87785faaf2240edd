"""The engine's results as the journal's: one record a cell, with the reason where a fit or its scoring failed."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from tuningjob.engine import AtWork, CellKey, Evaluated, Work, held_bytes
from tuningjob.protocol.records import MAX_ERROR_LENGTH, Cell, CellResult, Preflight
from tuningjob.search.problem import SearchProblem
from tuningjob.search.reasons import exception_in

SCORE: Final = "score"
_SCORING_FAILED: Final = "Scoring failed"
_ELLIPSIS: Final = "…\n"


def work_of(problem: SearchProblem) -> Work:
    """What the engine has to evaluate."""
    return Work(
        estimator=problem.estimator,
        candidates=problem.candidates,
        X=problem.data.X,
        y=problem.data.y,
        splits=problem.splits,
        scorer=problem.scorer,
        return_train_score=problem.spec.return_train_score,
        timeout=problem.spec.limits.fit_timeout_seconds,
    )


def preflight_of(problem: SearchProblem, n_jobs: int) -> Preflight:
    """What a worker of so many processes has found, before it begins."""
    return replace(problem.preflight, memory_bytes=held_bytes(work_of(problem), n_jobs))


def identities_of(problem: SearchProblem, cells: Iterable[Cell]) -> dict[Cell, str]:
    """The identities of those cells that have one."""
    known = ((cell, problem.identities.of(cell.candidate, cell.split)) for cell in cells)
    return {cell: identity for cell, identity in known if identity is not None}


def key_of(cell: Cell) -> CellKey:
    """A cell of the journal as the engine's."""
    return CellKey(cell.candidate, cell.split)


def result_of(evaluated: Evaluated) -> CellResult:
    """A cell's result as the journal's. Scoring that failed is its error, as a fit that failed is."""
    outcome = evaluated.outcome
    error = outcome["fit_error"] or next(filter(_is_scoring_failure, evaluated.warnings), None)
    with_train = "train_scores" in outcome
    return CellResult(
        candidate=evaluated.cell.candidate,
        split=evaluated.cell.split,
        test_scores={SCORE: float(outcome["test_scores"])},
        train_scores={SCORE: float(outcome["train_scores"])} if with_train else None,
        # a clock that is set back in the middle of a fit must not refuse the result
        fit_seconds=max(0.0, outcome["fit_time"]),
        score_seconds=max(0.0, outcome["score_time"]),
        test_samples=int(outcome["n_test_samples"]),
        error=None if error is None else _end_of(error),
    )


def summaries_of(evaluated: Evaluated) -> Iterator[str]:
    """The warnings of a cell, as they are counted: the first line of each."""
    return (_shortened(warning) for warning in evaluated.warnings if not _is_scoring_failure(warning))


@contextlib.contextmanager
def count_warnings(seen: Counter[str]) -> Iterator[None]:
    """Warnings are counted in ``seen``, by category and first line, instead of being printed once for each of a thousand fits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    seen.update(_shortened(warning_text(warning)) for warning in caught)


def with_warnings(steps: Iterator[Evaluated | AtWork]) -> Iterator[Evaluated | AtWork]:
    """Results with the warnings that came up on the way to them, which are not printed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in steps:
            if isinstance(step, Evaluated):
                yield Evaluated(step.cell, step.outcome, tuple(map(warning_text, caught)))
                caught.clear()
            else:
                yield step


def warning_text(warning: warnings.WarningMessage) -> str:
    """A warning as one text."""
    text = str(warning.message).strip()
    return text if text.startswith(_SCORING_FAILED) else f"{warning.category.__name__}: {text}"


def _is_scoring_failure(warning: str) -> bool:
    return warning.startswith(_SCORING_FAILED)


def _shortened(warning: str) -> str:
    return warning.split("\n", 1)[0][:220]


def _end_of(traceback: str) -> str:
    """The end of a traceback, where the reason stands; of a reason that is longer than that its beginning, with its kind."""
    if len(traceback) <= MAX_ERROR_LENGTH:
        return traceback
    room = MAX_ERROR_LENGTH - len(_ELLIPSIS)
    reason = exception_in(traceback)
    if len(traceback) - reason > room:
        # with the frame before it, by which it is found again
        frame = max(traceback.rfind("\n  File ", 0, reason) + 1, reason - room // 2)
        return f"{_ELLIPSIS}{traceback[frame : frame + room - 1]}…"
    return _ELLIPSIS + traceback[-room:]
