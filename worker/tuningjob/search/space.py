"""The space of a search: what GridSearchCV or RandomizedSearchCV is given, and the candidates that scikit-learn makes of it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV

from tuningjob.manifest.grid import GRID, SAMPLE
from tuningjob.manifest.literals import Distribution, Values
from tuningjob.manifest.search import Search
from tuningjob.protocol.records import Block
from tuningjob.search.build import build_space
from tuningjob.search.order import blocks_of

# Of what was drawn: enough to see what is wrong, and looked at in less than a second.
_LOOKED_AT: Final = 10_000

Maps = Sequence[Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Space:
    """``written``: as the manifest has it. ``given``: scikit-learn's param_grid, or its param_distributions."""

    search: Search
    written: Sequence[Mapping[str, Values | Distribution]]
    given: list[dict[str, Any]]

    @cached_property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """In scikit-learn's order: the same in every pod, because the seed of a random search is never absent."""
        random = self.search.random
        if random is None:
            grid: Sequence[Mapping[str, Any]] = ParameterGrid(self.given)
            return grid
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)  # told by us
            return list(ParameterSampler(self.given, random.iterations, random_state=random.random_state))

    @cached_property
    def tried(self) -> list[dict[str, list[Any]]]:
        """The values that fits will have, as maps of lists. Of a sample: of what was drawn, and nothing else.

        Drawn candidates are in one map if they set the same names and put the same objects (estimators as steps) there:
        what is valid for a parameter is up to the object whose it is.
        """
        if self.search.random is None:
            return self.given
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

    @property
    def listed(self) -> list[dict[str, list[Any]]]:
        """``given``, with the least value of a distribution in its place: what may stand in the maps' places."""
        return [
            {name: [values.support()[0]] if hasattr(values, "rvs") else values for name, values in each.items()}
            for each in self.given
        ]

    def field(self, i: int) -> str:
        """Where the manifest has the map ``i`` of ``given``."""
        return f"{_field_of(self.search)}[{i}]" if len(self.given) > 1 else _field_of(self.search)

    def field_tried(self, i: int) -> str:
        """Where the manifest has the map ``i`` of ``tried``. Which of several a sample was drawn from, nobody knows."""
        return self.field(i) if self.search.random is None else _field_of(self.search)

    def blocks(self, estimator: Any) -> tuple[Block, ...]:  # noqa: ANN401  an estimator
        """How the candidates are best walked; () in their order, for those of a sample have no axes."""
        return blocks_of(estimator, self.given) if self.search.random is None else ()

    def search_cv(self, estimator: Any, **settings: Any) -> GridSearchCV | RandomizedSearchCV:  # noqa: ANN401  an estimator
        """scikit-learn's own search over this space, unfitted."""
        random = self.search.random
        if random is None:
            return GridSearchCV(estimator, self.given, **settings)
        drawn = {"n_iter": random.iterations, "random_state": random.random_state}
        return RandomizedSearchCV(estimator, self.given, **drawn, **settings)


def space_of(search: Search) -> Space:
    """Raises ManifestRefused for objects that cannot be made."""
    written = search.space.maps
    return Space(search, written, build_space(written, _field_of(search)))


def _field_of(search: Search) -> str:
    return GRID if search.random is None else SAMPLE
