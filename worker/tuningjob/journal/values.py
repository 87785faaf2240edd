"""Values that a database cannot hold, on their way in and out, and texts of an older release that are too long to read."""

import json
import math
from typing import Any, Final

from sqlalchemy import ColumnElement, Label, case, func

# The most of a worker's text that leaves the database: an older release took texts of any length.
MAX_READABLE: Final = 2**20


def bounded_text(column: ColumnElement[Any], most: int = MAX_READABLE) -> Label[Any]:
    """The column, under its own name; null for a text that is too long to be read."""
    return case((func.length(column) <= most, column)).label(getattr(column, "name", None))


def params_in(text: str | None) -> dict[str, Any]:
    """The JSON object in ``text``; {} if it is too long, too deep, or no JSON object."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def null_if_nan(value: float) -> float | None:
    """None for a NaN, which SQLite stores as null anyway, and then refuses in a column without nulls."""
    return None if math.isnan(value) else value


def nan_if_null(value: float | None) -> float:
    """Undo ``null_if_nan``."""
    return math.nan if value is None else value


def storable(text: str) -> str:
    """A text without NUL, which Postgres cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
