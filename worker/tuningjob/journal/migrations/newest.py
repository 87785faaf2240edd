"""``newest.sql``: what the migrations leave in an empty SQLite database. `make generate` writes it; a test compares the two."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from tuningjob.journal.database import Database
from tuningjob.journal.migrations import NEWEST, run_migrations

_HEADER: Final = (
    "-- What the migrations leave in an empty SQLite database. Written by `make generate`; not edited by hand.\n"
)


def newest_of(path: Path) -> str:
    """The script that makes what is in a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        return _HEADER + "".join(_lines(connection))


def _lines(connection: sqlite3.Connection) -> Iterator[str]:
    """The statements, without the transaction around them and the blanks that SQLAlchemy leaves at the ends of lines."""
    for statement in connection.iterdump():
        if statement not in {"BEGIN TRANSACTION;", "COMMIT;"}:
            yield from (f"{line.rstrip()}\n" for line in statement.splitlines() if line.strip())


def main() -> None:
    """Write the script from an empty database that was migrated."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tuning.db"
        with closing(Database(f"sqlite:///{path}")) as database, database.writing() as connection:
            run_migrations(connection, str(database))
        NEWEST.write_text(newest_of(path), encoding="utf-8")


if __name__ == "__main__":
    main()
