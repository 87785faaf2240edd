"""Types of fields: Kubernetes' names, dotted paths, quantities, untyped values, and further checks of a field.

Each is checked twice, by pydantic and by the CRD's schema; both checks come from here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from tuningjob.manifest import quantity
from tuningjob.manifest.model import RULES, cel_rules, must_be
from tuningjob.manifest.quantity import parse_quantity

UNTYPED: Final = {"x-kubernetes-preserve-unknown-fields": True}
# The API server also fills it in, so that what is inside is always there: kubectl shows it, and CEL needs no has().
FILLED_IN: Final[dict[str, JsonValue]] = {"default": {}}
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DOTTED_PATH: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"
STEP_CLASS: Final = r"^(passthrough|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)$"
PART_CLASS: Final = r"^(passthrough|drop|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)$"
MODEL_KEY: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
STEP_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"
LABEL_KEY: Final = rf"^({DNS_SUBDOMAIN[1:-1]}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
MAX_SECONDS: Final = 2**31 - 1
MAX_NAME: Final = 253

T = TypeVar("T")


@dataclass(frozen=True)
class Checked:
    """A check of a value in Python, and the part of it that the API server makes by the schema."""

    check: Callable[[Any], Any]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        rules = [*found.get(RULES, ()), *self.schema.get(RULES, ())]
        return {**found, **self.schema, **({RULES: rules} if rules else {})}


def matching(pattern: str, expected: str) -> Checked:
    """A check that text matches a pattern; the refusal says in words what is expected."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise must_be(expected)
        return text

    return Checked(check, {"pattern": pattern})


def different(what: str, *names: str) -> Checked:
    """A check that no two items of a list agree in all of these fields (in the whole item, if none is named)."""
    expected = f"a list of {what}" if names else f"a list of different {what}"
    same = " && ".join(f"one.{to_camel(name)} == other.{to_camel(name)}" for name in names) or "one == other"

    def check(items: list[T]) -> list[T]:
        keys: list[Any] = [attrgetter(*names)(item) if names else item for item in items]
        for key in keys:
            if keys.count(key) > 1:
                raise must_be(expected, f"{key!r} is there twice.")
        return items

    return Checked(check, cel_rules((f"self.all(one, self.exists_one(other, {same}))", f"must be {expected}")))


def is_quantity(field: str) -> str:
    """The CEL check that must come before quantity(), because isQuantity() lets any exponent pass (see ``quantity.PATTERN``)."""
    return f"string({field}).matches('{quantity.PATTERN}')"


def _quantity(what: str, low: str, high: str) -> tuple[BeforeValidator, WithJsonSchema]:
    expected = f"{what}, from {low} to {high}"

    def check(value: object) -> object:
        try:
            if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 64:
                raise ValueError(value)
            if not parse_quantity(low) <= parse_quantity(value) <= parse_quantity(high):
                raise ValueError(value)
        except ValueError:
            raise must_be(expected) from None
        return value

    # CEL instead of a pattern, so that the API server's refusal says what is expected, not a regular expression
    rule = (
        f"{is_quantity('self')} && "
        f"quantity(string(self)).compareTo(quantity('{low}')) >= 0 && quantity(string(self)).compareTo(quantity('{high}')) <= 0"
    )
    schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "maxLength": 64,
        **cel_rules((rule, f"must be {expected}")),
    }
    return BeforeValidator(check), WithJsonSchema(schema)


def names_or_one(what: str, most: int) -> tuple[PlainValidator, WithJsonSchema]:
    """The type of one name, or a list of different names. A structural schema has no unions, so the API server sees no type.

    The schema's keywords hold for text or for lists, because each of them applies to only one of the two.
    """
    expected = f"the name of {what}, or a list of different ones, at most {most:,}"

    def check(value: object) -> object:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not 1 <= len(names) <= most:
            raise must_be(expected, _quoted(value))
        for name in names:
            if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
                raise must_be(expected, _quoted(name))
        if len({*names}) < len(names):
            raise must_be(expected, "One of them is there twice.")
        return value

    bounds = {"minLength": 1, "maxLength": MAX_NAME, "minItems": 1, "maxItems": most}
    return PlainValidator(check), WithJsonSchema({**UNTYPED, **bounds})


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "Put it in quotes: to kubectl a bare y, n, yes, no, on or off is true or false."
    return f'Put it in quotes: "{value}".' if isinstance(value, int | float) else ""


Cpu = Annotated[int | str, *_quantity("a positive Kubernetes quantity of CPU such as 2 or 500m", "1m", "10k")]
Memory = Annotated[int | str, *_quantity("a positive Kubernetes quantity of memory such as 512Mi or 2Gi", "1Mi", "1Pi")]
ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Untyped = Annotated[Any, WithJsonSchema(UNTYPED)]
# A map of untyped values, not an untyped object, because CEL's equality of the latter does not compare the names of keys.
Params = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": UNTYPED})]
ObjectName = Annotated[
    str,
    Field(max_length=253),
    matching(DNS_SUBDOMAIN, "the name of a Kubernetes object: lower-case words with - and ."),
]
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH, max_length=253)]
# 253 of the 317 characters that Kubernetes allows, so that no prefix can be too long
LabelKey = Annotated[
    str, Field(max_length=253), matching(LABEL_KEY, "the key of a label, such as disk or example.com/disk")
]
LabelValue = Annotated[
    str, Field(max_length=63), matching(LABEL_VALUE, "the value of a label: letters, digits, -, _ and .")
]
