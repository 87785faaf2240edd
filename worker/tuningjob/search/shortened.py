"""Write scikit-learn's Pipeline, ColumnTransformer and FeatureUnion in a manifest's short forms, which mean the same."""

from dataclasses import replace
from typing import Final

from tuningjob.manifest.literals import (
    COLUMN_SELECTOR,
    COMPOSITIONS,
    LONGEST_PART_NAME,
    MOST_COLUMNS,
    MOST_PARTS,
    PART_NAME,
    PLACEHOLDERS,
    Composed,
    DictOf,
    FunctionOf,
    ListOf,
    ObjectOf,
    Part,
    Scalar,
    TupleOf,
    Value,
)

# By scikit-learn's class: its short form, and the parameter with the parts.
_FORMS: Final = {
    COMPOSITIONS["pipeline"]: ("pipeline", "steps"),
    COMPOSITIONS["columns"]: ("columns", "transformers"),
    COMPOSITIONS["union"]: ("union", "transformer_list"),
}


def shortened(literal: Value) -> Value:
    """The same literal, with each of these classes in its short form if that can express it completely."""
    match literal:
        case ListOf(items=items) | TupleOf(items=items):
            return replace(literal, items=tuple(map(shortened, items)))
        case DictOf(pairs=pairs):
            return DictOf(tuple((key, shortened(value)) for key, value in pairs))
        case ObjectOf(class_path=class_path, params=params):
            short = ObjectOf(class_path, tuple((name, shortened(value)) for name, value in params))
            return (class_path in _FORMS and _composed(short)) or short
        case _:
            return literal


def _composed(literal: ObjectOf) -> Composed | None:
    kind, parameter = _FORMS[literal.class_path]
    given = dict(literal.params)
    written, remainder = given.pop(parameter, None), given.pop("remainder", None) if kind == "columns" else None
    if given or not isinstance(written, ListOf) or not 1 <= len(written.items) <= MOST_PARTS:
        return None
    parts = [_part(each, kind) for each in written.items]
    found = [part for part in parts if part is not None]
    is_said = remainder is None or _is_estimator(remainder, PLACEHOLDERS["columns"])
    if len(found) < len(parts) or len({part.name for part in found}) < len(parts) or not is_said:
        return None
    return Composed(kind, tuple(found), remainder)


def _part(literal: Value, kind: str) -> Part | None:
    # only tuples, because scikit-learn makes tuples again, and a list is another value
    if not isinstance(literal, TupleOf) or len(literal.items) != (3 if kind == "columns" else 2):
        return None
    name, value, *columns = literal.items
    if not isinstance(name, Scalar) or not _is_name(name.value) or not _is_estimator(value, PLACEHOLDERS[kind]):
        return None
    if columns and not _is_choice(columns[0]):
        return None
    return Part(str(name.value), value, columns[0] if columns else None)


def _is_name(name: object) -> bool:
    is_text = isinstance(name, str) and len(name) <= LONGEST_PART_NAME
    return is_text and PART_NAME.fullmatch(str(name)) is not None and "__" not in str(name)


def _is_estimator(value: Value, placeholders: tuple[str, ...]) -> bool:
    return isinstance(value, ObjectOf | Composed) or (isinstance(value, Scalar) and value.value in placeholders)


def _is_choice(columns: Value) -> bool:
    """Whether a part of a short form can have this choice of columns."""
    match columns:
        case Scalar(value=str(name)):
            return bool(name)
        case ListOf(items=items):
            kinds = {type(item.value) if isinstance(item, Scalar) else None for item in items}
            return 1 <= len(items) <= MOST_COLUMNS and kinds in ({str}, {int})
        case ObjectOf(class_path=class_path, params=params):
            return class_path != COLUMN_SELECTOR or bool(params)
        case FunctionOf():
            return True
        case _:
            return False
