"""Forecast what a cell costs from measured cells: additive in the parameters, on a logarithmic scale."""

import math
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array

from tuningjob.aliases import ParamValue
from tuningjob.engine.fingerprint import fingerprint

_RIDGE: Final = 0.1  # little data must not mean wild effects
# All measurements up to the first number, then one in so many, because a forecast must not cost more than thousands of tiny fits.
_ALL_UP_TO: Final = 256
_ONE_IN: Final = 16
# Only the last so many are fitted. A value drawn from a distribution is new in nearly each candidate, so a million of them would
# be a system of a million unknowns: pods of 4 GiB ran out of memory before there was a bound.
_FITTED: Final = 512
# The parameters in which cost grows about linearly: the forecast before anything was measured.
_SIZES: Final = frozenset({"n_estimators", "max_iter", "n_components", "max_leaf_nodes"})


class Forecast:
    """How long a candidate takes on one split, in seconds.

    log(seconds) = a constant + a number for the value of each parameter + (if it is a positive number) a slope times its
    logarithm. It is a ridge regression on the last 512 measurements, fitted again when their number has doubled. Twelve measured
    fits are enough for the order (median error × 1.04–1.26), and only the order is used.
    """

    def __init__(self) -> None:
        self._measured: deque[tuple[dict[Hashable, float], float]] = deque(maxlen=_FITTED)
        self._common = 0.0
        self._weights: dict[Hashable, float] = {}
        self._next_fit = 4
        self._seen = 0
        self._learned = 0
        self.version = 0

    def learn(self, params: Mapping[str, Any], seconds: float) -> None:
        """Take in how long one cell of these parameters took, in seconds; of very many cells only some count."""
        self._seen += 1
        if self._seen > _ALL_UP_TO and self._seen % _ONE_IN:
            return
        self._measured.append((dict(_features(params)), math.log(max(seconds, 1e-6))))
        self._learned += 1
        if self._learned >= self._next_fit:
            self._next_fit = 2 * self._learned
            self._fit()

    def seconds(self, params: Mapping[str, Any]) -> float:
        """The expected seconds; before any measurement, a number that is only good for comparing."""
        if not self.is_measured:
            return magnitude_of(params)
        own = sum(self._weights.get(feature, 0.0) * value for feature, value in _features(params))
        # Rounded, so that costs which differ by the solver's last digits alone are equal on every machine.
        return math.exp(min(50.0, round(self._common + own, 9)))

    @property
    def is_measured(self) -> bool:
        """Whether ``seconds()`` gives a time, and not only a number for comparing."""
        return self.version > 0

    def _fit(self) -> None:
        """Solve for one number a measurement, because there may be many more features.

        With the features Z, the logarithms y and J, which subtracts the mean: (J Z Zᵀ J + ridge) a = J y; the weights are Zᵀ a.
        """
        self.version += 1
        columns: dict[Hashable, int] = {}
        ends, places = [0], list[int]()
        values: list[float] = []
        for features, _ in self._measured:
            places += [columns.setdefault(feature, len(columns)) for feature in features]
            values += features.values()
            ends.append(len(places))
        logs = np.array([log for _, log in self._measured])
        design = csr_array((values, places, ends), shape=(len(logs), len(columns)))
        alike = (design @ design.T).toarray()
        centred = alike - alike.mean(axis=0) - alike.mean(axis=1, keepdims=True) + alike.mean()
        each = np.linalg.solve(centred + _RIDGE * np.identity(len(logs)), logs - logs.mean())
        weights = design.T @ each
        self._common = float(np.mean(logs - design @ weights))
        self._weights = dict(zip(columns, weights.tolist(), strict=True))


def _features(params: Mapping[str, Any]) -> Iterator[tuple[Hashable, float]]:
    for name, value in params.items():
        yield (name, fingerprint(value)), 1.0
        if _is_positive(value):
            yield name, math.log(value)


def magnitude_of(params: Mapping[str, Any]) -> float:
    """The relative cost of an unshared fit, by sizes alone, because measured times are parts of shared fits."""
    return math.prod(float(value) for name, value in params.items() if _is_size(name, value))


def _is_size(name: str, value: ParamValue) -> bool:
    return name.rsplit("__", 1)[-1] in _SIZES and _is_positive(value)


def _is_positive(value: ParamValue) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(0 < value < math.inf)
