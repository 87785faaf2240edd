"""Write Python values as the manifest's literals, the inverse of ``tuningjob.search.build``.

A value that cannot be written becomes ``{repr: …}``, which readers refuse, because a wrong value would be worse than none.
"""

import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.manifest import bounds
from tuningjob.manifest.literals import (
    PATH_TEXT,
    ArrayOf,
    Composed,
    DictOf,
    FunctionOf,
    ListOf,
    ObjectOf,
    Scalar,
    TupleOf,
    Unwritten,
    Value,
    parse_params,
    shown,
)
from tuningjob.manifest.spelling import params_to_json, to_json
from tuningjob.search.build import is_estimator_class, keywords_of, load_attribute, materialise
from tuningjob.search.parameters import means_two_things, owner_of
from tuningjob.search.reasons import Reason, refused

# The most levels in Python. A class or a tuple has two levels in JSON. 15 nested estimators can be written.
_MOST_LEVELS: Final = 30
# The most values in all, because an estimator may hold itself, and so be as wide as it is deep.
_MOST_VALUES: Final = 4_000
_LONGEST_REPR: Final = 200
# The journal takes 64 KiB of best parameters.
_MOST_BYTES: Final = 48 * 2**10
_NOTHING: Final = object()
_HOMES_OF_UFUNCS: Final = ("numpy", "scipy.special")


def to_literals(params: Mapping[str, Any], estimator: Estimator = None) -> dict[str, Any]:
    """Parameters as JSON, in the manifest's literals; ``from_literals`` gives equal parameters.

    ``estimator`` owns them, so that an ambiguous 0 or 1 is written as the manifest wants it. A value too large or too deep for
    the journal becomes ``{repr: …}``.
    """
    written = params_to_json(
        (name, _Writer(owner_of(estimator, name), name.rpartition("__")[2]).write(params[name]))
        for name in sorted(params)
    )
    return _bounded(written, params)


def from_literals(params: Mapping[str, Any]) -> dict[str, Any]:
    """Python values for ``estimator.set_params(**…)`` from JSON, as in best_params.json, the audit and the HTTP API.

    Named estimators are imported and made, exactly as those of a manifest are. Among other classes only scikit-learn's are
    allowed, because the JSON must not be able to call any installed code. Raises ManifestRefused for JSON that no manifest
    could have.
    """
    given = parse_params(params, "params")
    for name, literal in given.items:
        _check_classes(literal, given.field_of(name))
    return {name: materialise(literal, given.field_of(name)) for name, literal in given.items}


def _check_classes(literal: Value, field: str) -> None:
    """Raise ManifestRefused for a class that is neither an estimator's nor scikit-learn's."""
    for each in _objects_in(literal):
        if not each.class_path.startswith("sklearn.") and not is_estimator_class(
            load_attribute(each.class_path, f"{field}.class", kind="an estimator's class")
        ):
            must_be = "an estimator's class, or one of scikit-learn's"
            advice = "No other object is made here, because the author of this file need not be you."
            raise refused(Reason.PARAMETER_INVALID, f"{field}.class", must_be, each.class_path, advice)


def _objects_in(literal: Value) -> Iterator[ObjectOf]:
    """Every object literal within a literal, whose depth is bounded."""
    match literal:
        case ListOf(items=items) | TupleOf(items=items) | ArrayOf(items=items):
            inside: Iterable[Value] = items
        case DictOf(pairs=pairs):
            inside = [each for pair in pairs for each in pair]
        case ObjectOf(params=params):
            yield literal
            inside = [value for _, value in params]
        case Composed(parts=parts, remainder=remainder):
            inside = filter(None, [remainder, *(each for part in parts for each in (part.value, part.columns))])
        case _:
            return
    for each in inside:
        yield from _objects_in(each)


def literal_of(value: ParamValue) -> Value:
    """The literal of a value; Unwritten for a value without one, and for one that contains itself."""
    return _Writer().write(value)


