"""Find the next stage of a search in stages, or its end, by replaying scikit-learn's own ``fit``.

A stage is a set of rows at the end of the journal. It depends only on the results of all earlier stages, so each worker computes
it by itself. The worker that the journal has chosen for this has the journal open it.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn.model_selection import GridSearchCV

from tuningjob.aliases import Anything
from tuningjob.engine.pruned import NotRun
from tuningjob.engine.replay import Replayed, Stage, replay
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import TuningJobSpec
from tuningjob.manifest.halving import HALVING
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refine import REFINE, Refine
from tuningjob.manifest.refusals import nearest
from tuningjob.manifest.scoring import Metrics
from tuningjob.protocol.records import CellResult
from tuningjob.search.reasons import Reason, error_text
from tuningjob.search.refine import axis_of, next_round, refined_axes
from tuningjob.search.scoring import scoring_of
from tuningjob.search.selection import choose
from tuningjob.sizing import most_rows

if TYPE_CHECKING:  # problem.py imports this module
    from tuningjob.search.problem import SearchProblem


def first_stage(problem: "SearchProblem") -> "SearchProblem":
    """The problem at its first stage. Raises ManifestRefused for settings that scikit-learn's search refuses."""
    if problems := list(refine_problems(problem)):
        raise ManifestRefused(problems)
    try:
        came = _replayed(problem, [], 0)
    except ValueError as error:
        halving = problem.spec.search.halving
        got = "" if halving is None else str(halving.model_dump(by_alias=True, exclude_none=True))
        must_be, advice = "settings that scikit-learn's halving search takes", f"It says: {error_text(error)}."
        raise ManifestRefused([Problem(HALVING, must_be, got, advice, Reason.HALVING_INVALID)]) from error
    return problem.at(_stage(came))


def refine_problems(problem: "SearchProblem") -> Iterator[Problem]:
    """The problems of ``spec.search.refine`` with the grid."""
    refine, grids = problem.spec.search.refine, problem.space.given
    if refine is None:
        return
    if not any(refined_axes(refine, grid) for grid in grids):
        advice = "Of all others nothing lies between two values."
        must_be, got = "beside a parameter of the grid that has two numbers or more", "a grid without one"
        yield Problem(REFINE, must_be, got, advice, Reason.REFINE_INVALID)
    for name, scale in (refine.scales or {}).items():
        known = [grid[name] for grid in grids if name in grid]
        if not known:
            must_be, got = "parameters of the grid", name
            advice = nearest(name, sorted({each for grid in grids for each in grid}))
            yield Problem(f"{REFINE}.scales", must_be, got, advice, Reason.REFINE_INVALID)
        elif all(axis_of(values, scale) is None for values in known):
            must_be = {"log": "of positive numbers", "integer": "of integers"}.get(scale, "of numbers")
            advice = "It needs two different ones at least."
            yield Problem(
                f"{REFINE}.scales.{name}",
                f"{scale} for a list {must_be}",
                shown(known[0]),
                advice,
                Reason.REFINE_INVALID,
            )


def stage_with(problem: "SearchProblem", rows: int, cells: Iterable[CellResult]) -> "SearchProblem":
    """The problem at the stage that ends the journal's first ``rows`` rows; ``cells`` has those of all earlier stages."""
    known = rows - problem.beside
    return problem.at(_stage(_replayed(problem, outcomes_of(problem, cells), known - 1)))


def stage_after(problem: "SearchProblem", rows: int, cells: Iterable[CellResult]) -> "SearchProblem | None":
    """The problem at the stage after so many rows, whose cells are ``cells``; None if the search has ended."""
    came = _replayed(problem, outcomes_of(problem, cells), rows - problem.beside)
    return None if isinstance(came, Replayed) else problem.at(_stage(came))


