"""What every part of a manifest shares: its spelling, and constraints that tie its fields together, in CEL and Python at once.

A constraint is written once. The CRD gets it as a rule in CEL with its message, pydantic as a check with the same message. Python
may name the one field that is wrong, which the API server cannot do; the constraint then says how (``closer``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

RULES: Final = "x-kubernetes-validations"
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
_RESERVED: Final = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true"}
)


def must_be(expected: str, advice: str = "", **of_field: object) -> PydanticCustomError:
    """A refusal in this project's words, which ``manifest.load`` turns into a Problem.

    A refusal of a model may name one ``field`` of it, and what it ``got``.
    """
    return PydanticCustomError("must_be", "must be {must_be}", {"must_be": expected, "advice": advice, **of_field})


def cel_rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """The schema's keyword for rules in CEL, each with its message."""
    return {RULES: [{"rule": rule, "message": message} for rule, message in rules]}


@dataclass(frozen=True)
class Constraint:
    """A rule that ties fields of a model together: ``cel`` is for the API server, ``holds`` is the same in Python.

    Without ``cel``, ``schema`` tells the API server. ``closer`` makes the refusal that Python gives, if it says more than
    ``expected`` and ``advice``.
    """

    cel: str
    holds: Callable[[Any], bool]
    expected: str
    advice: str = ""
    closer: Callable[[Any], PydanticCustomError] | None = None
    schema: Mapping[str, Any] | None = None

    @property
    def message(self) -> str:
        """The API server's message: pydantic's refusal on one line."""
        advice = f": {self.advice[0].lower()}{self.advice[1:].removesuffix('.')}" if self.advice else ""
        return f"must be {self.expected}{advice}"

    def check(self, model: "Model") -> None:
        """Raise PydanticCustomError for a model for which the rule does not hold."""
        if not self.holds(model):
            raise self.closer(model) if self.closer else must_be(self.expected, self.advice)


def exactly_one_of(*names: str, expected: str = "", advice: str = "") -> Constraint:
    """Exactly one of these fields is given."""
    given = [f"has(self.{in_cel(_written(name))})" for name in names]
    pair = len(given) == 2
    return Constraint(
        " != ".join(given) if pair else f"[{', '.join(given)}].filter(given, given).size() == 1",
        lambda model: sum(_is_given(model, name) for name in names) == 1,
        expected or f"with exactly one of {', '.join(map(_written, names[:-1]))} and {_written(names[-1])}",
        "Give exactly one of the two." if pair else advice,
    )


def not_both(one: str, other: str) -> Constraint:
    """At most one of two fields is given."""
    return Constraint(
        f"!has(self.{in_cel(_written(one))}) || !has(self.{in_cel(_written(other))})",
        lambda model: not (_is_given(model, one) and _is_given(model, other)),
        f"with {_written(one)} or {_written(other)}, not both",
    )


def never_beside(name: str, other: str) -> Constraint:
    """The field is not given beside the other one, which does not use it."""
    return Constraint(
        f"!has(self.{in_cel(_written(other))}) || !has(self.{in_cel(_written(name))})",
        lambda model: not (_is_given(model, name) and _is_given(model, other)),
        f"without {_written(name)} beside a {_written(other)}",
    )


def not_both_untyped(one: str, other: str, expected: str) -> Constraint:
    """At most one of two fields is given. The rule is in the schema, because CEL cannot see a field without a type."""
    neither = [{"not": {"required": [_written(name)]}} for name in (one, other)]
    return Constraint(
        "",
        lambda model: not (_is_given(model, one) and _is_given(model, other)),
        expected,
        schema={"allOf": [{"anyOf": neither}]},
    )


def exactly_one_untyped(*names: str) -> Constraint:
    """Exactly one of these fields is given. The rule is in the schema, because CEL cannot see a field without a type."""
    written = list(map(_written, names))
    return Constraint(
        "",
        lambda model: sum(_is_given(model, name) for name in names) == 1,
        f"with exactly one of {', '.join(written[:-1])} and {written[-1]}",
        schema={"allOf": [{"anyOf": [_alone(name, written) for name in written]}]},
    )


def _alone(name: str, names: Sequence[str]) -> dict[str, Any]:
    """A schema in which the field is given, and none of the others."""
    return {"required": [name], "not": {"anyOf": [{"required": [other]} for other in names if other != name]}}


def only_beside(name: str, other: str) -> Constraint:
    """The field, which has no type, is not given without the other one."""
    return Constraint(
        "",
        lambda model: not _is_given(model, name) or _is_given(model, other),
        f"with {_written(name)} only beside {_written(other)}",
        schema={"allOf": [{"anyOf": [{"not": {"required": [_written(name)]}}, {"required": [_written(other)]}]}]},
    )


def params_only_beside_class() -> Constraint:
    """``params`` is empty without a class. The rule is in the schema, because CEL cannot see ``params``."""
    return Constraint(
        "",
        lambda model: _is_given(model, "class_") or not model.params,
        "without params beside anything but a class",
        "Give them to its parts.",
        schema={"allOf": [{"anyOf": [{"required": ["class"]}, {"properties": {"params": {"maxProperties": 0}}}]}]},
    )


def no_params_beside(name: str, advice: str = "") -> Constraint:
    """``params`` is empty if the field is given. The rule is in the schema, because CEL cannot see ``params``."""
    # wrapped in allOf, because pydantic rewrites anyOf
    schema = {"allOf": [{"anyOf": [{"not": {"required": [name]}}, {"properties": {"params": {"maxProperties": 0}}}]}]}
    return Constraint(
        "",
        lambda model: not (_is_given(model, name) and model.params),
        f"without params beside a {name}",
        advice,
        schema=schema,
    )


def in_cel(key: str) -> str:
    """The name of a field in CEL; the API server finds no bound for a field that is named like a word of CEL."""
    return f"__{key}__" if key in _RESERVED else key


def _written(name: str) -> str:
    return to_camel(name.removesuffix("_"))


def _is_given(model: "Model", name: str) -> bool:
    return getattr(model, name) is not None


class Model(BaseModel):
    """What every part of a manifest shares."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)

    # in the order in which they are checked: only the first that does not hold is reported
    constraints: ClassVar[tuple[Constraint, ...]] = ()

    @model_validator(mode="after")
    def _keeps_its_constraints(self) -> Self:
        for constraint in self.constraints:
            constraint.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        whole = handler.resolve_ref_schema(found)
        if in_cel := [(constraint.cel, constraint.message) for constraint in cls.constraints if constraint.cel]:
            whole.update(cel_rules(*in_cel))
        for constraint in cls.constraints:
            for key, said in (constraint.schema or {}).items():
                # each constraint adds its schema to those that must all hold
                whole[key] = [*whole.get(key, ()), *said] if key == "allOf" else said
        return found
