"""Values of parameters as a manifest writes them.

A plain scalar if it is safe, else a tagged literal: ``{float: 1}``, ``{int: 1}``, ``{none: true}``,
``{tuple: [..]}``, ``{array: [..]}``, ``{dict: [[key, value], ..]}``; ``{class: .., params: ..}`` for an object as a value,
``{function: ..}`` for a function or a class itself; ``{pipeline: [..]}``, ``{columns: [..]}``, ``{union: [..]}`` for an estimator
made of others. Ranges of values, and what a random search draws from, are in ``ranges``.

This module only parses, because the operator imports it and has neither numpy nor scikit-learn. ``tuningjob.search.build``
turns a literal into the Python value, ``tuningjob.search.written`` a value into the literal, and ``tuningjob.manifest.spelling``
writes it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.bounds import MAX_DEPTH, MAX_DIGITS

Plain = None | bool | int | float | str


@dataclass(frozen=True)
class Scalar:
    """A plain value. ``tagged`` says that its type was spelt out ({int: 1}), so it cannot be mistaken."""

    value: Plain
    tagged: bool = False


@dataclass(frozen=True)
class ListOf:
    """A list as one value."""

    items: tuple["Value", ...]


@dataclass(frozen=True)
class TupleOf:
    """A tuple as one value."""

    items: tuple["Value", ...]


@dataclass(frozen=True)
class ArrayOf:
    """A numpy array as one value: what numpy makes of these lists."""

    items: tuple["Value", ...]


@dataclass(frozen=True)
class DictOf:
    """A dict as one value, e.g. class weights."""

    pairs: tuple[tuple["Value", "Value"], ...]


@dataclass(frozen=True)
class ObjectOf:
    """An object as one value: a class by its dotted path, constructed with these parameters."""

    class_path: str
    params: tuple[tuple[str, "Value"], ...]


@dataclass(frozen=True)
class FunctionOf:
    """A function or a class itself, by its dotted path: ``FunctionTransformer(func=numpy.log1p)``."""

    path: str


@dataclass(frozen=True)
class Part:
    """An estimator within another: its name, and in a column transformer the columns that it gets."""

    name: str
    value: "Value"
    columns: "Value | None" = None


@dataclass(frozen=True)
class Composed:
    """A pipeline, a column transformer or a union in its short form. ``remainder``: what happens to the other columns."""

    kind: str  # "pipeline", "columns" or "union"
    parts: tuple[Part, ...]
    remainder: "Value | None" = None


@dataclass(frozen=True)
class Unwritten:
    """The repr, for people, of a value that no literal can say, such as a lambda. It is written as ``{repr: …}``, and never read.

    ``advice`` is what to do about it.
    """

    text: str
    advice: str = field(default="", compare=False)


Value = Scalar | ListOf | TupleOf | ArrayOf | DictOf | ObjectOf | FunctionOf | Composed | Unwritten


_SCALAR_TAGS: Final = ("float", "int", "none")
RANGE_TAGS: Final = ("logspace", "linspace", "range")
DISTRIBUTION_TAGS: Final = ("uniform", "loguniform", "randint")
_NOT_ONE_VALUE: Final = {
    **dict.fromkeys(RANGE_TAGS, "makes several: write it in the place of the list, or of an item in it."),
    **dict.fromkeys(DISTRIBUTION_TAGS, "is drawn from: write it in the place of the list."),
    "repr": "stands where a search had a value that no manifest can write.",
}
_LIST_TAGS: Final[dict[str, type[TupleOf] | type[ArrayOf]]] = {"tuple": TupleOf, "array": ArrayOf}
TAGS: Final = {*_SCALAR_TAGS, *_NOT_ONE_VALUE, *_LIST_TAGS, "dict"}
_TOO_LONG_TO_READ: Final = 10**23
INT_TEXT: Final = re.compile(r"^-?[0-9]+$")
PATH_TEXT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
PART_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# scikit-learn's class of each short form, and what may be in it besides an estimator.
COMPOSITIONS: Final = {
    "pipeline": "sklearn.pipeline.Pipeline",
    "columns": "sklearn.compose.ColumnTransformer",
    "union": "sklearn.pipeline.FeatureUnion",
}
COLUMN_SELECTOR: Final = "sklearn.compose.make_column_selector"
SELECTED_BY: Final = {"dtype": "dtype_include", "pattern": "pattern"}
PLACEHOLDERS: Final = {
    "pipeline": ("passthrough",),
    "columns": ("passthrough", "drop"),
    "union": ("passthrough", "drop"),
}
MOST_PARTS: Final = 256
LONGEST_PART_NAME: Final = 63
MOST_COLUMNS: Final = 10_000


def refuse(field: str, must_be: str, got: object, advice: str = "") -> ManifestRefused:
    """A refusal of one field."""
    return ManifestRefused([Problem(field=field, must_be=must_be, got=shown(got), advice=advice)])


def shown(value: object, limit: int = 80) -> str:
    """``value`` for a message: its repr, cut. It never raises, and reads no more of a deep or long value than it shows."""
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:
            return f"{text[: limit - 1]}…"
    return text


def _pieces(value: object, limit: int) -> Iterator[str]:
    """The repr of a value in parts. Each level begins with a bracket, so it enters no more levels than it shows letters."""
    kind = type(value)
    if kind is dict:
        yield "{"
        for i, (key, item) in enumerate(cast("dict[object, object]", value).items()):
            yield ", " if i else ""
            yield from _pieces(key, limit)
            yield ": "
            yield from _pieces(item, limit)
        yield "}"
    elif kind in {list, tuple}:
        items = cast("list[object] | tuple[object, ...]", value)
        yield "[" if kind is list else "("
        for i, item in enumerate(items):
            yield ", " if i else ""
            yield from _pieces(item, limit)
        yield "]" if kind is list else ",)" if len(items) == 1 else ")"
    elif isinstance(value, str):
        yield repr(value[: limit + 1])
    else:
        try:
            yield repr(value)
        except Exception:  # noqa: BLE001  an object of the user's, or an integer that is too long for Python to write
            yield f"<{kind.__name__}>"


def readable(number: int) -> str:
    """``number`` with separators, or a power of ten if it is too long to read (Python writes at most 4,300 digits)."""
    return f"{number:,}" if number < _TOO_LONG_TO_READ else f"about 10^{math.floor(math.log10(number))}"


def parse_literal(value: Json, field: str) -> Value:
    """The literal of one value. ``field`` is its path, for messages. Raises ManifestRefused."""
    return _parse(value, field, MAX_DEPTH)


def _parse(value: Json, field: str, room: int) -> Value:
    """The literal of a value; ``room``: how many lists and maps may still be inside each other."""
    if not isinstance(value, list | Mapping):
        return Scalar(value)
    if room <= 0:
        raise refuse(shown_path(field), f"lists and maps inside each other, {MAX_DEPTH} deep at the most", value)
    if isinstance(value, list):
        return ListOf(_parse_items(value, field, room - 1))
    return _parse_mapping(value, field, room - 1)


def shown_path(field: str, limit: int = 160) -> str:
    """A field's path for a message, cut."""
    return field if len(field) <= limit else f"{field[:limit]}…"


