"""Find what cannot be pickled, and the path to it, before the first fit, because the model is pickled after the last one."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import ismethod
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Anything, ParamValue
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.search.reasons import ADDRESS, abridged

_DEEPEST: Final = 64
_MOST_PICKLED: Final = 10_000
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)
_FUNCTION: Final = (
    "Make it a named function at the top of a module, so that it can be imported where the model is loaded."
)
_RESOURCE: Final = (
    "Open files, locks, threads, generators and connections live in their process alone: make it in fit (and drop it at fit's "
    "end), or leave it out in the object's __getstate__."
)
_CLASS: Final = "Define the class at the top of a module, so that it can be imported where the model is loaded."


@dataclass(frozen=True)
class Unpicklable:
    """An object that cannot be pickled: the ``path`` to it, Python's ``error``, and ``advice`` that mostly helps."""

    path: str
    error: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.error}"


def unpicklable(value: ParamValue, name: str) -> Unpicklable | None:
    """The part of a value that cannot be pickled; None if all can be. The path begins with ``name``."""
    return _Walk().below(value, name)


class _Nowhere:
    def write(self, block: bytes) -> int:
        return len(block)


class _Walk:
    """A search for the culprit: it steps to the first part that cannot be pickled, until an object has no such part."""

    def __init__(self) -> None:
        self._left = _MOST_PICKLED

    def below(self, value: ParamValue, path: str, above: frozenset[int] = frozenset()) -> Unpicklable | None:
        error = self._error(value)
        if error is None:
            return None
        if len(above) < _DEEPEST:
            above |= {id(value)}
            for step, part in _parts(value):
                found = self.below(part, path + step, above) if id(part) not in above and self._left > 0 else None
                if found is not None:
                    return found
        return Unpicklable(path, abridged(ADDRESS.sub("", str(error)) or type(error).__name__), _advice(value))

    def _error(self, value: ParamValue) -> Exception | None:
        if type(value) in _PLAIN:
            return None
        self._left -= 1
        try:
            pickle.Pickler(_Nowhere(), pickle.HIGHEST_PROTOCOL).dump(value)
        except Exception as error:  # noqa: BLE001  pickling calls the object's own code
            return error
        return None


def _parts(value: ParamValue) -> Iterator[tuple[str, Any]]:
    """The parts of a value that pickling visits, each with the step to it."""
    if isinstance(value, FunctionType | BuiltinFunctionType | ModuleType | type):
        return
    if type(value) in {list, tuple, set, frozenset, dict}:
        yield from _items(value)
    elif isinstance(value, partial):
        yield from ((f".{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
    elif ismethod(value):
        yield ".__self__", value.__self__
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            for index, item in zip(np.ndindex(value.shape), value.flat, strict=True):
                yield f"[{', '.join(map(str, index))}]", item
    else:
        yield from _state(value)


def _items(value: ParamValue) -> Iterator[tuple[str, Any]]:
    if type(value) is dict:
        yield from ((f"[{key!r}]", item) for key, item in value.items())
        yield from ((f".keys()[{key!r}]", key) for key in value)
        return
    for i, item in enumerate(value):
        step = _step_of(item)
        yield f"[{i}]", step
        if step is not item:
            yield f"[{i}]", item


def _step_of(item: Anything) -> Anything:
    """The estimator of a step or branch (name, estimator, …), which users mean by steps[0]; any other value unchanged."""
    return item[1] if type(item) is tuple and len(item) > 1 and is_estimator(item[1]) else item


def _state(value: ParamValue) -> Iterator[tuple[str, Any]]:
    """The parts of any other object, as its own ``__reduce_ex__`` gives them to pickle."""
    try:
        reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001  the object's own code fails, so it is the culprit
        return
    if not isinstance(reduced, tuple):
        return
    parts: tuple[Any, ...] = (*reduced, None, None, None, None)
    _, arguments, state, items, pairs = parts[:5]
    yield from _attributes(state)
    yield from ((f"[{i}]", item) for i, item in enumerate(items or ()))
    yield from ((f"[{key!r}]", item) for key, item in pairs or ())
    yield from ((f".__reduce__()[1][{i}]", item) for i, item in enumerate(arguments or ()) if item is not type(value))


def _attributes(state: Anything) -> Iterator[tuple[str, Any]]:
    # an object with slots has two states
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, Mapping):
            yield from ((f".{name}", item) for name, item in part.items())
        elif part is not None:
            yield ".__getstate__()", part


def _advice(value: ParamValue) -> str:
    if isinstance(value, FunctionType):
        return _FUNCTION
    if isinstance(value, type) or "<locals>" in type(value).__qualname__:
        return _CLASS
    return _RESOURCE
