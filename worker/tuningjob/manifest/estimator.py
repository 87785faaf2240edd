"""``spec.estimator``: what is tuned."""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from tuningjob.manifest.fields import (
    FILLED_IN,
    PART_CLASS,
    STEP_CLASS,
    STEP_NAME,
    Checked,
    DottedPath,
    Params,
    Untyped,
    different,
)
from tuningjob.manifest.literals import (
    Arguments,
    Composed,
    ObjectOf,
    parse_estimator,
    parse_params,
)
from tuningjob.manifest.model import (
    Constraint,
    Model,
    cel_rules,
    exactly_one_of,
    exactly_one_untyped,
    must_be,
    no_params_beside,
    only_beside,
    params_only_beside_class,
)

ESTIMATOR: Final = "spec.estimator"


def _no_dunder(name: str) -> str:
    if "__" in name:
        raise must_be("a name without '__'", "scikit-learn parts a step's name from its parameter's by it.")
    return name


_NO_DUNDER: Final = Checked(_no_dunder, cel_rules(("!self.contains('__')", "must be a name without '__'")))
_Name = Annotated[str, Field(pattern=STEP_NAME, max_length=63), _NO_DUNDER]


class Step(Model):
    """One step of a pipeline."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_untyped("class_", "pipeline", "columns", "union"),
        params_only_beside_class(),
    )

    name: _Name = Field(description="Its name, as in scikit-learn's Pipeline; parameters are <name>__<parameter>.")
    class_: Annotated[str, Field(pattern=STEP_CLASS, max_length=253)] | None = Field(
        default=None, alias="class", description="Dotted path of the estimator's class, or passthrough."
    )
    params: Params = Field(
        default_factory=dict, description="Parameters that stay as they are.", json_schema_extra=FILLED_IN
    )
    pipeline: Untyped | None = Field(default=None, description="Steps of a pipeline that is a step.")
    columns: Untyped | None = Field(default=None, description="Parts of a ColumnTransformer that is a step.")
    remainder: Untyped | None = Field(default=None, description="What becomes of the columns that no part is given.")
    union: Untyped | None = Field(default=None, description="Parts of a FeatureUnion that is a step.")


class UnionPart(Step):
    """One part of a union."""

    name: _Name = Field(description="Its name, as in scikit-learn's FeatureUnion; parameters are <name>__<parameter>.")
    class_: Annotated[str, Field(pattern=PART_CLASS, max_length=253)] | None = Field(
        default=None, alias="class", description="Dotted path of the transformer's class, passthrough, or drop."
    )


class ColumnPart(Model):
    """The transformation of some columns."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_untyped("class_", "pipeline", "union"),
        params_only_beside_class(),
    )

    name: _Name = Field(
        description="Its name, as in scikit-learn's ColumnTransformer; parameters are <name>__<parameter>."
    )
    columns: Untyped = Field(
        description="Which columns: a list of names, {dtype: number} or {pattern: TEXT} as make_column_selector has them, or "
        "one name alone, of which the transformer is given the values without a second dimension, as text is."
    )
    class_: Annotated[str, Field(pattern=PART_CLASS, max_length=253)] | None = Field(
        default=None, alias="class", description="Dotted path of the transformer's class, passthrough, or drop."
    )
    params: Params = Field(
        default_factory=dict, description="Parameters that stay as they are.", json_schema_extra=FILLED_IN
    )
    pipeline: Untyped | None = Field(default=None, description="Steps of a pipeline that they go through.")
    union: Untyped | None = Field(default=None, description="Parts of a FeatureUnion that they are given to.")


class Estimator(Model):
    """The estimator to tune: a class, a pipeline, a column transformer, a union, or the result of the user's own function."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_of(
            "pipeline",
            "columns",
            "union",
            "class_",
            "factory",
            expected="one of a class, a pipeline, columns, a union, and a factory",
        ),
        only_beside("remainder", "columns"),
        no_params_beside("pipeline", "Give them to its steps."),
        no_params_beside("columns", "Give them to its parts."),
        no_params_beside("union", "Give them to its parts."),
    )

    pipeline: (
        Annotated[list[Step], Field(min_length=1, max_length=32), different("steps with different names", "name")]
        | None
    ) = Field(default=None, description="Steps of a scikit-learn Pipeline, in order.")
    columns: (
        Annotated[list[ColumnPart], Field(min_length=1, max_length=32), different("parts with different names", "name")]
        | None
    ) = Field(default=None, description="Parts of a scikit-learn ColumnTransformer, in order.")
    remainder: Untyped | None = Field(
        default=None,
        description="What becomes of the columns that no part is given: drop, passthrough, or a class with params. drop by "
        "default.",
    )
    union: (
        Annotated[list[UnionPart], Field(min_length=1, max_length=32), different("parts with different names", "name")]
        | None
    ) = Field(default=None, description="Parts of a scikit-learn FeatureUnion, in order.")
    class_: DottedPath | None = Field(
        default=None, alias="class", description="Dotted path of a single estimator's class."
    )
    factory: DottedPath | None = Field(
        default=None,
        description="Dotted path of a function of your own that returns the estimator. A fit is known by its code, too.",
    )
    params: Params = Field(
        default_factory=dict,
        description="Parameters of the class, or arguments of the factory, that stay as they are.",
        json_schema_extra=FILLED_IN,
    )

    @cached_property
    def arguments(self) -> Arguments:
        """The arguments in ``params``. Raises ManifestRefused."""
        return parse_params(self.params, f"{ESTIMATOR}.params")

    @cached_property
    def literal(self) -> ObjectOf | Composed | None:
        """The estimator as a value; None for a factory, whose result is not known. Raises ManifestRefused with all problems."""
        if self.factory is not None:
            return None
        written: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        for part in (written, *(each for kind in ("pipeline", "columns", "union") for each in written.get(kind, ()))):
            if not part["params"]:
                del part["params"]
        return parse_estimator(written, ESTIMATOR)
