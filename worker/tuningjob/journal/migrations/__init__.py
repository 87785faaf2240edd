"""The schema of the journal's database, and how an older one becomes the newest: Alembic's migrations, in ``versions/``.

A database is brought to the newest revision when it is opened, in one transaction. A process that dies half-way leaves the old
schema; if several processes open a database at once, one migrates and the others wait. Alembic is imported only if there is
something to migrate. An empty SQLite database, with which each new laptop's search begins, needs no Alembic: ``newest.sql`` makes
in some milliseconds what all migrations leave there.

A new revision needs a file in ``versions/``, the tables, REVISION and READ_SINCE in ``schema.py``, and `make generate`. The file
is frozen from then on: a migration never imports the schema, which goes on changing. Tests compare the three.
"""

import importlib.metadata
import sqlite3
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError

from tuningjob.errors import JournalError, JournalMismatch
from tuningjob.journal.database import Database
from tuningjob.journal.schema import READ_SINCE, REVISION, audit, metadata, schema_version

NEWEST: Final = Path(__file__).with_name("newest.sql")
_FIRST: Final = "0001"
# any number, but the same in every release: the process that holds this lock migrates
_LOCK: Final = 7_488_646_743_065_962


def migrate(database: Database) -> None:
    """Make the tables that this program needs in an empty database, or migrate those of an older one.

    Raises JournalMismatch for a database that is newer than the program or another program's, and JournalError for one that does
    not answer.
    """
    if not _is_newest(database):
        with database.writing() as connection:
            if _is_empty_sqlite(connection):
                for statement in _statements(NEWEST.read_text(encoding="utf-8")):
                    connection.exec_driver_sql(statement)
            else:
                run_migrations(connection, str(database))


def is_journal(database: Database) -> bool:
    """Whether there is a journal of any schema; it makes none. Raises JournalError."""
    with database.reading() as connection:
        return inspect(connection).has_table(audit.name)


def why_none(database: Database) -> str | None:
    """Why an existing database is no journal, as the end of a sentence; None if it is one. Raises JournalError."""
    try:
        return None if is_journal(database) else "which is none"
    except JournalError as error:
        found = getattr(error.__cause__, "orig", None)
        if isinstance(found, sqlite3.Error):  # the file is something else
            return str(found)
        raise


def _is_newest(database: Database) -> bool:
    with database.reading() as connection:
        try:
            found = connection.execute(select(schema_version.c.revision)).scalar()
        except DBAPIError:  # no such table or column: the transaction that makes them looks again
            return False
    return found == REVISION


def _is_empty_sqlite(connection: Connection) -> bool:
    return (
        connection.dialect.name == "sqlite"
        and connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").first() is None
    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one at a time, because sqlite3's ``executescript`` would commit their transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def run_migrations(connection: Connection, name: str) -> None:
    """Migrate a database of any schema within the transaction. Raises JournalMismatch."""
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        # a large table takes long, and other processes wait for it
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", __name__.replace(".migrations", ":migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    revision = _revision(connection, name, known)
    if revision == REVISION:
        return  # another process was first
    if revision == _FIRST:
        command.stamp(config, _FIRST)
    command.upgrade(config, REVISION)
    connection.execute(schema_version.delete())
    connection.execute(schema_version.insert().values(revision=REVISION, read_since=READ_SINCE))


def _revision(connection: Connection, name: str, known: Set[str]) -> str | None:
    """The database's revision; None if it is empty. Raises JournalMismatch if the revision is none of ours."""
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    if schema_version.name not in tables:
        if taken := sorted(tables & {*metadata.tables, "alembic_version"}):
            raise JournalMismatch(
                f"{name}: must be empty or a journal of tuningjob, but got another program's tables: {', '.join(taken)}. "
                "Give tuningjob a database of its own."
            )
        return None
    ours = f"this is tuningjob {importlib.metadata.version('tuningjob')}"
    if {column["name"] for column in inspector.get_columns(schema_version.name)} == {"version"}:
        # a database from before there were migrations; it has no row if the process that made it died too early
        found = connection.execute(text("SELECT version FROM schema_version")).scalar()
        if found in {None, 1}:
            return _FIRST
        raise JournalMismatch(f"{name}: must be of schema 1 or newer, but got {found}, and {ours}.")
    row = connection.execute(select(schema_version)).one()
    if row.revision not in known:
        raise JournalMismatch(
            f"the journal's database is of schema {row.revision}, which tuningjob {row.read_since} and newer read, "
            f"but {ours}. Use that one."
        )
    return str(row.revision)
