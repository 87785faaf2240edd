"""What a search tries: a grid in scikit-learn's ParameterGrid order, by random access and without numpy, or a sample.

The order (keys sorted, the last one fastest, a list of maps one after the other) is
``sklearn.model_selection.ParameterGrid``'s; a property test compares the two. Which candidates a random search draws is decided
in the pods by scikit-learn's ParameterSampler (``tuningjob.search.space``); here is only their number.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.literals import Value, readable, refuse
from tuningjob.manifest.ranges import Distribution, Values, count_values, parse_distribution, parse_values, value_at
from tuningjob.manifest.spelling import params_to_json

GRID: Final = "spec.search.grid.parameters"
SAMPLE: Final = "spec.search.random.parameters"
# A pod that draws from lists and ranges holds their values in memory.
MOST_LISTED: Final = 1_000_000
# To draw without replacement, scikit-learn numbers the combinations with 64 bits.
_MOST_COMBINATIONS: Final = 2**63 - 1
_RANGES: Final = ("{range: [start, stop, step]}", "{linspace: [start, stop, num]}", "{logspace: [start, stop, num]}")
_DISTRIBUTIONS: Final = ("{uniform: [low, high]}", "{loguniform: [low, high]}", "{randint: [low, high]}")
_TAGS: Final = frozenset(
    {"range", "linspace", "logspace", "uniform", "loguniform", "randint", "tuple", "dict", "int", "float", "none"}
)
_PYTHON: Final = re.compile(r"(np\.|numpy\.)?(?P<kind>logspace|linspace|geomspace|arange|range)\((?P<arguments>.*)$")
_T = TypeVar("_T")


@dataclass(frozen=True)
class SubGrid:
    """One map of a grid: its sorted names, and the values of each."""

    names: tuple[str, ...]
    values: tuple[Values, ...]

    @cached_property
    def size(self) -> int:
        """The number of candidates in this map; 1 for an empty one. A grid of 10^30 is sized without being enumerated."""
        return math.prod(count_values(values) for values in self.values)

    def params_at(self, index: int) -> dict[str, Value]:
        """The candidate at ``index``: the last name turns fastest."""
        params: dict[str, Value] = {}
        for name, values in zip(reversed(self.names), reversed(self.values), strict=True):
            index, position = divmod(index, count_values(values))
            params[name] = value_at(values, position)
        return dict(sorted(params.items()))


@dataclass(frozen=True)
class Grid:
    """What a search walks: one or more maps, in order."""

    subgrids: tuple[SubGrid, ...]

    @property
    def maps(self) -> tuple[Mapping[str, Values], ...]:
        """The maps of the manifest, with sorted names."""
        return tuple(dict(zip(each.names, each.values, strict=True)) for each in self.subgrids)

    @cached_property
    def size(self) -> int:
        """The number of candidates in all maps."""
        return sum(subgrid.size for subgrid in self.subgrids)

    def params_at(self, index: int) -> dict[str, Value]:
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
        return params_to_json(self.params_at(index).items())


@dataclass(frozen=True)
class Sample:
    """What a random search draws from, and how often. ``maps``: for each sorted name a list of values or a distribution."""

    maps: tuple[Mapping[str, Values | Distribution], ...]
    iterations: int

    @cached_property
    def combinations(self) -> int | None:
        """The number of combinations if all are lists, which are drawn without replacement; None if there is a distribution."""
        if any(len(lists) < len(each) for lists, each in zip(self._lists, self.maps, strict=True)):
            return None
        return sum(math.prod(map(count_values, lists)) for lists in self._lists)

    @cached_property
    def listed(self) -> int:
        """The number of values in all lists and ranges."""
        return sum(count_values(values) for lists in self._lists for values in lists)

    @property
    def _lists(self) -> list[list[Values]]:
        return [[each for each in values.values() if not isinstance(each, Distribution)] for values in self.maps]

    @property
    def size(self) -> int:
        """The number of candidates: ``iterations``, or all combinations if they are fewer."""
        return self.iterations if self.combinations is None else min(self.iterations, self.combinations)


def parse_grid(parameters: Json, field: str = GRID) -> Grid:
    """``spec.search.grid.parameters``: a map, or a list of maps. Raises ManifestRefused."""
    maps = _parse_maps(parameters, field, _values)
    return Grid(tuple(SubGrid(tuple(each), tuple(each.values())) for each in maps))


def parse_sample(parameters: Json, iterations: int) -> Sample:
    """``spec.search.random.parameters``: a map, or a list of maps. Raises ManifestRefused."""
    sample = Sample(_parse_maps(parameters, SAMPLE, _drawn_from), iterations)
    if sample.listed > MOST_LISTED:
        must_be = f"lists of at most {MOST_LISTED:,} values together"
        advice = "Draw from {randint: [low, high]}, {uniform: …} or {loguniform: …} instead."
        raise ManifestRefused([Problem(SAMPLE, must_be, readable(sample.listed), advice)])
    if not can_be_drawn(sample):
        must_be = "lists of at most 2^63 - 1 combinations, which scikit-learn draws by their number"
        advice = "Give fewer values, or draw one parameter from a distribution."
        raise ManifestRefused([Problem(SAMPLE, must_be, readable(sample.combinations or 0), advice)])
    return sample


def can_be_drawn(sample: Sample) -> bool:
    """Whether scikit-learn can draw it, and a pod has room for the lists."""
    return sample.listed <= MOST_LISTED and (sample.combinations or 0) <= _MOST_COMBINATIONS


def _drawn_from(value: Json, field: str) -> Values | Distribution:
    found = parse_distribution(value, field)
    return _values(value, field, (*_RANGES, *_DISTRIBUTIONS)) if found is None else found


def _values(value: Json, field: str, known: Sequence[str] = _RANGES) -> Values:
    """``parse_values``; its refusals also say what to write instead of another kind of range, or of Python."""
    is_map = isinstance(value, Mapping) and len(value) == 1
    if is_map and not _TAGS.intersection(value):
        raise refuse(field, "a list of values", value, f"Or one of {', '.join(known[:-1])} and {known[-1]}.")
    if isinstance(value, str) and (python := _PYTHON.match(value)):
        raise refuse(field, "a list of values", value, _in_place_of(python))
    return parse_values(value, field)


def _in_place_of(python: "re.Match[str]") -> str:
    """What to write for numpy's ranges; the text is whole only if YAML has not split it at its commas."""
    kind, arguments = python["kind"], python["arguments"]
    tag = {"arange": "range", "geomspace": "logspace"}.get(kind, kind)
    default = "stop" if tag == "range" else "start, stop, num"
    meant = arguments.rstrip(")") if arguments.endswith(")") and kind != "geomspace" else default
    return f"A manifest has no Python. Write {{{tag}: [{meant}]}}."


def _parse_maps(
    parameters: Json,
    field: str,
    parse: Callable[[Any, str], _T],
) -> tuple[dict[str, _T], ...]:
    if isinstance(parameters, Mapping):
        return (_parse_map(parameters, field, parse),)
    if not isinstance(parameters, list) or not parameters:
        raise refuse(field, "a map of parameters, or a list of such maps", parameters)
    maps = []
    for i, entry in enumerate(parameters):
        if not isinstance(entry, Mapping):
            raise refuse(f"{field}[{i}]", "a map of parameters", entry)
        maps.append(_parse_map(entry, f"{field}[{i}]", parse))
    return tuple(maps)


def _parse_map(entry: Mapping[str, Any], field: str, parse: Callable[[Any, str], _T]) -> dict[str, _T]:
    parsed: dict[str, _T] = {}
    problems: list[Problem] = []
    for name in sorted(entry):
        try:
            parsed[name] = parse(entry[name], f"{field}.{name}")
        except ManifestRefused as refused:
            problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    return parsed
