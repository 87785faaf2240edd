"""Refine a grid from coarse to fine: the next round's grid lies around the best candidate so far. Pure.

Each parameter of the first grid whose values are numbers is an axis. A round's grid has as many points on an axis as the first
one, spans ``shrink`` times the width of the round before, includes the best value, and stays within the first grid's ends. All
other parameters keep the best candidate's values. Candidates tried before are left out, so that no cell is fitted twice.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final, TypeGuard

import numpy as np

from tuningjob.manifest.refine import Refine, Scale

# The digits of a value: finer tuning makes no sense, and the last digits of a logarithm depend on the processor.
_DIGITS: Final = 6
# An axis is logarithmic if its highest value is at least so many times its lowest and the manifest gives no scale.
_LOGARITHMIC: Final = 100

Params = Mapping[str, Any]
ParamGrid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class RefinedAxis:
    """The axis of a refined parameter in the first grid."""

    low: float
    high: float
    points: int
    scale: Scale

    def around(self, best: float, width: float) -> list[float]:
        """Points around ``best``, which is one of them; ``width`` is the part of the axis that they span."""
        low, high = self._on(self.low), self._on(self.high)
        half = (high - low) * width / 2
        middle = min(max(self._on(best), low + half), high - half)
        steps = [middle + half * (2 * i / (self.points - 1) - 1) for i in range(self.points)]
        return sorted({self._off(step) for step in steps} | {best})

    def _on(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else float(value)

    def _off(self, step: float) -> float:
        value = math.exp(step) if self.scale == "log" else step
        value = round(value) if self.scale == "integer" else float(f"{value:.{_DIGITS}g}")
        return min(max(value, self.low), self.high)


def axis_of(values: Sequence[Any], scale: Scale | None = None) -> RefinedAxis | None:
    """The axis of a parameter's values on the given scale, or on the one that they suggest; None if they have no axis."""
    numbers = [_plain(value) for value in values if _is_number(value)]
    if len(numbers) < len(values) or not all(map(math.isfinite, numbers)) or len(set(numbers)) < 2:
        return None
    low, high = min(numbers), max(numbers)
    found = scale or _scale_of(numbers, low, high)
    if (found == "log" and low <= 0) or (found == "integer" and not all(map(_is_whole, numbers))):
        return None
    return RefinedAxis(low, high, len(set(numbers)), found)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _is_whole(number: float) -> bool:
    return isinstance(number, int)


def _plain(number: Any) -> float:  # noqa: ANN401  of Python, or of numpy
    return int(number) if isinstance(number, Integral) else float(number)


def _scale_of(numbers: Sequence[float], low: float, high: float) -> Scale:
    if all(map(_is_whole, numbers)):
        return "integer"
    return "log" if low > 0 and high / low >= _LOGARITHMIC else "linear"


def next_round(
    refine: Refine, grids: Sequence[ParamGrid], tried: Sequence[Params], best: Params, number: int
) -> list[dict[str, Any]]:
    """The untried candidates around ``best`` in round ``number`` (the first grid is 0); none if the search has ended."""
    axes = axes_around(refine, grids, best)
    values = {
        name: axes[name].around(_plain(value), refine.shrink**number) if name in axes else [value]
        for name, value in sorted(best.items())
    }
    # in the order of scikit-learn's ParameterGrid: by sorted names, the last one turning fastest
    around = (dict(zip(values, each, strict=True)) for each in itertools.product(*values.values()))
    return list(_untried(around, tried)) if axes else []


def axes_around(refine: Refine, grids: Sequence[ParamGrid], best: Params) -> dict[str, RefinedAxis]:
    """The refined parameters around a candidate: those of the first grid that has the candidate's names and values."""
    for grid in grids:
        axes = refined_axes(refine, grid)
        if grid.keys() == best.keys() and all(_is_of(axes.get(name), grid[name], best[name]) for name in best):
            return axes
    return {}


def refined_axes(refine: Refine, grid: ParamGrid) -> dict[str, RefinedAxis]:
    """The axes of a grid, by the names of its refined parameters."""
    found = {name: axis_of(values, (refine.scales or {}).get(name)) for name, values in grid.items()}
    return {name: axis for name, axis in found.items() if axis is not None}


def _is_of(axis: RefinedAxis | None, values: Sequence[Any], value: object) -> bool:
    if axis is not None:
        return _is_number(value) and axis.low <= value <= axis.high
    return any(_key({"": each}) == _key({"": value}) for each in values)


def _untried(candidates: Iterable[dict[str, Any]], tried: Sequence[Params]) -> Iterator[dict[str, Any]]:
    known = {_key(each) for each in tried}
    return (each for each in candidates if _key(each) not in known)


def _key(candidate: Params) -> tuple[tuple[str, str, Any], ...]:
    """The key of a candidate: numbers and text by value, other objects by identity, because a user's may not be comparable."""
    return tuple((name, *_told(value)) for name, value in sorted(candidate.items()))


def _told(value: Any) -> tuple[str, Any]:  # noqa: ANN401  whatever a grid has
    if _is_number(value):
        return ("number", _plain(value))
    return ("text", value) if isinstance(value, str) else ("object", id(value))
