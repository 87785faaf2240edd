"""``spec.estimator``: what is tuned."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Final

from pydantic import Field

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.fields import FILLED_IN, STEP_CLASS, STEP_NAME, Checked, DottedPath, Params, different
from tuningjob.manifest.literals import Arguments, parse_params
from tuningjob.manifest.model import Model, Rule, cel_rules, exactly_one_of, must_be, no_params_beside


def _no_dunder(name: str) -> str:
    if "__" in name:
        raise must_be("a name without '__'", "scikit-learn parts a step's name from its parameter's by it.")
    return name


_NO_DUNDER: Final = Checked(_no_dunder, cel_rules(("!self.contains('__')", "must be a name without '__'")))


class Step(Model):
    """One step of a pipeline."""

    name: Annotated[str, Field(pattern=STEP_NAME, max_length=63), _NO_DUNDER] = Field(
        description="Its name, as in scikit-learn's Pipeline; parameters are <name>__<parameter>."
    )
    class_: Annotated[
        str,
        Field(
            alias="class",
            pattern=STEP_CLASS,
            max_length=253,
        ),
    ] = Field(description="Dotted path of the estimator's class, or passthrough.")
    params: Params = Field(
        default_factory=dict, description="Parameters that stay as they are.", json_schema_extra=FILLED_IN
    )


class Estimator(Model):
    """What is tuned: a pipeline, or one class."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("pipeline", "class_", expected="either a pipeline or a class"),
        no_params_beside("pipeline", "Give them to its steps."),
    )

    pipeline: (
        Annotated[list[Step], Field(min_length=1, max_length=32), different("steps with different names", "name")]
        | None
    ) = Field(default=None, description="Steps of a scikit-learn Pipeline, in order.")
    class_: DottedPath | None = Field(
        default=None, alias="class", description="Dotted path of a single estimator's class."
    )
    params: Params = Field(
        default_factory=dict,
        description="Parameters of the class that stay as they are.",
        json_schema_extra=FILLED_IN,
    )

    @cached_property
    def arguments(self) -> Arguments:
        """What ``params`` say. Raises ManifestRefused."""
        return parse_params(self.params, "spec.estimator.params")

    @cached_property
    def steps(self) -> tuple["ParsedStep", ...]:
        """The steps of the pipeline; () of a single class. Raises ManifestRefused with the problems of all of them."""
        steps: list[ParsedStep] = []
        problems: list[Problem] = []
        for i, step in enumerate(self.pipeline or []):
            where = f"spec.estimator.pipeline[{i}]"
            try:
                arguments = parse_params(step.params, f"{where}.params")
            except ManifestRefused as refused:
                problems += refused.problems
            else:
                steps.append(ParsedStep(step.name, step.class_, where, arguments))
        if problems:
            raise ManifestRefused(problems)
        return tuple(steps)


@dataclass(frozen=True)
class ParsedStep:
    """A step of a pipeline; ``field`` is where the manifest has it."""

    name: str
    class_path: str
    field: str
    arguments: Arguments
