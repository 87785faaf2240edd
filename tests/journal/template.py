"""A new journal's file, already at the newest schema: to migrate one takes forty milliseconds, and a thousand tests begin so."""

import functools
import tempfile
from pathlib import Path

from tuningjob.journal.sql import open_sqlite


def ensure_journal(path: Path) -> Path:
    """``path``, with an empty journal there unless there is a file already."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_migrated())
    return path


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tuning.db"
        open_sqlite(path).close()
        return path.read_bytes()