def public_path(cls: type[Any]) -> str | None:
    """The shortest dotted path by which a class can be imported: ``sklearn.svm.SVC`` for ``sklearn.svm._classes.SVC``.

    None for a class that cannot be imported: one defined in a function or in another class.
    """
    name, parts = cls.__name__, str(cls.__module__).split(".")
    modules = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    here = (module for module in modules if attribute_of(sys.modules.get(module), name) is cls)
    return next((f"{module}.{name}" for module in here), None)


def function_path(function: Anything) -> str | None:
    """The shortest dotted path by which a function or a class can be imported; None for one that cannot be."""
    name = attribute_of(function, "__name__")
    if isinstance(function, type):
        return public_path(function)
    if not callable(function) or not isinstance(name, str) or PATH_TEXT.fullmatch(f"m.{name}") is None:
        return None
    module = attribute_of(function, "__module__")
    parts = module.split(".") if isinstance(module, str) else []
    # ufuncs do not name their module
    homes = [".".join(parts[:length]) for length in range(1, len(parts) + 1)] or list(_HOMES_OF_UFUNCS)
    here = (home for home in homes if attribute_of(sys.modules.get(home), name) is function)
    return next((f"{home}.{name}" for home in here), None)


def attribute_of(owner: object, name: str) -> Anything:
    """An attribute of an object; None if it is missing, or if the user's own code fails."""
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001  a module's own __getattr__
        return None


class _Writer:
    """Writes one value, which is the parameter ``name`` of ``owner``."""

    def __init__(self, owner: Estimator = None, name: str = "") -> None:
        self._owner = owner
        self._name = name
        self._left = _MOST_VALUES

    def write(self, value: ParamValue) -> Value:
        return self._write(value, _MOST_LEVELS, self._owner, self._name)

    def _write(self, value: ParamValue, room: int, owner: Estimator = None, name: str = "") -> Value:
        self._left -= 1
        if room <= 0 or self._left < 0:
            return Unwritten(f"<{type(value).__name__}>")
        plain = _plain(value)
        if plain is not _NOTHING:
            scalar = Scalar(plain)
            return Scalar(plain, tagged=means_two_things(owner, name, scalar)) if owner is not None else scalar
        collection = self._write_collection(value, room - 1)
        if collection is not None:
            return collection
        if isinstance(value, type) or inspect.isroutine(value) or isinstance(value, np.ufunc):
            path = function_path(value)
            return _unwritten(value) if path is None else FunctionOf(path)
        params = _params_of(value) if callable(attribute_of(value, "get_params")) else arguments_kept(value)
        return _unwritten(value) if params is None else self._write_object(value, params, room - 1)

    def _write_collection(self, value: ParamValue, room: int) -> Value | None:
        kind = type(value)
        if kind is dict:
            return DictOf(tuple((self._write(key, room), self._write(item, room)) for key, item in value.items()))
        if kind is np.ndarray and _is_plain_array(value, self._left):
            return ArrayOf(tuple(self._write(item, room) for item in value.tolist()))
        if kind in {list, tuple}:
            items = tuple(self._write(item, room) for item in value)
            return ListOf(items) if kind is list else TupleOf(items)
        return None

    def _write_object(self, value: ParamValue, params: Mapping[str, Any], room: int) -> Value:
        path = public_path(type(value))
        if path is None:
            return _unwritten(value)
        defaults = _defaults_of(type(value))
        written = ((name, self._write(params[name], room - 1, value, name)) for name in sorted(params))
        return ObjectOf(
            path,
            tuple(
                (name, literal)
                for name, literal in written
                if not _is_default(params[name], literal, defaults.get(name, _NOTHING), _Writer(value, name))
            ),
        )


