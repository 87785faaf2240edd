"""Find the candidate that is the estimator with its defaults, because its fits serve for both.

A value is the default's if it is the same to the type and the last bit. An integer also equals the float of its value if
scikit-learn's own constraints take a real number there and give an integer no other meaning. The reason is that a manifest read
by an API server says 1 for 1.0; a test checks this for every estimator of scikit-learn.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from sklearn.base import clone

from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.engine.sklearn_private import Interval, constraints_of, is_proved
from tuningjob.search.identity import Identities
from tuningjob.search.parameters import owner_of
from tuningjob.search.rows import Defaults
from tuningjob.search.space import DrawnSpace, Space

_IsWanted = Callable[[str, ParamValue], bool]


def same_as_defaults(estimator: Estimator, space: Space, defaults: Defaults, identities: Identities) -> int | None:
    """The first candidate that makes the same estimator as the defaults; None if there is none, or if that is not known."""
    try:
        made = clone(estimator).set_params(**clone(defaults.params, safe=False))
        wanted: Mapping[str, Any] = made.get_params(deep=True)

        def is_wanted(name: str, value: ParamValue) -> bool:
            if name not in wanted:
                return False
            return identities.is_alike(value, wanted[name]) or is_the_float(made, name, value, wanted[name])

        for candidate in _near(space, is_wanted):
            # parameters that the candidate does not set count, too
            params = {name: wanted[name] for name in space.candidates[candidate]}
            if identities.is_same(params, defaults.params):
                return candidate
    except Exception:  # noqa: BLE001  a user's class may do anything; then the defaults have fits of their own
        return None
    return None


def is_the_float(estimator: Estimator, name: str, value: ParamValue, default: ParamValue) -> bool:
    """Whether an integer means the same as a float default, which is known only for scikit-learn's own classes."""
    if type(value) is not int or type(default) is not float or value != default:
        return False
    owner = owner_of(estimator, name)
    return takes_reals_alone(type(owner), name.rpartition("__")[2])


def takes_reals_alone(kind: type[Any], name: str) -> bool:
    """Whether a class of scikit-learn takes a real number for a parameter, and an integer has no other meaning there."""
    constraints: Anything = constraints_of(kind).get(name)
    if not is_proved() or not kind.__module__.startswith("sklearn.") or not isinstance(constraints, list):
        return False
    kinds = [each.type if isinstance(each, Interval) else each for each in constraints]
    return Real in kinds and Integral not in kinds and int not in kinds


def _near(space: Space, is_wanted: _IsWanted) -> Iterator[int]:
    """The candidates that have only the wanted values."""
    if isinstance(space, DrawnSpace):
        for number, params in enumerate(space.candidates):
            if all(is_wanted(name, value) for name, value in params.items()):
                yield number
        return
    start = 0
    for values in space.given:
        place = _place(values, is_wanted)
        if place is not None:
            yield start + place
        start += math.prod(map(len, values.values()))


def _place(values: Mapping[str, Sequence[Any]], is_wanted: _IsWanted) -> int | None:
    """The positions of the wanted values in a map of a grid, in ParameterGrid's order: names sorted, the last fastest."""
    place = 0
    for name in sorted(values):
        tried = values[name]
        found = next((i for i, value in enumerate(tried) if is_wanted(name, value)), None)
        if found is None:
            return None
        place = place * len(tried) + found
    return place
