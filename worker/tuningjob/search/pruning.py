"""``spec.prune``: whether a search can be pruned, and by which race."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuningjob.engine.bounds import TABLE, Unbounded, bound_of_search
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.engine.pruned import CERTAIN, families_of
from tuningjob.engine.race import MARGIN, Race
from tuningjob.engine.work import Work
from tuningjob.errors import Problem
from tuningjob.search.reasons import Reason

if TYPE_CHECKING:  # problem.py imports this module
    from tuningjob.search.problem import SearchProblem


def race_for(problem: "SearchProblem") -> Race | None:
    """The race by which the candidates of a search are pruned; None for a search that is not. Raises Unbounded."""
    if problem.spec.prune is None:
        return None
    return Race(
        len(problem.splits),
        bound=_bound(problem) if problem.spec.prune == CERTAIN else None,
        family=families_of(problem.estimator, problem.candidates),
    )


def _bound(problem: "SearchProblem") -> float:
    names_estimators = any(
        is_estimator(value) for values in problem.space.listed for tried in values.values() for value in tried
    )
    metrics = problem.spec.metrics
    work = Work(
        estimator=problem.estimator,
        # candidates that replace no estimator are all scored like the first
        candidates=problem.candidates if names_estimators else [problem.candidates[0]],
        X=None,
        y=None,
        splits=(),
        scorer=problem.scorer,
        score_params=problem.params[1],
    )
    return bound_of_search(work, metrics.deciding if metrics.several else None)


def prune_problems(problem: "SearchProblem") -> Iterator[Problem]:
    """The problems of ``prune: certain`` with scores that have no known bound."""
    if problem.spec.prune != CERTAIN:
        return
    try:
        _bound(problem)
    except Unbounded as unbounded:
        must_be = f"beside scores with a known upper bound: {TABLE}"
        advice = "Leave spec.prune out, or write forgiving, which may lose the winner."
        yield Problem("spec.prune", must_be, unbounded.got, advice, Reason.SCORES_UNBOUNDED)


def above_the_bound(problem: "SearchProblem", table: Mapping[str, Any]) -> str | None:
    """The reason why pruning was not certain: a score is above its scorer's known bound."""
    if problem.spec.prune != CERTAIN:
        return None
    bound, metric = _bound(problem), problem.spec.metrics.deciding
    highest = max(float(np.nanmax(table[f"split{split}_test_{metric}"])) for split in range(len(problem.splits)))
    if highest <= bound + MARGIN * max(1.0, abs(bound)):
        return None
    return (
        f"spec.prune: must be left out, because a score is {highest!r}, above {bound:g}, which is the bound of its scorer. So "
        "what was not fitted may have been the best."
    )
