"""The result of a cell that is no longer evaluated because two pods died of it."""

import math
from typing import Final

from tuningjob.protocol.records import Cell, CellResult
from tuningjob.search.cells import first_the_deciding
from tuningjob.search.problem import SearchProblem

_TOLD: Final = (
    "WorkerDied: two pods died of this cell, the second one while it was fitted alone. It is not tried a third time, and its "
    "scores are NaN. The pods' logs say how they died: if they were killed (SIGKILL, OOMKilled), give the pods more memory "
    "(spec.resources.memory); else the fit itself ends its process, so take these parameters out of the grid: {params}, "
    "split {split}"
)


def lost_result(problem: SearchProblem, cell: Cell) -> CellResult:
    """The result of a lost cell, as scikit-learn gives a failed fit with ``error_score=nan``."""
    key = problem.rows.key(cell)
    scores = dict.fromkeys(first_the_deciding(problem.spec.metrics), math.nan)
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores=scores,
        train_scores=dict(scores) if problem.spec.return_train_score else None,
        fit_seconds=0.0,
        score_seconds=0.0,
        test_samples=len(problem.rows.splits[key.split][1]),
        error=_TOLD.format(params=str(problem.rows.candidates[key.candidate])[:1_000], split=cell.split),
    )
