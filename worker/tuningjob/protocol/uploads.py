"""What a person's Python and the results service exchange about data and code that are sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict

_WIRE: Final = ConfigDict(extra="forbid")
# of one request
MOST_PART_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class UploadState:
    """How much of a file the service has. It is complete only if it is whole and its digest was right."""

    __pydantic_config__ = _WIRE
    sha256: str
    received_bytes: int
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class DataRoom:
    """The bytes that a namespace has sent, and the most for it and for one file. ``namespace_bytes``: 0 for any number."""

    __pydantic_config__ = _WIRE
    used_bytes: int
    namespace_bytes: int
    file_bytes: int
    part_bytes: int = MOST_PART_BYTES


def sent_by(spec: Mapping[str, Any]) -> set[str]:
    """The digests of all data and code sent for a search, by its manifest's spec."""
    data, code = (spec.get("data") or {}).get("uploaded") or {}, (spec.get("code") or {}).get("uploaded")
    return {*map(str, data.values()), *([str(code)] if code else [])}