def _parse_items(items: list[Any], field: str, room: int) -> tuple[Value, ...]:
    return tuple(_parse(item, f"{field}[{i}]", room) for i, item in enumerate(items))


def _parse_mapping(value: Mapping[str, Any], field: str, room: int) -> Value:
    made = _parse_made(value, field, room)
    if made is not None:
        return made
    if len(value) == 1:
        ((tag, body),) = value.items()
        if tag in _NOT_ONE_VALUE:
            raise refuse(field, "one value", value, f"{{{tag}: …}} {_NOT_ONE_VALUE[tag]}")
        if tag in _SCALAR_TAGS:
            return Scalar(_parse_tagged_scalar(tag, body, field), tagged=True)
        if tag in _LIST_TAGS:
            if not isinstance(body, list):
                raise refuse(f"{field}.{tag}", "a list", body)
            return _LIST_TAGS[tag](_parse_items(body, f"{field}.{tag}", room))
        if tag == "dict":
            return _parse_pairs(body, field, room)
    for key in value:
        if INT_TEXT.match(key):
            raise refuse(
                f"{field}.{key}",
                "a key that is a word: JSON turns every key into a string",
                key,
                f"Write {{dict: [[{key}, …], …]}} for a dict whose keys are numbers.",
            )
    return DictOf(tuple((Scalar(key), _parse(item, f"{field}.{key}", room)) for key, item in value.items()))


