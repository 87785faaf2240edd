"""A new journal, already at the newest schema: to make one takes some milliseconds, on Postgres 150, and a thousand tests begin so."""

import functools
import tempfile
from pathlib import Path

from tests.servers.postgres import Postgres
from tuningjob.journal.sql import SqlJournal, open_sqlite


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


@functools.cache
def migrated_database(server: Postgres) -> str:
    """The name of a database of this server with an empty journal, to be copied."""
    name = server.create_database()
    SqlJournal(server.url(name)).close()
    return name
