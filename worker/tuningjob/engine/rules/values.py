"""Checks of parameter values for rules, which never raise, because a value may be any object."""

import math
from functools import cache
from numbers import Real
from typing import Any

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.sklearn_private import constraints_of, make_constraint


def as_number(value: ParamValue) -> float | None:
    """The value as a float, as C gets it, if it is a finite real number and no bool; else None."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def is_valid(estimator: Estimator, name: str) -> bool:
    """Whether scikit-learn's fit accepts the value of this parameter, used or not."""
    try:
        kind: type = type(estimator)
        return any(each.is_satisfied_by(getattr(estimator, name)) for each in _constraints(kind, name))
    except Exception:  # noqa: BLE001  comparing a user's object may raise anything
        return False


@cache
def _constraints(kind: type, name: str) -> tuple[Any, ...]:
    return tuple(map(make_constraint, constraints_of(kind).get(name, ())))
