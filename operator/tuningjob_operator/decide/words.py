"""Texts and numbers that workers reported, as far as they may be believed and shown. Pure, and never raises.

Code that runs in a search's pod has its token, and may report an infinite cost, a text of megabytes, or parameters that JSON
cannot hold. The results service refuses such reports now, but the journal of an older release may still hold them. What the
operator derives of a search (its size, its end, its status) is based on what these functions return.
"""

import json
import re
from dataclasses import replace
from typing import Final

from tuningjob.aliases import Json
from tuningjob.journal.records import Progress
from tuningjob.manifest.bounds import problems_of
from tuningjob.protocol.records import Pilot, Preflight, Spread

# A century in seconds, and an exbibyte: more is no measurement.
_MAX_SECONDS: Final = 3.2e9
_MAX_BYTES: Final = 2**60
# The most bytes of parameters in a status, as JSON: an object is to stay small, and the ConfigMap has the whole answer.
MAX_PARAMS_BYTES: Final = 16 * 2**10
_MAX_PARAMS_DEPTH: Final = 32
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_UNSHOWN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def heard(progress: Progress) -> Progress:
    """``progress`` with numbers that can be calculated with; a pilot with any other number counts as none."""
    preflight = progress.preflight
    if preflight is not None and preflight.pilot is not None and not _is_sound(preflight.pilot):
        preflight = replace(preflight, pilot=None)
    is_measured = 0 <= progress.cell_seconds <= max(1, progress.total) * _MAX_SECONDS
    seconds, measured = (progress.cell_seconds, progress.measured) if is_measured else (0.0, 0)
    return replace(progress, preflight=preflight, cell_seconds=seconds, measured=measured)


def _is_sound(pilot: Pilot) -> bool:
    return (
        _is_spread(pilot.cell_seconds, _MAX_SECONDS)
        and _is_spread(pilot.process_bytes, _MAX_BYTES)
        and 0 <= pilot.pod_bytes <= _MAX_BYTES
    )


def _is_spread(spread: Spread, most: float) -> bool:
    return all(0 <= number <= most for number in (spread.low, spread.expected, spread.high))


def warnings_of(preflight: Preflight) -> tuple[str, ...]:
    """The warnings of a preflight, as text that may be shown."""
    return tuple(printable(warning) for warning in preflight.warnings)


def printable(text: str) -> str:
    """``text`` without control characters and lone surrogates. It is not cut, because a condition cuts it."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def condition_reason(text: str | None, default: str) -> str:
    """A condition's reason: one word."""
    return text if text is not None and _REASON.fullmatch(text) else default


def showable(params: Json) -> bool:
    """Whether these parameters are small, shallow, and JSON."""
    if problems_of(params, "params", max_bytes=MAX_PARAMS_BYTES, max_depth=_MAX_PARAMS_DEPTH):
        return False
    try:
        return len(json.dumps(params, allow_nan=False, ensure_ascii=False).encode()) <= MAX_PARAMS_BYTES
    except (ValueError, TypeError, RecursionError):
        return False
