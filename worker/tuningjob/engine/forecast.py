"""What a cell will cost, from those that were measured: additive in the parameters, on a logarithmic scale."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Anything, ParamValue
from tuningjob.engine.fingerprint import fingerprint

_RIDGE: Final = 0.1  # little data must not mean wild effects
# All measurements up to the first number, then one in so many: thousands of tiny fits must not cost the parent more than they.
_ALL_UP_TO: Final = 256
_ONE_IN: Final = 16
# Before anything was measured: cost grows about linearly in these.
_SIZES: Final = frozenset({"n_estimators", "max_iter", "n_components", "max_leaf_nodes"})


class Forecast:
    """How long a candidate takes on one split, in seconds.

    log(seconds) = one number for all + for each parameter one for its value + (where it is a positive number) a slope times
    its logarithm; ridge regression, fitted anew when the measurements have doubled. Twelve measured fits are enough for the
    order (median error × 1.04–1.26), and the order is all that is asked of it.
    """

    def __init__(self) -> None:
        self._columns: dict[Any, int] = {}
        self._measured: list[tuple[dict[int, float], float]] = []
        self._weights: np.ndarray[Any, Any] | None = None
        self._next_fit = 4
        self._seen = 0
        self.version = 0

    def learn(self, params: Mapping[str, Any], seconds: float) -> None:
        """One cell was measured."""
        self._seen += 1
        if self._seen > _ALL_UP_TO and self._seen % _ONE_IN:
            return
        self._measured.append((self._features(params), math.log(max(seconds, 1e-6))))
        if len(self._measured) >= self._next_fit:
            self._next_fit = 2 * len(self._measured)
            self._fit()

    def seconds(self, params: Mapping[str, Any]) -> float:
        """The expected seconds; without measurements yet a number that is only good for comparing."""
        if self._weights is None:
            return magnitude_of(params)
        known = ((column, value) for column, value in self._features(params).items() if column < len(self._weights))
        return math.exp(min(50.0, sum(self._weights[column] * value for column, value in known)))

    @property
    def is_measured(self) -> bool:
        """Whether ``seconds`` are seconds."""
        return self._weights is not None

    def _features(self, params: Mapping[str, Any]) -> dict[int, float]:
        features = {self._column("all"): 1.0}
        for name, value in params.items():
            features[self._column((name, fingerprint(value)))] = 1.0
            if _is_positive(value):
                features[self._column(name)] = math.log(value)
        return features

    def _column(self, key: Anything) -> int:
        return self._columns.setdefault(key, len(self._columns))

    def _fit(self) -> None:
        self.version += 1
        rows = self._measured
        design = np.zeros((len(rows), len(self._columns)))
        for row, (features, _) in zip(design, rows, strict=True):
            row[list(features)] = list(features.values())
        gram = design.T @ design
        penalty = np.full(len(gram), _RIDGE)
        penalty[self._columns["all"]] = 0.0
        self._weights = np.linalg.solve(gram + np.diag(penalty + 1e-9), design.T @ np.array([log for _, log in rows]))


def magnitude_of(params: Mapping[str, Any]) -> float:
    """What a fit of its own costs, compared with another's that differs in sizes only: measured are parts of shared ones."""
    return math.prod(float(value) for name, value in params.items() if _is_size(name, value))


def _is_size(name: str, value: ParamValue) -> bool:
    return name.rsplit("__", 1)[-1] in _SIZES and _is_positive(value)


def _is_positive(value: ParamValue) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(0 < value < math.inf)