def _parse_made(value: Mapping[str, Any], field: str, room: int) -> Value | None:
    """The literal of an object, an estimator made of others, or a function; None for data."""
    if "class" in value and set(value) <= {"class", "params"}:
        return _parse_object(value, field, room)
    if (kind := composition_of(value)) is not None:
        return _parse_composed(kind, value, field, room)
    return FunctionOf(value["function"]) if is_function(value) else None


def _parse_object(value: Mapping[str, Any], field: str, room: int) -> ObjectOf:
    class_path, params = value["class"], value.get("params", {})
    if not isinstance(class_path, str):
        raise refuse(f"{field}.class", "the dotted path of a class", class_path)
    if not isinstance(params, Mapping):
        raise refuse(f"{field}.params", "a map of parameters", params)
    return ObjectOf(class_path, _parse_params(params, f"{field}.params", room))


def is_function(value: Mapping[str, Any]) -> bool:
    """Whether a map is ``{function: PATH}``. A map whose text is no dotted path is a dict, as in earlier releases."""
    return (
        len(value) == 1
        and isinstance(value.get("function"), str)
        and PATH_TEXT.fullmatch(value["function"]) is not None
    )


def composition_of(value: Mapping[str, Any]) -> str | None:
    """The short form that a map is: the one whose key has a list of maps. Any other map is a dict, as in earlier releases."""
    for kind in COMPOSITIONS:
        parts = value.get(kind)
        if set(value) <= {kind, *(("remainder",) if kind == "columns" else ())} and isinstance(parts, list):
            return kind if parts and all(isinstance(part, Mapping) for part in parts) else None
    return None


def parse_estimator(value: Mapping[str, Any], field: str) -> ObjectOf | Composed:
    """The literal of an estimator: a class with its params, or a short form. Raises ManifestRefused with all problems."""
    parsed = _parse_estimator(value, field, MAX_DEPTH)
    assert not isinstance(parsed, Scalar)  # noqa: S101  nothing may be in its place
    return parsed


def _parse_estimator(
    value: Mapping[str, Any], field: str, room: int, placeholders: tuple[str, ...] = ()
) -> ObjectOf | Composed | Scalar:
    if room <= 0:
        raise refuse(shown_path(field), f"lists and maps inside each other, {MAX_DEPTH} deep at the most", value)
    given = [key for key in ("class", *COMPOSITIONS) if key in value]
    if len(given) != 1:
        raise refuse(field, f"with one of class, {', '.join(COMPOSITIONS)}", list(value))
    (kind,) = given
    beside = {"class": ("params",), "columns": ("remainder",)}.get(kind, ())
    unknown = [key for key in value if key not in (kind, *beside)]
    if unknown:
        advice = "Give them to its parts." if unknown == ["params"] else ""
        raise refuse(f"{field}.{unknown[0]}", f"left out beside {kind}", value[unknown[0]], advice)
    if kind == "class":
        if value["class"] in placeholders and not value.get("params"):
            return Scalar(value["class"])
        return _parse_object(value, field, room - 1)
    return _parse_composed(kind, value, field, room - 1)


def _parse_composed(kind: str, value: Mapping[str, Any], field: str, room: int) -> Composed:
    written = value[kind]
    if not isinstance(written, list) or not 1 <= len(written) <= MOST_PARTS:
        raise refuse(f"{field}.{kind}", f"a list of 1 to {MOST_PARTS} maps", written)
    parts: list[Part] = []
    problems: list[Problem] = []
    for i, each in enumerate(written):
        where = f"{field}.{kind}[{i}]"
        try:
            part = _parse_part(each, kind, where, room - 1)
            if any(part.name == other.name for other in parts):
                raise refuse(f"{where}.name", "a name that is there once", part.name)
            parts.append(part)
        except ManifestRefused as refused:
            problems += refused.problems
    remainder = None
    try:
        remainder = _parse_remainder(value.get("remainder"), f"{field}.remainder", room - 1)
    except ManifestRefused as refused:
        problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    return Composed(kind, tuple(parts), remainder)