def _is_plain_array(value: "np.ndarray[Any, Any]", most: int) -> bool:
    """Whether numpy makes an array of the same type from its lists, which is not so for float32."""
    return (
        0 < value.size <= most
        and value.ndim > 0
        and value.dtype.kind in "bifU"
        and np.array(value.tolist()).dtype == value.dtype
    )


def _is_default(value: ParamValue, literal: Value, default: Anything, writer: _Writer) -> bool:
    if value is default:
        return True
    return default is not _NOTHING and _is_whole(literal) and json_of(literal) == json_of(writer.write(default))


def json_of(literal: Value) -> str:
    """A literal as text, in which 1, 1.0 and True differ, and NaN equals NaN."""
    return json.dumps(to_json(literal), sort_keys=True)


def _is_whole(literal: Value) -> bool:
    match literal:
        case Unwritten():
            return False
        case ListOf(items=items) | TupleOf(items=items) | ArrayOf(items=items):
            return all(map(_is_whole, items))
        case DictOf(pairs=pairs):
            return all(_is_whole(each) for pair in pairs for each in pair)
        case ObjectOf(params=params):
            return all(_is_whole(value) for _, value in params)
        case Composed(parts=parts, remainder=remainder):
            return all(_is_whole(part.value) for part in parts) and (remainder is None or _is_whole(remainder))
        case _:
            return True


def _plain(value: ParamValue) -> Anything:
    if isinstance(value, np.generic) and not isinstance(value, str | float):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            plain = str.__str__(value) if kind is str else kind(value)
            return _NOTHING if isinstance(plain, int) and abs(plain) >= 10**bounds.MAX_DIGITS else plain
    return _NOTHING


def _unwritten(value: ParamValue) -> Unwritten:
    if inspect.isroutine(value) or isinstance(value, type):
        # the repr of a function has its address
        name = f"{attribute_of(value, '__module__')}.{attribute_of(value, '__qualname__') or shown(value)}"
        what = "class" if isinstance(value, type) else "named function"
        return Unwritten(name, f"Put a {what} at the top of a module in its place.")
    return Unwritten(shown(value, _LONGEST_REPR), _advice(value))


def _advice(value: ParamValue) -> str:
    if callable(attribute_of(value, "tolist")):  # an array of objects, or an index or column of pandas
        return "Write a list: its tolist()."
    if isinstance(value, slice):
        return "Write a list of what it selects."
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return "Give an integer as seed."
    return (
        "A manifest says objects whose class can be imported and keeps its arguments under their names, as scikit-learn's do. "
        "Build the estimator in a function of a module, and name that: estimator: {factory: PATH}."
    )


def arguments_kept(value: ParamValue) -> dict[str, Any] | None:
    """The arguments of an object; None unless it keeps exactly these, under their names."""
    kept = attribute_of(value, "__dict__")
    names = keywords_of(type(value)) if isinstance(kept, dict) else None
    return dict(kept) if names is not None and set(kept) == set(names) else None


def _params_of(value: ParamValue) -> dict[str, Any] | None:
    try:
        params = value.get_params(deep=False)
    except Exception:  # noqa: BLE001  the user's own
        return None
    return params if isinstance(params, dict) and all(isinstance(name, str) for name in params) else None


def _defaults_of(cls: type[Any]) -> Mapping[str, Any]:
    """The parameters with which the loader starts: those of an instance without arguments, or the signature's defaults."""
    if is_estimator_class(cls):
        with suppress(Exception):  # the user's own
            return _params_of(cls()) or {}
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


def _bounded(written: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in written.items():
        if bounds.problems_of(value, name, max_bytes=_MOST_BYTES, max_depth=bounds.MAX_DEPTH - 4):
            written[name] = _marked(params[name])
    largest = sorted(written, key=lambda name: len(json.dumps(written[name])), reverse=True)
    for name in largest:
        if len(json.dumps(written)) <= _MOST_BYTES:
            break
        written[name] = _marked(params[name])
    return written


def _marked(value: ParamValue) -> Anything:
    return to_json(_unwritten(value))
