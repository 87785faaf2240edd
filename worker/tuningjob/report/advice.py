"""Advice: what the results say about the next search. Each check is a pure function of them."""

from collections.abc import Callable, Iterator
from typing import Final

from tuningjob.report.checks.base import Advice, Kind
from tuningjob.report.checks.scores import disagreeing_metric, no_gain, noise, outlying_fold, overfitting
from tuningjob.report.checks.values import edges, failures, flat, inert, wasted
from tuningjob.report.table import ResultTable

__all__ = ["Advice", "Kind", "advice_of"]

# Advice that may change the answer comes before advice that saves time.
_CHECKS: Final[tuple[Callable[[ResultTable], Iterator[Advice]], ...]] = (
    edges, no_gain, noise, overfitting, failures, outlying_fold, disagreeing_metric, flat, inert, wasted,
)  # fmt: skip


def advice_of(table: ResultTable) -> tuple[Advice, ...]:
    """The advice of all checks, the most important first."""
    return tuple(advice for check in _CHECKS for advice in check(table))
