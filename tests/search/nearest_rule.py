"""The rule of ``tests.search.nearest``, which imports it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.search.nearest import Nearest, told
from tuningjob.engine.rules import NestedFit, register


@register
class OneFitForAllWidths(NestedFit):
    """See Nearest.fit."""

    estimators = (Nearest,)
    parameters = ("width",)
    proof = "tests/local/test_kills.py"

    def is_proved_here(self) -> bool:
        """It is this project's own."""
        return True

    def applies(self, estimator: Any, X: Any, y: Any) -> bool:
        """Always."""
        return True

    def accepts(self, estimator: Any) -> bool:
        """Always."""
        return True

    def fit(self, estimators: Sequence[Any], X: Any, y: Any, fit_params: Mapping[str, Any]) -> Iterator[Any]:
        """All of them by the first one's."""
        first = estimators[0]
        first._learn(X, y)
        told(first.power, len(estimators))
        for estimator in estimators:
            estimator.classes_, estimator.means_ = first.classes_, first.means_
            yield estimator
