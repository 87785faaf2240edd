"""What an unfitted estimator is, as a hashable: two with one fingerprint would be fitted to the same bits by the same data."""

import numbers
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any

import joblib
import numpy as np

_PLAIN = (str, bytes, int, bool, type(None))


def fingerprint(value: Any) -> Hashable:  # noqa: ANN401, PLR0911  any parameter's value, a kind at a time
    """Equal only for values that no fit could tell apart.

    Types count (1 is not 1.0), so do signs of zero. What has no better description is compared by its pickled state, and what
    cannot be pickled by identity: a fingerprint may miss an equality, it never invents one.
    """
    if type(value) in _PLAIN:
        return (type(value), value)
    if isinstance(value, float | np.generic):
        return (type(value), value.hex() if type(value) is float else np.asarray(value).tobytes())
    if isinstance(value, list | tuple):
        return (type(value), *map(fingerprint, value))
    if type(value) is dict:
        return (dict, *((fingerprint(key), fingerprint(item)) for key, item in value.items()))
    if isinstance(value, type) or (callable(value) and not hasattr(value, "get_params")):
        return ("is", id(value))
    if is_estimator(value):
        return of_estimator(value)
    return _by_state(value)


def of_estimator(
    estimator: Any,  # noqa: ANN401  an estimator
    *,
    without: Collection[str] = (),
    instead: Mapping[str, Any] | None = None,
) -> Hashable:
    """The fingerprint of an estimator: its class and all of its state (parameters, output configuration, metadata requests).

    Attributes in ``without`` are left out, those in ``instead`` count as if they had the value given there.
    """
    state = vars(estimator) | instead if instead else vars(estimator)
    return (type(estimator), *((name, fingerprint(state[name])) for name in sorted(state) if name not in without))


def is_estimator(value: Any) -> bool:  # noqa: ANN401  anything
    """Whether it follows scikit-learn's protocol of parameters (and is an object, not a class)."""
    return hasattr(value, "get_params") and not isinstance(value, type)


def nested_estimators(estimator: Any) -> Iterator[Any]:  # noqa: ANN401  an estimator
    """The estimator and every estimator among its parameters, at any depth (steps and transformers included)."""
    yield estimator
    for inner in estimators_within(estimator):
        yield from nested_estimators(inner)


def estimators_within(estimator: Any) -> Iterator[Any]:  # noqa: ANN401  an estimator
    """The estimators among its parameters, in lists and tuples too, without those within these."""
    for value in vars(estimator).values():
        yield from _estimators_in(value)


def _estimators_in(value: Any) -> Iterator[Any]:  # noqa: ANN401  any parameter's value
    if is_estimator(value):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _estimators_in(item)


def is_integer(value: Any) -> bool:  # noqa: ANN401  anything
    """An integer and no bool, as scikit-learn's constraints mean it."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _by_state(value: Any) -> Hashable:  # noqa: ANN401  anything
    if isinstance(value, np.ndarray) and value.dtype != object:
        return (np.ndarray, value.dtype.str, value.shape, value.strides, value.tobytes())
    try:
        return (type(value), joblib.hash(value, hash_name="sha1"))
    except Exception:  # noqa: BLE001  whatever its pickling does
        return ("is", id(value))
