"""The lines of a text file, plain or compressed as pandas takes it by its name."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any, Final, TextIO

_OPENERS: Final[dict[str, Callable[..., Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ARCHIVES: Final = (".zip", ".zst", ".tar")


def lines_of(path: Path, encoding: str | None = None) -> AbstractContextManager[TextIO]:
    """The text of a file, in UTF-8 or an ``encoding``, line ends as they are; nothing of an archive."""
    if path.suffix in _ARCHIVES:
        return nullcontext(StringIO())
    # with the mark that Excel begins a file with, or without
    opened: TextIO = _OPENERS.get(path.suffix, open)(path, "rt", encoding=encoding or "utf-8-sig", newline="")
    return opened
