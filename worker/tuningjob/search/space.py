"""The space of a search: the argument of GridSearchCV or RandomizedSearchCV, and the candidates that scikit-learn makes of it."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

from sklearn.experimental import enable_halving_search_cv  # noqa: F401  this import enables their classes
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
)
from typing_extensions import override

from tuningjob.aliases import Anything, Estimator
from tuningjob.manifest.grid import GRID, SAMPLE
from tuningjob.manifest.halving import Halving
from tuningjob.manifest.ranges import Distribution, Values
from tuningjob.manifest.search import Search
from tuningjob.protocol.records import Block
from tuningjob.search.build import build_space
from tuningjob.search.order import blocks_of

# The drawn candidates that are checked: enough to find faults, in less than a second.
_LOOKED_AT: Final = 10_000

Maps = Sequence[Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Space(ABC):
    """A space; ``written`` has the manifest's literals, ``given`` is scikit-learn's param_grid or param_distributions."""

    written: Sequence[Mapping[str, Values | Distribution]]
    given: list[dict[str, Any]]
    halving: Halving | None = field(default=None, kw_only=True)

    root: ClassVar[str]  # the place of the maps in the manifest
    no_value: ClassVar[str]  # the message for a parameter without a valid value
    without_it: ClassVar[str]  # the advice for one invalid value

    @property
    @abstractmethod
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """The candidates in scikit-learn's order, the same in every pod."""

    @property
    @abstractmethod
    def tried(self) -> list[dict[str, list[Any]]]:
        """The values that fits will use, as maps of lists."""

    @property
    def listed(self) -> list[dict[str, list[Any]]]:
        """The maps of ``given`` with values listed: a distribution is replaced by its least value."""
        return [
            {name: [values.support()[0]] if hasattr(values, "rvs") else values for name, values in each.items()}
            for each in self.given
        ]

    def field(self, i: int) -> str:
        """The place in the manifest of the map ``i`` of ``given``."""
        return f"{self.root}[{i}]" if len(self.given) > 1 else self.root

    @abstractmethod
    def field_tried(self, i: int) -> str:
        """The place in the manifest of the map ``i`` of ``tried``."""

    @abstractmethod
    def is_everywhere(self, name: str) -> bool:
        """Whether nothing can be fitted if this parameter has no valid value in a map."""

    @abstractmethod
    def blocks(self, estimator: Estimator) -> tuple[Block, ...]:
        """The blocks by which the candidates are best walked; () for their own order."""

    @abstractmethod
    def search_cv(self, estimator: Estimator, **settings: Anything) -> Anything:
        """scikit-learn's own search over this space, unfitted."""


class GridSpace(Space):
    """A grid: every combination of the values."""

    root = GRID
    no_value = "no value of the list is valid"
    without_it = "Take it out of the list"

    @cached_property
    @override
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        grid: Sequence[Mapping[str, Any]] = ParameterGrid(self.given)
        return grid

    @property
    @override
    def tried(self) -> list[dict[str, list[Any]]]:
        return self.given

    @override
    def field_tried(self, i: int) -> str:
        return self.field(i)

    @override
    def is_everywhere(self, name: str) -> bool:  # with any of its parameters a whole map of a grid is lost
        return True

    @override
    def blocks(self, estimator: Any) -> tuple[Block, ...]:
        return blocks_of(estimator, self.given)

    @override
    def search_cv(self, estimator: Any, **settings: Any) -> Any:
        if self.halving is None:
            return GridSearchCV(estimator, self.given, **settings)
        seed = self.halving.random_state or 0
        return HalvingGridSearchCV(estimator, self.given, random_state=seed, **_halved(self.halving), **settings)


@dataclass(frozen=True)
class DrawnSpace(Space):
    """Combinations drawn at random; there is always a seed, so every pod draws the same."""

    iterations: int
    random_state: int

    root = SAMPLE
    no_value = "no value that was drawn is valid"
    without_it = "Narrow what is drawn from"

    @cached_property
    @override
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)  # an own warning says it
            return list(ParameterSampler(self.given, self.iterations, random_state=self.random_state))

    @cached_property
    @override
    def tried(self) -> list[dict[str, list[Any]]]:
        """The drawn values only, as maps.

        Candidates are in one map if they set the same names and the same objects (estimators as steps), because the owner of a
        parameter decides which values are valid.
        """
        maps: dict[tuple[Any, ...], dict[str, dict[int, Any]]] = {}
        for candidate in self.candidates[:_LOOKED_AT]:
            kind = tuple(
                (name, id(candidate[name]) if hasattr(candidate[name], "get_params") else None)
                for name in sorted(candidate)
            )
            values = maps.setdefault(kind, {name: {} for name in candidate})
            for name, value in candidate.items():
                values[name][id(value)] = value
        return [{name: list(values.values()) for name, values in each.items()} for each in maps.values()]

    @override
    def field_tried(self, i: int) -> str:  # which map a candidate was drawn from cannot be known
        return self.root

    @override
    def is_everywhere(self, name: str) -> bool:
        """Whether every drawn map has the parameter; values drawn for only one of several maps may be invalid by chance."""
        return all(name in each for each in self.tried)

    @override
    def blocks(self, estimator: Any) -> tuple[Block, ...]:
        return ()

    @override
    def search_cv(self, estimator: Any, **settings: Any) -> Any:
        if self.halving is None:
            drawn = {"n_iter": self.iterations, "random_state": self.random_state}
            return RandomizedSearchCV(estimator, self.given, **drawn, **settings)
        drawn = {"n_candidates": self.iterations, "random_state": self.random_state}
        return HalvingRandomSearchCV(estimator, self.given, **drawn, **_halved(self.halving), **settings)


def _halved(halving: Halving) -> dict[str, Any]:
    factor = halving.factor
    return {
        "factor": int(factor) if float(factor).is_integer() else factor,
        "resource": halving.resource,
        "max_resources": "auto" if halving.max_resources is None else halving.max_resources,
        "min_resources": halving.min_resources,
        "aggressive_elimination": halving.aggressive_elimination,
    }


def space_of(search: Search) -> Space:
    """Make the space of a search. Raises ManifestRefused for objects that cannot be made."""
    written = search.space.maps
    if search.random is None:
        return GridSpace(written, build_space(written, GRID), halving=search.halving)
    given = build_space(written, SAMPLE)
    return DrawnSpace(written, given, search.random.iterations, search.random.random_state, halving=search.halving)
