"""What a workload is: a search as a user would write it, built only in the processes that run it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import ParameterGrid, ParameterSampler

from benchmarks.oracle import Candidate, Oracle

Grid = Mapping[str, Any] | Sequence[Mapping[str, Any]]
RANDOM_STATE = 0


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The arguments of a GridSearchCV and of its fit; with `n_iter`, of a RandomizedSearchCV that draws from `grid`."""

    estimator: Any
    grid: Grid
    X: Any
    y: Any
    cv: int
    scoring: str | list[str] | None = None
    return_train_score: bool = False
    n_iter: int | None = None

    def candidates(self) -> list[Candidate]:
        """Every candidate, in scikit-learn's order."""
        if self.n_iter is None:
            return list(ParameterGrid(self.grid))
        return list(ParameterSampler(self.grid, self.n_iter, random_state=RANDOM_STATE))


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A problem with a name.

    oracle: the work of all candidates ÷ the work that differs, by the model that it names; None where nobody can tell.
    is_of_the_first_14: whether it was among those that the prototype was first judged by.
    """

    name: str
    build: Callable[[], Problem]
    oracle: Oracle | None
    is_of_the_first_14: bool


WORKLOADS: dict[str, Workload] = {}


def workload(
    name: str, *, oracle: Oracle | None, is_of_the_first_14: bool = False
) -> Callable[[Callable[[], Problem]], Callable[[], Problem]]:
    """Registers the function that builds a workload, in the order of the table."""

    def register(build: Callable[[], Problem]) -> Callable[[], Problem]:
        WORKLOADS[name] = Workload(name=name, build=build, oracle=oracle, is_of_the_first_14=is_of_the_first_14)
        return build

    return register