def _parse_part(value: Json, kind: str, field: str, room: int) -> Part:
    if not isinstance(value, Mapping):
        raise refuse(field, "a map with a name and a class", value)
    name = value.get("name")
    if not isinstance(name, str) or len(name) > LONGEST_PART_NAME or PART_NAME.fullmatch(name) is None or "__" in name:
        must_be = f"a name of letters, digits, _ and -, without '__', of at most {LONGEST_PART_NAME}"
        raise refuse(f"{field}.name", must_be, name, "Parameters are <name>__<parameter>.")
    rest = {key: item for key, item in value.items() if key != "name"}
    columns = None
    if kind == "columns":
        columns = _parse_columns(rest.pop("columns", None), f"{field}.columns", room)
    return Part(name, _parse_estimator(rest, field, room, PLACEHOLDERS[kind]), columns)


def _parse_columns(value: Json, field: str, room: int) -> Value:
    """The columns: names or numbers in a list, one name (scikit-learn then passes 1-D), a dtype, a pattern, an object."""
    must_be = "names of columns, {dtype: number}, or {pattern: TEXT}"
    if isinstance(value, str) and value:
        return Scalar(value)
    if isinstance(value, list) and 1 <= len(value) <= MOST_COLUMNS and {*map(type, value)} in ({str}, {int}):
        return ListOf(tuple(map(Scalar, value)))
    if isinstance(value, Mapping) and value and set(value) <= {*SELECTED_BY}:
        for key, item in value.items():
            several = key == "dtype" and isinstance(item, list) and item and all(isinstance(x, str) for x in item)
            if not several and not isinstance(item, str):
                raise refuse(f"{field}.{key}", "text", item)
        params = sorted((SELECTED_BY[key], _parse(item, f"{field}.{key}", room)) for key, item in value.items())
        return ObjectOf(COLUMN_SELECTOR, tuple(params))
    if isinstance(value, Mapping) and ("class" in value or is_function(value)):
        return _parse_mapping(value, field, room - 1)
    raise refuse(field, must_be, value)


def _parse_remainder(value: Json, field: str, room: int) -> Value | None:
    if value is None:
        return None
    if value in PLACEHOLDERS["columns"]:
        return Scalar(value)
    if not isinstance(value, Mapping):
        raise refuse(field, "drop, passthrough, or an estimator: {class: …}", value)
    return _parse_estimator(value, field, room)


@dataclass(frozen=True)
class Arguments:
    """The parameters of one object: the literal of each, sorted by name; ``field`` is where the manifest has them."""

    field: str
    items: tuple[tuple[str, Value], ...]

    def field_of(self, name: str) -> str:
        """The path of one of them in the manifest."""
        return f"{self.field}.{name}"


def parse_params(params: Mapping[str, Any], field: str) -> Arguments:
    """The arguments of a map of parameters. Raises ManifestRefused."""
    return Arguments(field, _parse_params(params, field, MAX_DEPTH))


def _parse_params(params: Mapping[str, Any], field: str, room: int) -> tuple[tuple[str, Value], ...]:
    return tuple((name, _parse(params[name], f"{field}.{name}", room)) for name in sorted(params))


def _parse_pairs(body: Json, field: str, room: int) -> DictOf:
    if not isinstance(body, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in body):
        raise refuse(f"{field}.dict", "a list of [key, value] pairs", body)
    return DictOf(
        tuple(
            (_parse(key, f"{field}.dict[{i}][0]", room), _parse(item, f"{field}.dict[{i}][1]", room))
            for i, (key, item) in enumerate(body)
        )
    )


def _parse_tagged_scalar(tag: str, body: Json, field: str) -> Plain:
    if tag == "none":
        if body is not True:
            raise refuse(f"{field}.none", "true", body)
        return None
    # a string is allowed, because {float: "1.0"} is the one spelling that nothing on the way can change
    if isinstance(body, bool) or not isinstance(body, int | float | str):
        raise refuse(f"{field}.{tag}", "a number, or one in quotes", body)
    try:
        if tag == "float":
            return float(body)
        number = int(body)
        if number != body and isinstance(body, float):
            raise ValueError(f"{body} is not an integer")
    except (ValueError, OverflowError):
        raise refuse(f"{field}.{tag}", "an integer" if tag == "int" else "a number", body) from None
    if abs(number) >= 10**MAX_DIGITS:
        raise refuse(f"{field}.{tag}", f"an integer of at most {MAX_DIGITS} digits", body)
    return number
