"""Bounds of the size and depth of a value from outside, which are checked before anything is done with it.

A manifest, a parameter's value or a worker's answer is walked with an explicit stack, so that no nesting ends in a
RecursionError. The walk ends at the bounds, so that YAML's aliases, which can repeat one thing a million times, cost nothing.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused, Problem

# Lists and maps inside each other. A grid's value that is a pipeline in a column transformer in a pipeline has about 20.
MAX_DEPTH: Final = 64
# Bytes of spec as JSON. A TuningJob of a million candidates has some 10 KiB; the API server takes objects up to 1.5 MiB.
MAX_SPEC_BYTES: Final = 256 * 2**10
# Scalars, lists and maps in a manifest; memory and time depend on their number.
MAX_VALUES: Final = 50_000
# Bytes of a whole object with its metadata and status: more than an API server keeps.
MAX_DOCUMENT_BYTES: Final = 2 * 2**20
MAX_DOCUMENT_VALUES: Final = 4 * MAX_VALUES
# Bytes of a manifest's file, with its comments.
MAX_FILE_BYTES: Final = 2**20
# Digits of the largest float, because readers of JSON make a float of a long integer.
MAX_DIGITS: Final = 308
_BEYOND: Final = 10**MAX_DIGITS
_LONGEST_COUNTED: Final = 10_000
_LONGEST_PATH: Final = 160
_MUCH: Final = (
    "YAML's aliases count as what they stand for. Long lists are said by {range: …}, {linspace: …} or {logspace: …}."
)


def problems_of(
    value: Json,
    field: str,
    *,
    max_bytes: int,
    max_values: int = sys.maxsize,
    max_depth: int = MAX_DEPTH,
) -> list[Problem]:
    """Problems of a JSON-like value that is too deep, too long, or has too large a number; never raises, and ends early.

    ``field`` is its path. Bytes are those of JSON in UTF-8 without blanks; numbers and escapes are underestimated.
    """
    problems: list[Problem] = []
    size = values = 0
    waiting: list[Iterator[tuple[str | int, Any]]] = [iter([("", value)])]
    path: list[str | int] = []
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            del path[-1:]
            continue
        key, item = entry
        values += 1
        size += _bytes_of(key, item)
        if size > max_bytes or values > max_values:
            much = f"{readable_size(max_bytes)} as JSON" if size > max_bytes else f"{max_values:,} values"
            return [*problems, Problem(field or "the file", f"of at most {much}", "more", _MUCH)]
        if isinstance(item, int) and abs(item) >= _BEYOND:
            where = _joined(field, [*path, key])
            problems.append(Problem(where, *of_too_many_digits(_digits(item))))
        inside = _inside(item)
        if inside is None:
            continue
        if len(waiting) > max_depth:
            must_be = f"lists and maps inside each other, {max_depth} deep at the most"
            return [*problems, Problem(_joined(field, [*path, key]), must_be, "more")]
        waiting.append(inside)
        path.append(key)
    return problems


def check_spec(spec: Json, field: str = "spec") -> None:
    """Raise ManifestRefused for a spec that exceeds these bounds."""
    _refuse(problems_of(spec, field, max_bytes=MAX_SPEC_BYTES, max_values=MAX_VALUES))


def check_document(document: Json, field: str = "", *, max_bytes: int = MAX_DOCUMENT_BYTES) -> None:
    """Raise ManifestRefused for a whole object that exceeds its bounds."""
    _refuse(problems_of(document, field, max_bytes=max_bytes, max_values=MAX_DOCUMENT_VALUES))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ManifestRefused(problems)


def of_too_many_digits(digits: int) -> tuple[str, str]:
    """What a number with too many digits must be, and what it is, for a Problem."""
    return f"a number of at most {MAX_DIGITS} digits", f"one of {digits:,}"


def _inside(item: object) -> Iterator[tuple[str | int, Any]] | None:
    if item is None or isinstance(item, str | int | float):
        return None
    if isinstance(item, list | tuple):
        return iter(enumerate(item))
    return iter(item.items()) if isinstance(item, Mapping) else None


def _bytes_of(key: object, item: object) -> int:
    """The bytes that JSON needs for an item and the comma after it, without what is inside of it."""
    size = 4 + _utf8(key) if isinstance(key, str) else 1
    if isinstance(item, str):
        return size + 2 + _utf8(item)
    if type(item) is int:
        return size + _digits(item)
    return size + 2


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _digits(number: int) -> int:
    """The number of decimal digits, without str(), which refuses beyond 4,300; for a longer number it may be one too many."""
    if -10 < number < 10:
        return 1
    digits = 1 + math.floor(abs(number).bit_length() * math.log10(2))
    return digits - 1 if digits < _LONGEST_COUNTED and abs(number) < 10 ** (digits - 1) else digits


def _joined(field: str, parts: Iterable[str | int]) -> str:
    path = field
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path and part != "" else str(part)
        if len(path) > _LONGEST_PATH:
            return f"{path[:_LONGEST_PATH]}…"
    return path or "the file"


def readable_size(size: int) -> str:
    """The size in MiB, or in KiB if it is below one MiB."""
    return f"{size // 2**20:,} MiB" if size >= 2**20 else f"{size // 2**10:,} KiB"
