"""The space of a search: what GridSearchCV or RandomizedSearchCV is given, and the candidates that scikit-learn makes of it."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

from sklearn.experimental import enable_halving_search_cv  # noqa: F401  their classes are there by this alone
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

# Of what was drawn: enough to see what is wrong, and looked at in less than a second.
_LOOKED_AT: Final = 10_000

Maps = Sequence[Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Space(ABC):
    """``written``: as the manifest has it. ``given``: scikit-learn's param_grid, or its param_distributions."""

    written: Sequence[Mapping[str, Values | Distribution]]
    given: list[dict[str, Any]]
    halving: Halving | None = field(default=None, kw_only=True)

    root: ClassVar[str]  # where the manifest has the maps
    no_value: ClassVar[str]  # of a parameter of which no value is valid
    without_it: ClassVar[str]  # what to do about one value that is not

    @property
    @abstractmethod
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """In scikit-learn's order: the same in every pod."""

    @property
    @abstractmethod
    def tried(self) -> list[dict[str, list[Any]]]:
        """The values that fits will have, as maps of lists."""

    @property
    def listed(self) -> list[dict[str, list[Any]]]:
        """``given``, with the least value of a distribution in its place: what may stand in the maps' places."""
        return [
            {name: [values.support()[0]] if hasattr(values, "rvs") else values for name, values in each.items()}
            for each in self.given
        ]

    def field(self, i: int) -> str:
        """Where the manifest has the map ``i`` of ``given``."""
        return f"{self.root}[{i}]" if len(self.given) > 1 else self.root

    @abstractmethod
    def field_tried(self, i: int) -> str:
        """Where the manifest has the map ``i`` of ``tried``."""

    @abstractmethod
    def is_everywhere(self, name: str) -> bool:
        """Whether no candidate can be fitted if no value of this parameter, in a map that has it, is valid."""

    @abstractmethod
    def blocks(self, estimator: Estimator) -> tuple[Block, ...]:
        """How the candidates are best walked; () in their order."""

    @abstractmethod
    def search_cv(self, estimator: Estimator, **settings: Anything) -> Anything:
        """scikit-learn's own search over this space, unfitted."""


class GridSpace(Space):
    """Every combination of the values: a grid."""

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
    """Combinations that are drawn at random; the seed is never absent, so every pod draws the same."""

    iterations: int
    random_state: int

    root = SAMPLE
    no_value = "no value that was drawn is valid"
    without_it = "Narrow what is drawn from"

    @cached_property
    @override
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)  # we say it ourselves
            return list(ParameterSampler(self.given, self.iterations, random_state=self.random_state))

    @cached_property
    @override
    def tried(self) -> list[dict[str, list[Any]]]:
        """Of what was drawn, and nothing else.

        Candidates are in one map if they set the same names and put the same objects (estimators as steps) there: what is valid
        for a parameter is up to the object that has it.
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
        """What was drawn for one of several maps may be invalid by chance."""
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
    """Raises ManifestRefused for objects that cannot be made."""
    written = search.space.maps
    if search.random is None:
        return GridSpace(written, build_space(written, GRID), halving=search.halving)
    given = build_space(written, SAMPLE)
    return DrawnSpace(written, given, search.random.iterations, search.random.random_state, halving=search.halving)
