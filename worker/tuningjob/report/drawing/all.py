"""All figures for which the results have data, in the order of the page."""

from tuningjob.report.drawing import measures, spaces
from tuningjob.report.drawing.outer import outer_of
from tuningjob.report.drawing.parallel import parallel
from tuningjob.report.drawing.rounds import rounds_of
from tuningjob.report.drawing.svg import Figure
from tuningjob.report.importance import importance_of
from tuningjob.report.table import ResultTable


def figures_of(table: ResultTable) -> list[Figure]:
    """The figures for which there is data."""
    if table.failed.all():
        return []
    importance = importance_of(table)
    found = [
        spaces.maps(table, importance),
        spaces.bars(importance) if importance is not None else None,
        parallel(table),
        rounds_of(table),
        outer_of(table),
        measures.cost(table),
        measures.folds(table),
        measures.gaps(table),
        *measures.metrics(table),
    ]
    return [figure for figure in found if figure is not None]
