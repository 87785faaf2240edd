"""Make the journal's results from the engine's: one record a cell, with the reason if a fit or its scoring failed."""

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tuningjob.engine import AtWork, Evaluated, Work, held_bytes
from tuningjob.manifest.scoring import SCORE, SINGLE, Metrics
from tuningjob.protocol.records import MAX_ERROR_LENGTH, Cell, CellResult, Preflight
from tuningjob.search.problem import SearchProblem
from tuningjob.search.reasons import exception_in, reason_of
from tuningjob.search.rows import Rows

_SCORING_FAILED: Final = "Scoring failed"
_ELLIPSIS: Final = "…\n"


def work_of(problem: SearchProblem) -> Work:
    """The engine's work of a search problem."""
    fit_params, score_params = problem.params
    return Work(
        estimator=problem.estimator,
        candidates=problem.rows.candidates,
        X=problem.data.X,
        y=problem.data.y,
        splits=problem.rows.splits,
        scorer=problem.scorer,
        fit_params=fit_params,
        score_params=score_params,
        return_train_score=problem.spec.return_train_score,
        timeout=problem.spec.limits.fit_timeout_seconds,
    )


def with_expendable_defaults(problem: SearchProblem) -> Work:
    """The engine's work, in which a fit of the defaults that ends its process counts as failed."""
    work, first = work_of(problem), problem.rows.first
    row = len(problem.candidates)
    has_them = problem.is_of_defaults(row) and row >= first
    return replace(work, expendable=frozenset({row - first})) if has_them else work


def preflight_of(problem: SearchProblem, n_jobs: int) -> Preflight:
    """What a worker with so many processes reports before it begins."""
    return replace(problem.preflight, memory_bytes=held_bytes(work_of(problem.whole), n_jobs))


def identities_of(problem: SearchProblem, cells: Iterable[Cell]) -> dict[Cell, str]:
    """The identities of cells, without cells that have none."""
    known = ((cell, problem.identities.of(*problem.rows.key(cell))) for cell in cells)
    return {cell: identity for cell, identity in known if identity is not None}


def result_of(evaluated: Evaluated, metrics: Metrics = SINGLE, rows: Rows | None = None) -> CellResult:
    """A cell's result in the form of the journal, by its place in ``rows``.

    Failed scoring by the deciding metric is the cell's error, as a failed fit is.
    """
    outcome = evaluated.outcome
    error = outcome["fit_error"] or failed_scorings(evaluated, metrics).get(metrics.deciding)
    with_train = "train_scores" in outcome
    cell = Cell(*evaluated.cell) if rows is None else rows.cell(evaluated.cell)
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores=_scores(outcome["test_scores"], metrics),
        train_scores=_scores(outcome["train_scores"], metrics) if with_train else None,
        # the journal refuses negative seconds, which a clock set back during a fit would give
        fit_seconds=max(0.0, outcome["fit_time"]),
        score_seconds=max(0.0, outcome["score_time"]),
        test_samples=int(outcome["n_test_samples"]),
        error=None if error is None else _end_of(error),
        process=evaluated.process,
    )


def _scores(scores: float | Mapping[str, float], metrics: Metrics) -> dict[str, float]:
    """The scores by the metrics' keys, the deciding one first, because the journal orders candidates by it."""
    by_key = scores if isinstance(scores, Mapping) else {SCORE: scores}
    return {key: float(by_key[key]) for key in first_the_deciding(metrics)}


def first_the_deciding(metrics: Metrics) -> Sequence[str]:
    """The keys of all metrics, the deciding one first."""
    return sorted(metrics.keys, key=lambda key: key != metrics.deciding)


def failed_scorings(evaluated: Evaluated, metrics: Metrics) -> dict[str, str]:
    """The metrics by which scoring failed, each with the traceback.

    scikit-learn's warnings do not name the metric, but come in the order of the metrics, first for the test scores, so they
    belong to the NaN scores in that order. A metric that answers NaN beside one that fails may get the other's traceback.
    """
    told = [warning for warning in evaluated.warnings if _is_scoring_failure(warning)]
    if not told:
        return {}
    scores = [evaluated.outcome[name] for name in ("test_scores", "train_scores") if name in evaluated.outcome]
    by_key = [each if isinstance(each, Mapping) else {SCORE: each} for each in scores]
    failed = [key for each in by_key for key in metrics.keys if math.isnan(each[key])]
    found: dict[str, str] = {}
    for i, key in enumerate(failed):
        found.setdefault(key, told[min(i, len(told) - 1)])
    return found


def summaries_of(evaluated: Evaluated, metrics: Metrics) -> Iterator[str]:
    """The warnings of a cell in the form in which they are counted: the first line of each.

    A metric that failed and does not decide is a warning with its name and the reason. The deciding one's is the cell's error.
    """
    for warning in evaluated.warnings:
        if not _is_scoring_failure(warning):
            yield _shortened(warning)
    for key, traceback in failed_scorings(evaluated, metrics).items():
        if key != metrics.deciding:
            yield _shortened(f"{key} is NaN, because scoring failed: {reason_of(traceback)}")


@contextlib.contextmanager
def count_warnings(seen: Counter[str]) -> Iterator[None]:
    """Count warnings in ``seen``, by category and first line, instead of printing one for each of a thousand fits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    seen.update(_shortened(warning_text(warning)) for warning in caught)


def with_warnings(steps: Iterator[Evaluated | AtWork]) -> Iterator[Evaluated | AtWork]:
    """Results with the warnings that occurred during their fits, which are not printed."""
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
    """The end of a traceback, which has the reason; if that is too long, its kind and beginning."""
    if len(traceback) <= MAX_ERROR_LENGTH:
        return traceback
    room = MAX_ERROR_LENGTH - len(_ELLIPSIS)
    reason = exception_in(traceback)
    if len(traceback) - reason > room:
        # with the frame before it, by which the reason is found again
        frame = max(traceback.rfind("\n  File ", 0, reason) + 1, reason - room // 2)
        return f"{_ELLIPSIS}{traceback[frame : frame + room - 1]}…"
    return _ELLIPSIS + traceback[-room:]