def came_to(problem: "SearchProblem", outcomes: Sequence[dict[str, Any]]) -> Replayed:
    """The outcome of a search whose stages are all complete. Raises TypeError if it wants another one."""
    came = _replayed(problem, outcomes, len(outcomes) // len(problem.splits))
    if isinstance(came, Stage):
        raise TypeError("a search is finished once no stage is left")
    return came


def outcomes_of(problem: "SearchProblem", cells: Iterable[CellResult]) -> list[dict[str, Any]]:
    """The outcomes of ``_fit_and_score`` for the candidates, without other rows."""
    return [outcome_of(cell, problem.spec) for cell in cells if not problem.is_beside(cell.candidate)]


def _replayed(problem: "SearchProblem", outcomes: Sequence[dict[str, Any]], answered: int) -> Stage | Replayed:
    with warnings.catch_warnings():
        # warnings of NaN scores, which are reported as failed fits, and of a space smaller than the number of draws
        warnings.simplefilter("ignore")
        return replay(_deciding(problem), problem.data.X, problem.data.y, problem.splits, outcomes, answered=answered)


def _deciding(problem: "SearchProblem") -> Anything:
    """The search that decides what comes next, unfitted."""
    refine = problem.spec.search.refine
    if refine is None:
        return search_of(problem)
    settings = {
        "scoring": scoring_of(problem.spec, problem.scorer),
        "return_train_score": problem.spec.return_train_score,
    }
    return _refining(problem, refine)(problem.estimator, problem.space.given, refit=False, **settings)


def _refining(problem: "SearchProblem", refine: Refine) -> type[Any]:
    """The class of a grid search from coarse to fine, written as scikit-learn's: a round is a call of ``evaluate_candidates``."""
    spec, metric = problem.spec, problem.spec.metrics.deciding
    most = most_rows(spec, len(problem.splits)) - problem.beside

    class RefinedGridSearchCV(GridSearchCV):  # type: ignore[misc]
        def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Anything = None) -> None:  # noqa: ARG002
            fresh: list[Mapping[str, Any]] = list(problem.candidates)
            tried: list[Mapping[str, Any]] = []
            best: int | None = None
            for number in range(refine.rounds + 1):
                table = evaluate_candidates(fresh, more_results={"round": [number] * len(fresh)})
                means = table[f"mean_test_{metric}"]
                chosen = choose(spec.select, metric, table).index
                begun, before = len(tried), best
                tried += fresh
                # a tie is no improvement, so the earlier candidate stays chosen
                is_better = chosen >= begun and not math.isnan(means[chosen])
                if before is not None and refine.tolerance:
                    is_better = is_better and means[chosen] > means[before] + refine.tolerance
                if not is_better:
                    return
                best = chosen
                fresh = list(next_round(refine, problem.space.given, tried, tried[best], number + 1))
                if not fresh or len(tried) + len(fresh) > most:
                    return

    return RefinedGridSearchCV


def _stage(came: Stage | Replayed) -> Stage:
    if isinstance(came, Replayed):
        raise TypeError("a search must ask for what is not evaluated yet")
    return came


def search_of(problem: "SearchProblem") -> Anything:
    """The unfitted search of scikit-learn for a problem."""
    return problem.space.search_cv(
        problem.estimator,
        scoring=scoring_of(problem.spec, problem.scorer),
        refit=problem.spec.metrics.deciding if problem.spec.metrics.several else True,
        cv=problem.cv,
        return_train_score=problem.spec.return_train_score,
    )


def outcome_of(cell: CellResult, spec: TuningJobSpec) -> dict[str, Any]:
    """The outcome of a cell as scikit-learn's ``_fit_and_score`` returns it; NotRun for a pruned cell."""
    outcome: dict[str, Any] = {
        "fit_error": cell.error,
        "test_scores": _scores(cell.test_scores, spec.metrics),
        "n_test_samples": cell.test_samples,
        "fit_time": cell.fit_seconds,
        "score_time": cell.score_seconds,
    }
    if spec.return_train_score:
        outcome["train_scores"] = _scores(cell.train_scores or {}, spec.metrics)
    return NotRun(outcome) if cell.pruned else outcome


def _scores(scores: Mapping[str, float], metrics: Metrics) -> float | dict[str, float]:
    found = {key: scores.get(key, math.nan) for key in metrics.keys}
    return found if metrics.several else found[metrics.deciding]
