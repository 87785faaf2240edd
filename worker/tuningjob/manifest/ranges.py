"""Ranges of values and distributions as a manifest writes them in the place of a list of values.

``{logspace: [start, stop, num]}``, ``{linspace: [start, stop, num]}``, ``{range: [start, stop, step]}``; a random search may draw
from ``{uniform: [low, high]}``, ``{loguniform: [low, high]}`` and ``{randint: [low, high]}``. This module only parses: like
``literals``, the operator imports it.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuningjob.aliases import Json
from tuningjob.manifest.literals import DISTRIBUTION_TAGS, RANGE_TAGS, Scalar, Value, parse_literal, refuse

# Readers of JSON do not agree on larger integers.
_MOST: Final = 2**53


@dataclass(frozen=True)
class Spaced:
    """``num`` values from ``start`` to ``stop``, both included, as numpy's linspace or logspace makes them."""

    kind: str  # "linspace" or "logspace"
    start: float
    stop: float
    num: int


@dataclass(frozen=True)
class Distribution:
    """What a random search draws a value from: scipy.stats' distribution of this name between ``low`` and ``high``.

    ``uniform`` and ``loguniform`` draw floats, ``randint`` integers below ``high``.
    """

    kind: str  # "uniform", "loguniform" or "randint"
    low: float
    high: float


Values = tuple[Value | Spaced | range, ...]


def parse_distribution(value: Json, field: str) -> Distribution | None:
    """A distribution; None for what does not look like one. Raises ManifestRefused for bounds that it cannot have."""
    if not (isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in DISTRIBUTION_TAGS):
        return None
    ((kind, body),) = value.items()
    where = f"{field}.{kind}"
    if not isinstance(body, list) or len(body) != 2 or any(isinstance(x, bool) for x in body):
        raise refuse(where, "[low, high]", body)
    if kind == "randint":
        if not all(isinstance(x, int) and abs(x) <= _MOST for x in body) or body[0] >= body[1]:
            raise refuse(where, "[low, high], integers within ±2^53, low less than high (which is not drawn)", body)
        return Distribution(kind, *body)
    if not all(isinstance(x, int | float) for x in body):
        raise refuse(where, "[low, high], numbers", body)
    low, high = (float(x) if abs(x) <= sys.float_info.max else math.inf for x in body)
    if not math.isfinite(high - low) or low >= high:
        raise refuse(where, "[low, high], finite numbers, low less than high", body)
    if kind == "loguniform" and low <= 0:
        raise refuse(where, "[low, high] with low greater than 0", body)
    return Distribution(kind, low, high)


def parse_values(value: Json, field: str) -> Values:
    """The values that one parameter takes in a grid: a list of literals and ranges, in order, or one range.

    Raises ManifestRefused for an empty list and for a value that is no list (scikit-learn's ParameterGrid refuses both).
    """
    if isinstance(value, Mapping) and len(value) == 1 and (tag := next(iter(value))) in DISTRIBUTION_TAGS:
        raise refuse(field, "a list of values", value, f"{{{tag}: …}} is drawn from: that is for spec.search.random.")
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in RANGE_TAGS:
        return (_parse_range(value, field),)
    if not isinstance(value, list):
        raise refuse(
            field,
            "a list of values",
            value,
            f"Write [{value}] for a single one." if not isinstance(value, Mapping) else "",
        )
    if not value:
        raise refuse(field, "a list with at least one value", value, "Remove the parameter, or give it a value.")
    return tuple(
        _parse_range(item, f"{field}[{i}]")
        if isinstance(item, Mapping) and len(item) == 1 and next(iter(item)) in RANGE_TAGS
        else parse_literal(item, f"{field}[{i}]")
        for i, item in enumerate(value)
    )


def _parse_range(value: Mapping[str, Any], field: str) -> Spaced | range:
    ((tag, body),) = value.items()
    where = f"{field}.{tag}"
    numbers = isinstance(body, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in body)
    if tag == "range":
        if (
            not numbers
            or not 1 <= len(body) <= 3
            or not all(isinstance(x, int) for x in body)
            or (len(body) == 3 and body[2] == 0)
        ):
            raise refuse(where, "[stop], [start, stop] or [start, stop, step], integers, step not 0", body)
        span = range(*body)
        if not span:
            raise refuse(where, "a range with at least one value", body)
        return span
    if not numbers or len(body) != 3 or not isinstance(body[2], int) or not 1 <= body[2] <= _MOST:
        raise refuse(where, "[start, stop, num] with num an integer of at least 1", body)
    if any(abs(x) > sys.float_info.max for x in body):
        raise refuse(where, "[start, stop, num], finite numbers", body)
    return Spaced(tag, float(body[0]), float(body[1]), body[2])


def count_values(values: Values) -> int:
    """The number of values that a parameter takes."""
    return sum(_span(entry) for entry in values)


def _span(entry: Value | Spaced | range) -> int:
    if isinstance(entry, Spaced):
        return entry.num
    # not len(), which fails for a range longer than a machine word
    return max(0, -((entry.start - entry.stop) // entry.step)) if isinstance(entry, range) else 1


def value_at(values: Values, position: int) -> Value:
    """The value at ``position``, counted through ranges.

    A ``logspace`` value is libm's power here and may differ from numpy's in the last bit, so it only serves to show progress.
    What is fitted, and reported as the answer, is numpy's own.
    """
    for entry in values:
        span = _span(entry)
        if position >= span:
            position -= span
        elif isinstance(entry, range):
            return Scalar(entry[position])
        elif isinstance(entry, Spaced):
            return Scalar(_spaced_at(entry, position))
        else:
            return entry
    raise IndexError(position)


def _spaced_at(spaced: Spaced, position: int) -> float:
    last = spaced.num - 1
    exact = (
        spaced.stop if 0 < position == last else spaced.start + position * ((spaced.stop - spaced.start) / max(last, 1))
    )
    try:
        return exact if spaced.kind == "linspace" else math.pow(10.0, exact)
    except OverflowError:  # numpy's result is infinite, too
        return math.inf
