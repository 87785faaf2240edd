"""Fingerprints of unfitted estimators: two with the same one would be fitted to the same bits by the same data.

A user's objects may refer to themselves, have no ``__dict__``, or raise when their attributes are read. Taking a fingerprint
never raises and always ends. An object that cannot be described equals only itself, and shares nothing.
"""

import contextlib
import numbers
import types
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Any, Final

import joblib
import numpy as np

from tuningjob.aliases import Anything, Estimator, ParamValue

_PLAIN = (str, bytes, int, bool, type(None))
_LISTS = (list, tuple)
# Lists that hold the same list repeatedly have exponentially many items to visit.
_MOST_VALUES: Final = 200_000
_MADE_BY_A_CLASS_STATEMENT: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE


class Untold:
    """Stands for an object that cannot be described: it looks like an unknown estimator that draws without a seed."""

    random_state = None


UNTOLD: Final = Untold()


class _CannotTellError(Exception):
    """Raised for a value that refers to itself, is too large, or hides its state."""


def fingerprint(value: ParamValue) -> Hashable:
    """The fingerprint of a value: equal only for values that no fit could tell apart.

    Types count (1 is not 1.0), and so do signs of zero. Other objects are compared by their pickled state. An object that cannot
    be pickled or refers to itself is compared by identity. So a fingerprint may miss an equality, but never invents one.
    """
    try:
        return _Description().of(value)
    except Exception:  # noqa: BLE001  its own code may raise anything
        return ("is", id(value))


def of_estimator(
    estimator: Estimator,
    *,
    without: Collection[str] = (),
    instead: Mapping[str, Any] | None = None,
) -> Hashable:
    """The fingerprint of an estimator: its class and all of its state (parameters, output configuration, metadata requests).

    Attributes in ``without`` are left out, and those in ``instead`` count as if they had the value given there.
    """
    try:
        return _Description().of_estimator(estimator, without, instead or {})
    except Exception:  # noqa: BLE001  its own code may raise anything
        return ("is", id(estimator))


class _Description:
    """The state of describing one value: the objects that enclose the current one, and how many values it has visited."""

    def __init__(self) -> None:
        self._within: set[int] = set()
        self._seen = 0

    def of(self, value: ParamValue) -> Hashable:  # noqa: PLR0911  a kind at a time
        self._seen += 1
        if self._seen > _MOST_VALUES:
            raise _CannotTellError
        kind = type(value)
        if kind in _PLAIN:
            return (kind, value)
        if kind is float:
            return (kind, value.hex())
        if isinstance(value, np.generic):
            return (kind, np.asarray(value).tobytes())
        if kind in _LISTS or kind is dict:
            return self._entered(value, self._of_dict if kind is dict else self._of_list)
        if isinstance(value, type) or (callable(value) and not hasattr(value, "get_params")):
            return ("is", id(value))
        if is_estimator(value):
            return self.of_estimator(value, (), {})
        return _by_state(value)

    def of_estimator(self, estimator: Estimator, without: Collection[str], instead: Mapping[str, Any]) -> Hashable:
        def describe(_: Anything) -> Hashable:
            state = _state_of(estimator)
            if state is None:
                raise _CannotTellError
            state |= instead
            return (type(estimator), *((name, self.of(state[name])) for name in sorted(state) if name not in without))

        return self._entered(estimator, describe)

    def _entered(self, value: ParamValue, describe: Callable[[Any], Hashable]) -> Hashable:
        if id(value) in self._within:
            raise _CannotTellError
        self._within.add(id(value))
        described = describe(value)
        self._within.remove(id(value))
        return described

    def _of_list(self, value: ParamValue) -> Hashable:
        return (type(value), *map(self.of, value))

    def _of_dict(self, value: ParamValue) -> Hashable:
        return (dict, *((self.of(key), self.of(item)) for key, item in value.items()))


def is_estimator(value: ParamValue) -> bool:
    """Whether the value follows scikit-learn's protocol of parameters, and is an object, not a class."""
    try:
        return hasattr(value, "get_params") and not isinstance(value, type)
    except Exception:  # noqa: BLE001  a property of it may raise anything
        return False


def nested_estimators(estimator: Estimator) -> Iterator[Any]:
    """The estimator and every estimator among its parameters, at any depth (steps and transformers included), once each.

    ``UNTOLD`` stands for an object that cannot be looked into.
    """
    seen = {id(estimator)}
    waiting = [estimator]
    while waiting:
        each = waiting.pop()
        yield each
        inner = [new for new in estimators_within(each) if id(new) not in seen]
        seen.update(map(id, inner))
        waiting += reversed(list({id(new): new for new in inner}.values()))


def estimators_within(estimator: Estimator) -> Iterator[Any]:
    """The estimators among an estimator's parameters, also in lists, tuples and dicts, but not those within these estimators.

    ``UNTOLD`` stands for an object that cannot be looked into.
    """
    if estimator is UNTOLD:
        return
    state = _state_of(estimator)
    if state is None:
        yield UNTOLD
        return
    seen: set[int] = set()
    waiting = list(reversed(state.values()))
    while waiting:
        value = waiting.pop()
        if is_estimator(value):
            yield value
        elif type(value) in _LISTS or type(value) is dict:
            if id(value) in seen:
                continue
            seen.add(id(value))
            waiting += reversed(list(value.values() if type(value) is dict else value))


def is_integer(value: ParamValue) -> bool:
    """Whether the value is an integer and no bool, as scikit-learn's constraints mean it."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _state_of(value: ParamValue) -> dict[str, Any] | None:
    """An object's own attributes, also those in ``__slots__``; None if it may have more state than these."""
    state: dict[str, Any] = {}
    try:
        for kind in reversed(type(value).__mro__):
            if kind is object:
                continue
            if not kind.__flags__ & _MADE_BY_A_CLASS_STATEMENT:
                return None
            for name, attribute in vars(kind).items():
                if isinstance(attribute, types.MemberDescriptorType):
                    with contextlib.suppress(AttributeError):  # nothing was put into it
                        state[name if name not in state else f"{kind.__qualname__}.{name}"] = attribute.__get__(value)
                elif name == "__dict__" and not isinstance(attribute, types.GetSetDescriptorType):
                    return None
        return state | dict(getattr(value, "__dict__", {}))
    except Exception:  # noqa: BLE001  its own code may raise anything
        return None


def _by_state(value: ParamValue) -> Hashable:
    if isinstance(value, np.ndarray) and value.dtype != object:
        return (np.ndarray, value.dtype.str, value.shape, value.strides, value.tobytes())
    try:
        return (type(value), joblib.hash(value, hash_name="sha1"))
    except Exception:  # noqa: BLE001  its pickling may raise anything
        return ("is", id(value))
