"""Read the lines of a text file, plain or compressed, which its name says as for pandas."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, Final, TextIO

_OPENERS: Final[dict[str, Callable[..., Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ARCHIVES: Final = (".zip", ".zst", ".tar")


def lines_of(path: Path, encoding: str | None = None) -> AbstractContextManager[TextIO]:
    """Open a file as text, in UTF-8 or an ``encoding``, with its line ends unchanged; an archive gives no lines."""
    if path.suffix in _ARCHIVES:
        return nullcontext(StringIO())
    # with the mark that Excel begins a file with, or without
    opened: TextIO = _OPENERS.get(path.suffix, open)(path, "rt", encoding=encoding or "utf-8-sig", newline="")
    return opened


def beginning_of(path: Path, most: int, encoding: str | None = None) -> tuple[str, float]:
    """The first characters of a text file, opened as by ``lines_of``, and about which share of the file they are.

    The share of a compressed file counts its bytes on the disk.
    """
    size = path.stat().st_size
    if path.suffix in _ARCHIVES or size == 0:
        return "", 1.0
    opener = _OPENERS.get(path.suffix, TextIOWrapper)
    mode = {} if opener is TextIOWrapper else {"mode": "rt"}
    with path.open("rb") as raw, opener(raw, **mode, encoding=encoding or "utf-8-sig", newline="") as file:
        text: str = file.read(most)
        # bytes read ahead count as read, so the share is rather too large than too small
        return text, 1.0 if not file.read(1) else min(1.0, raw.tell() / size)
