"""A grid of parameters in scikit-learn's ParameterGrid order, by random access and without numpy.

The order (keys sorted, the last one fastest, a list of maps one after the other) is
``sklearn.model_selection.ParameterGrid``'s; a property test holds the two together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.spec.literals import Literal, Values, count_values, parse_values, refuse, to_json, value_at

_FIELD: Final = "spec.search.grid.parameters"


@dataclass(frozen=True)
class SubGrid:
    """One map of a grid: names sorted, and the values of each."""

    names: tuple[str, ...]
    values: tuple[Values, ...]

    @cached_property
    def size(self) -> int:
        """Candidates in this map; 1 for an empty one. Of any size: a grid of 10^30 is sized, not enumerated."""
        return math.prod(count_values(values) for values in self.values)

    def params_at(self, index: int) -> dict[str, Literal]:
        """The candidate at ``index``: the last name turns fastest."""
        params: dict[str, Literal] = {}
        for name, values in zip(reversed(self.names), reversed(self.values), strict=True):
            index, position = divmod(index, count_values(values))
            params[name] = value_at(values, position)
        return dict(sorted(params.items()))


@dataclass(frozen=True)
class Grid:
    """What a search walks: one or more maps, in order."""

    subgrids: tuple[SubGrid, ...]

    @cached_property
    def size(self) -> int:
        """Candidates in all."""
        return sum(subgrid.size for subgrid in self.subgrids)

    def params_at(self, index: int) -> dict[str, Literal]:
        """The candidate at ``index``. Raises IndexError outside the grid."""
        if index < 0:
            raise IndexError(index)
        for subgrid in self.subgrids:
            if index < subgrid.size:
                return subgrid.params_at(index)
            index -= subgrid.size
        raise IndexError(index)

    def json_at(self, index: int) -> dict[str, Any]:
        """``params_at`` as JSON, for people."""
        return {name: to_json(literal) for name, literal in self.params_at(index).items()}


def parse_grid(parameters: Any, field: str = _FIELD) -> Grid:  # noqa: ANN401  any JSON-like value
    """``spec.search.grid.parameters``: a map or a list of maps. Raises ManifestRefused."""
    if isinstance(parameters, Mapping):
        return Grid((_parse_subgrid(parameters, field),))
    if not isinstance(parameters, list) or not parameters:
        raise refuse(field, "a map of parameters, or a list of such maps", parameters)
    subgrids = []
    for i, entry in enumerate(parameters):
        if not isinstance(entry, Mapping):
            raise refuse(f"{field}[{i}]", "a map of parameters", entry)
        subgrids.append(_parse_subgrid(entry, f"{field}[{i}]"))
    return Grid(tuple(subgrids))


def _parse_subgrid(entry: Mapping[str, Any], field: str) -> SubGrid:
    names = tuple(sorted(entry))
    values: list[Values] = []
    problems: list[Problem] = []
    for name in names:
        try:
            values.append(parse_values(entry[name], f"{field}.{name}"))
        except ManifestRefused as refused:
            problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    return SubGrid(names, tuple(values))
