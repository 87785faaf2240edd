"""What rules ask of a parameter's value, which may be anything: none of it raises."""

import math
from numbers import Real

from tuningjob.aliases import ParamValue


def as_number(value: ParamValue) -> float | None:
    """A finite real number that is no bool, as C gets it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
