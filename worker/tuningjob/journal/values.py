"""Values that a database has no place for, on their way in and out."""

import math


def null_if_nan(value: float) -> float | None:
    """SQLite stores a NaN as null anyway, and then takes offence at it."""
    return None if math.isnan(value) else value


def nan_if_null(value: float | None) -> float:
    """What ``null_if_nan`` made of it, back."""
    return math.nan if value is None else value


def storable(text: str) -> str:
    """Free text without the one character that Postgres cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
