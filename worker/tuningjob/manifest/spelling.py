"""Writes literals: as a manifest has them, and for people."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from tuningjob.aliases import Json
from tuningjob.manifest.literals import (
    COLUMN_SELECTOR,
    COMPOSITIONS,
    INT_TEXT,
    SELECTED_BY,
    TAGS,
    ArrayOf,
    Composed,
    DictOf,
    FunctionOf,
    ListOf,
    ObjectOf,
    Part,
    Plain,
    Scalar,
    TupleOf,
    Unwritten,
    Value,
    shown,
)

_INT64_BOUND: Final = 2**63
_LONGEST_TOLD: Final = 1_000


def to_json(literal: Value) -> Json:  # noqa: PLR0911  one for each kind
    """A literal as a manifest writes it; ``parse_literal`` of it is equal, also after it went through an API server."""
    match literal:
        case Scalar(value=value):
            return _scalar_to_json(value, tagged=literal.tagged)
        case ListOf(items=items) | TupleOf(items=items):
            listed = [to_json(item) for item in items]
            return listed if isinstance(literal, ListOf) else {"tuple": listed}
        case ArrayOf(items=items):
            return {"array": list(map(to_json, items))}
        case DictOf(pairs=pairs):
            return _pairs_to_json(pairs)
        case ObjectOf(class_path=class_path, params=params):
            return {"class": class_path, **({"params": params_to_json(params)} if params else {})}
        case FunctionOf(path=path):
            return {"function": path}
        case Composed():
            return _composed_to_json(literal)
        case Unwritten(text=text):
            return {"repr": text}


def _composed_to_json(composed: Composed) -> dict[str, Any]:
    written: dict[str, Any] = {composed.kind: [_part_to_json(part) for part in composed.parts]}
    if composed.remainder is not None:
        written["remainder"] = to_json(composed.remainder)
    return written


def _part_to_json(part: Part) -> dict[str, Any]:
    made = {"class": part.value.value} if isinstance(part.value, Scalar) else to_json(part.value)
    columns = {} if part.columns is None else {"columns": _columns_to_json(part.columns)}
    return {"name": part.name, **columns, **made}


def _columns_to_json(columns: Value) -> Json:
    if isinstance(columns, ObjectOf) and columns.class_path == COLUMN_SELECTOR:
        words = {param: word for word, param in SELECTED_BY.items()}
        if columns.params and all(name in words and _is_text(value) for name, value in columns.params):
            return {words[name]: to_json(value) for name, value in columns.params}
    return to_json(columns)


def _is_text(value: Value) -> bool:
    return isinstance(value, Scalar) and isinstance(value.value, str)


def _pairs_to_json(pairs: Sequence[tuple[Value, Value]]) -> dict[str, Any]:
    names = [key.value for key, _ in pairs if isinstance(key, Scalar) and isinstance(key.value, str)]
    if len(set(names)) == len(pairs) and _is_plain_map(names):
        return params_to_json(zip(names, (value for _, value in pairs), strict=True))
    return {"dict": [[to_json(key), to_json(value)] for key, value in pairs]}


def params_to_json(params: Iterable[tuple[str, Value]]) -> dict[str, Any]:
    """Names and literals as a map. A null is spelt out, because the API server drops a key with a null."""
    written = ((name, to_json(literal)) for name, literal in params)
    return {name: {"none": True} if value is None else value for name, value in written}


def _is_plain_map(names: Collection[str]) -> bool:
    """Whether a map with these keys is read as a dict, and neither as another literal nor refused."""
    is_object = "class" in names and set(names) <= {"class", "params"}
    is_tagged = len(names) == 1 and not TAGS.isdisjoint(names)
    is_form = not {"function", *COMPOSITIONS}.isdisjoint(names) and len(names) <= 2
    return not is_object and not is_tagged and not is_form and not any(INT_TEXT.match(name) for name in names)


def _scalar_to_json(value: Plain, *, tagged: bool) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -_INT64_BOUND <= value < _INT64_BOUND:
            return {"int": str(value)}
        return {"int": value} if tagged else value
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        return {"float": str(value)}
    if value.is_integer() and -_INT64_BOUND <= value < _INT64_BOUND:
        return {"float": int(value)}  # an API server makes an integer of a whole float
    return value


def spelled(literal: Value) -> str:
    """A literal for people, as Python would write it; plain text has no quotes. An estimator is its class and its params."""
    return literal.value if isinstance(literal, Scalar) and isinstance(literal.value, str) else _told(literal)


def _told(literal: Value) -> str:  # noqa: PLR0911  one for each kind
    match literal:
        case Scalar(value=value):
            return shown(value, _LONGEST_TOLD)
        case ListOf(items=items):
            return f"[{', '.join(map(_told, items))}]"
        case ArrayOf(items=items):
            return f"array([{', '.join(map(_told, items))}])"
        case TupleOf(items=items):
            return f"({', '.join(map(_told, items))}{',' if len(items) == 1 else ''})"
        case DictOf(pairs=pairs):
            return f"{{{', '.join(f'{_told(key)}: {_told(value)}' for key, value in pairs)}}}"
        case ObjectOf(class_path=class_path, params=params):
            inside = ", ".join(f"{name}={_told(value)}" for name, value in params)
            return f"{class_path.rpartition('.')[2]}({inside})" if params else class_path.rpartition(".")[2]
        case FunctionOf(path=path):
            return path.rpartition(".")[2]
        case Composed(kind=kind, parts=parts):
            inside = ", ".join(f"{part.name}={_told(part.value)}" for part in parts)
            return f"{COMPOSITIONS[kind].rpartition('.')[2]}({inside})"
        case Unwritten(text=text):
            return text
