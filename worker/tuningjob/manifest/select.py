"""``spec.select``: the rule by which the best candidate is chosen, in the place of scikit-learn's refit callable."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from tuningjob.manifest.fields import Checked
from tuningjob.manifest.model import Constraint, Model, cel_rules, must_be

RULES: Final = ("best", "one_standard_error", "fastest_within", "fastest_within_standard_errors", "most_stable")


def _true(value: bool) -> bool:  # noqa: FBT001  what a manifest says
    if not value:
        raise must_be("true, or absent")
    return value


def _one_parameter(each: dict[str, str]) -> dict[str, str]:
    if len(each) != 1:
        raise must_be("a map of one parameter", "Write one map for each, the most important first.")
    return each


Direction = Literal["ascending", "descending"]
Simplest = Annotated[dict[str, Direction], Checked(_one_parameter, {"minProperties": 1, "maxProperties": 1})]


class OneStandardError(Model):
    """The simplest candidate that is not worse than the best by more than a standard error of its mean."""

    simplest: Annotated[list[Simplest], Field(min_length=1, max_length=16)] = Field(
        description="By which parameters a candidate is simpler, the most important first: ascending, if the lower value is the "
        "simpler one."
    )


class MostStable(Model):
    """The candidate with the highest mean after some standard deviations are taken off."""

    deviations: Annotated[float, Field(ge=0, le=1_000)] = Field(
        default=1, description="How many standard deviations over the splits are taken off the mean."
    )


def _given(select: "Select") -> int:
    return sum(getattr(select, name) is not None for name in RULES)


class Select(Model):
    """Which candidate is chosen; best by default."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            "[has(self.best), has(self.oneStandardError), has(self.fastestWithin), has(self.fastestWithinStandardErrors), "
            "has(self.mostStable)].filter(given, given).size() <= 1",
            lambda select: _given(select) <= 1,
            "with one rule of best, oneStandardError, fastestWithin, fastestWithinStandardErrors and mostStable",
            "maxOverfitGap may stand beside any of them.",
        ),
    )

    @property
    def is_best(self) -> bool:
        """Whether the highest mean is chosen, as without any rule."""
        return self.max_overfit_gap is None and not any(getattr(self, name) is not None for name in RULES[1:])

    best: Annotated[bool, Checked(_true, cel_rules(("self", "must be true, or absent")))] | None = Field(
        default=None, description="The highest mean test score."
    )
    one_standard_error: OneStandardError | None = Field(
        default=None, description="The simplest candidate within one standard error of the best."
    )
    fastest_within: Annotated[float, Field(ge=0, le=1e12)] | None = Field(
        default=None,
        description="The one that is fitted fastest of those whose mean is not below the best by more than this.",
    )
    fastest_within_standard_errors: Annotated[float, Field(ge=0, le=1_000)] | None = Field(
        default=None,
        description="The same, of those within so many standard errors of the best mean.",
    )
    most_stable: MostStable | None = Field(
        default=None, description="The highest mean test score less so many standard deviations."
    )
    max_overfit_gap: Annotated[float, Field(ge=0, le=1e12)] | None = Field(
        default=None,
        description="Only candidates whose mean train score is not above their mean test score by more than this. Needs "
        "returnTrainScore.",
    )
