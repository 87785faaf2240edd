"""``spec.search``: which candidates are tried."""

from functools import cached_property
from typing import Annotated, ClassVar, Final

from pydantic import Field

from tuningjob.manifest.fields import Untyped
from tuningjob.manifest.grid import Grid, Sample, parse_grid, parse_sample
from tuningjob.manifest.halving import Halving
from tuningjob.manifest.model import Constraint, Model, exactly_one_of
from tuningjob.manifest.nested import Nested
from tuningjob.manifest.refine import Refine


class GridSearch(Model):
    """Every combination of the values: scikit-learn's GridSearchCV."""

    parameters: Untyped = Field(
        description="A map from a parameter's name to its list of values, or a list of such maps: scikit-learn's param_grid."
    )


# scipy draws some thousand values a second, and each pod draws all of them.
MOST_ITERATIONS: Final = 100_000


class RandomSearch(Model):
    """Combinations that are drawn at random: scikit-learn's RandomizedSearchCV."""

    parameters: Untyped = Field(
        description="A map from a parameter's name to its list of values or to a distribution, or a list of such maps: "
        "scikit-learn's param_distributions."
    )
    iterations: Annotated[int, Field(ge=1, le=MOST_ITERATIONS)] = Field(
        default=10, description="How many combinations are drawn: scikit-learn's n_iter."
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0,
        description="The seed that they are drawn by. Never absent, as scikit-learn's may be: every pod must draw the same.",
    )


class Search(Model):
    """Which candidates are tried."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_of("grid", "random", expected="either a grid or random"),
        Constraint(
            "!has(self.random) || !has(self.halving) || !has(self.halving.randomState)",
            lambda search: search.random is None or search.halving is None or search.halving.random_state is None,
            "without halving.randomState beside random",
            "Candidates and samples are drawn by random.randomState.",
        ),
        Constraint(
            "[has(self.halving), has(self.refine), has(self.nested)].filter(given, given).size() <= 1",
            lambda search: sum(each is not None for each in (search.halving, search.refine, search.nested)) <= 1,
            "with one of halving, refine and nested",
            "Remove the others.",
        ),
        Constraint(
            "!has(self.random) || !has(self.refine)",
            lambda search: search.random is None or search.refine is None,
            "with a grid beside refine",
            "What is drawn has no points to be refined around.",
        ),
    )

    grid: GridSearch | None = Field(default=None, description="Try every combination.")
    random: RandomSearch | None = Field(default=None, description="Try so many combinations, drawn at random.")
    halving: Halving | None = Field(
        default=None,
        description="Try them by rounds: all with little of a resource, then the best of them with more. Beside grid or random.",
    )

    refine: Refine | None = Field(
        default=None, description="After the grid, finer ones around the best candidate so far, round by round."
    )

    nested: Nested | None = Field(
        default=None, description="The search once more in each of some outer folds: the score to expect on other data."
    )

    @property
    def has_stages(self) -> bool:
        """Whether later candidates depend on earlier results."""
        return self.halving is not None or self.refine is not None

    @cached_property
    def space(self) -> Grid | Sample:
        """The candidates, as a grid or as maps to draw from. Raises ManifestRefused."""
        if self.random is not None:
            return parse_sample(self.random.parameters, self.random.iterations)
        assert self.grid is not None  # noqa: S101  there is one of the two
        return parse_grid(self.grid.parameters)
