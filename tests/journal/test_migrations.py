"""From every schema that there was to the newest, on both databases, with data in it; and what is refused."""

import importlib.metadata
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from tests.journal import at_once, first_schema
from tests.journal.conftest import OpenJournal
from tests.journal.makers import Pod, a_result, a_search, an_answer
from tuningjob.errors import JournalError, JournalMismatch
from tuningjob.journal.database import Database
from tuningjob.journal.migrations import NEWEST, is_journal, migrate, run_migrations, why_none
from tuningjob.journal.migrations.newest import newest_of
from tuningjob.journal.records import Best, EndedBy
from tuningjob.journal.schema import READ_SINCE, REVISION, metadata
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, Next, SearchState, Unit
from tuningjob.protocol.requests import ClaimRequest, Report

pytestmark = pytest.mark.slow

CELLS = first_schema.CANDIDATES * first_schema.SPLITS


def run(url: str, *changes: Callable[[Connection], object] | str) -> None:
    """One transaction, past the journal: as another program, or an older release, would."""
    with closing(Database(url)) as database, database.writing() as connection:
        for change in changes:
            connection.execute(text(change)) if isinstance(change, str) else change(connection)


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(Database(url)) as database, database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def tables(url: str) -> dict[str, list[str]]:
    """Every table with its columns."""
    found: dict[str, list[str]] = {}

    def look(connection: Connection) -> None:
        inspector = inspect(connection)
        for name in inspector.get_table_names():
            found[name] = sorted(column["name"] for column in inspector.get_columns(name))

    run(url, look)
    return found


def prepared(url: str) -> None:
    with closing(Database(url)) as database:
        migrate(database)


@pytest.fixture
def first(database_url: str) -> str:
    """A database of the first schema, with searches in every state."""
    run(database_url, first_schema.make, first_schema.fill)
    return database_url


@pytest.fixture
def second(first: str) -> str:
    """The same a release later: ``claimed`` has been through deaths."""

    def upgrade(connection: Connection) -> None:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "tuningjob.journal:migrations")
        command.stamp(config, "0001")
        command.upgrade(config, "0002")
        connection.execute(text("INSERT INTO schema_version (revision, read_since) VALUES ('0002', '0.1.0')"))

    run(
        first,
        upgrade,
        "UPDATE searches SET deaths = 3 WHERE id = 'claimed'",
        "UPDATE regions SET next = 20 WHERE search_id = 'claimed'",
        "UPDATE units SET claimant = 'a', deaths = 1 WHERE search_id = 'claimed'",
        "INSERT INTO units (search_id, id, start, stop, remaining, holder, claimant, deaths) "
        "VALUES ('claimed', 8, 8, 12, 4, 1, 'b', 2), ('claimed', 12, 12, 16, 4, 2, 'c', 0), "
        "('claimed', 16, 16, 20, 4, NULL, NULL, 1)",
    )
    return first


@pytest.fixture
def migrated(first: str, open_journal: OpenJournal) -> SqlJournal:
    return open_journal(first)


def work(journal: SqlJournal, search: str, *indexes: int) -> list[Cell]:
    return [cell for index in indexes for cell in Pod(journal.view(search), index=index).work()]


# --- the tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [[], [first_schema.make], [first_schema.make, first_schema.fill]])
def test_the_migrations_end_with_the_tables_of_the_schema(database_url: str, begin: list[Any]) -> None:
    run(database_url, *begin)
    prepared(database_url)

    def compare(connection: Connection) -> None:
        # Alembic takes SQLite's '' for another default than ''
        options = {"compare_type": True, "compare_server_default": connection.dialect.name == "postgresql"}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []

    run(database_url, compare)
    assert ask(database_url, "SELECT * FROM schema_version") == [(REVISION, READ_SINCE)]


def test_migrated_tables_are_made_as_the_schema_would_make_them(make_database: Callable[[], str]) -> None:
    def shape(url: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def look(connection: Connection) -> None:
            inspector = inspect(connection)
            for name in metadata.tables:
                columns = sorted(
                    (each["name"], str(each["type"]), each["nullable"], each["default"])
                    for each in inspector.get_columns(name)
                )
                found[name] = (
                    columns,
                    inspector.get_pk_constraint(name)["constrained_columns"],
                    inspector.get_foreign_keys(name),
                    [
                        (each["name"], each["column_names"], {k: str(v) for k, v in each["dialect_options"].items()})
                        for each in inspector.get_indexes(name)
                    ],
                )

        run(url, look)
        return found

    by_hand, by_migrations = make_database(), make_database()
    run(by_hand, metadata.create_all)
    run(by_migrations, first_schema.make)
    prepared(by_migrations)
    assert shape(by_migrations) == shape(by_hand)


def test_a_new_sqlite_journal_is_what_the_migrations_leave(make_sqlite: Callable[[], str]) -> None:
    by_script, by_migrations = make_sqlite(), make_sqlite()
    prepared(by_script)
    run(by_migrations, partial(run_migrations, name=by_migrations))
    written = NEWEST.read_text(encoding="utf-8")
    assert newest_of(file_of(by_migrations)) == written, "make generate"
    assert newest_of(file_of(by_script)) == written


def test_a_database_that_is_the_newest_or_new_in_sqlite_is_opened_without_alembic(database_url: str) -> None:
    if database_url.startswith("postgresql:"):
        prepared(database_url)
    program = (
        "import sys; from tuningjob.journal.sql import SqlJournal; SqlJournal(sys.argv[1]).close(); "
        "print([name for name in sys.modules if name.split('.')[0] in {'alembic', 'mako'}])"
    )
    done = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- with data in it ------------------------------------------------------------------------------------------------


def test_a_running_search_of_the_first_schema_goes_on_where_it_was(migrated: SqlJournal) -> None:
    before = migrated.progress("running")
    assert (before.done, before.failed, before.revision) == (11, 1, 7)
    # index 1 lost its pod: what it held comes first, then what was given back, then what nobody had claimed
    evaluated = [divmod(ordinal, 5) for ordinal in (*range(11, 16), *range(16, 30))]
    assert [(cell.candidate, cell.split) for cell in work(migrated, "running", 1)] == evaluated
    assert migrated.report_counts("running") == {1: CELLS}
    assert migrated.view("running").claim(ClaimRequest(index=1, slots=1, holding=set())).next is Next.FINISH
    assert migrated.view("running").complete(an_answer()) == 2


def test_a_pod_that_held_a_unit_through_the_upgrade_reports_it_and_goes_on(migrated: SqlJournal) -> None:
    pod = Pod(migrated.view("claimed"), index=0, holding={0})
    assert pod.report(*(Cell(*divmod(ordinal, 5)) for ordinal in range(8))) == 8
    assert pod.must_claim().cells[0] == Cell(1, 3)


def test_a_search_that_nobody_had_claimed_is_walked_as_new_ones_are(migrated: SqlJournal) -> None:
    assert len(work(migrated, "new", 0, 1)) == CELLS


def test_what_ended_is_as_it_ended(migrated: SqlJournal) -> None:
    complete = migrated.progress("complete")
    assert (complete.state, complete.done, complete.model_version) == (SearchState.COMPLETE, CELLS, 1)
    assert complete.answer == an_answer()
    results = list(migrated.view("complete").results())
    assert [result.cell for result in results] == [Cell(*divmod(ordinal, 5)) for ordinal in range(CELLS)]
    assert results[0] == a_result(Cell(0, 0), test_scores={"accuracy": first_schema.score_of(0)})
    assert migrated.progress("failed").failure == "OutOfMemory"
    assert migrated.progress("refused").refusal is not None
    for ended in ("complete", "failed", "refused"):
        assert migrated.view(ended).claim(ClaimRequest(index=0, slots=1, holding=set())).next is Next.NOTHING


def test_the_best_whole_candidate_is_known_at_once(migrated: SqlJournal) -> None:
    mean: float = sum(first_schema.score_of(ordinal) for ordinal in range(5, 10)) / 5
    best = migrated.progress("running").best
    assert best is not None
    assert best.index == 1, "candidate 0 has a failed fit, candidate 2 misses splits"
    assert best.score == pytest.approx(mean)
    complete = migrated.progress("complete").best
    assert complete is not None
    assert complete.index == 3
    assert migrated.progress("tie").best == Best(1, 0.5), "the first of equals; 0 has a NaN"
    assert migrated.progress("claimed").best is None


def test_the_audit_keeps_its_versions_and_counts_on(migrated: SqlJournal) -> None:
    (row,) = migrated.audit.history(namespace="team", model_key="forest")
    assert (row.version, row.search_id, row.best_params) == (1, "complete", {"C": 1, "kernel": "rbf"})
    assert (row.split_digest, row.image, row.created_by, row.artifacts) == ("", "", "", "")
    assert row.pruned_fits == migrated.progress("running").pruned == 0, "there was none before"
    assert row.finished_at == "2026-03-01T12:00:00+00:00"
    migrated.audit.bless(namespace="team", model_key="forest", version=1, who="ada")
    assert migrated.audit.blessed(namespace="team", model_key="forest") == row


def test_units_of_the_second_schema_go_on_as_they_were(second: str, open_journal: OpenJournal) -> None:
    journal = open_journal(second)
    before = journal.progress("claimed")
    assert (before.deaths, before.last_holder, before.starved) == (3, 2, 0)

    def claim(index: int, claimant: str) -> Unit:
        unit = (
            journal.view("claimed")
            .claim(ClaimRequest(index=index, slots=1, holding=set(), claimant=claimant, memory=2**30))
            .unit
        )
        assert unit is not None
        return unit

    assert [(unit.alone, unit.lost) for unit in (claim(0, "a"), claim(1, "b"), claim(2, "c"))] == [
        (True, None),
        (True, Cell(1, 3)),
        (False, None),
    ]
    assert claim(0, "d").lost == Cell(0, 0), "its second death; none of its pods may have more memory"
    assert claim(3, "e").alone
    for index, name in enumerate(("d", "b", "c", "e")):
        unit = claim(index, name)
        journal.view("claimed").report(Report(index=index, results=[a_result(cell) for cell in unit.cells]))
    assert len(work(journal, "claimed", 0)) == CELLS - 20


def test_a_unit_of_the_second_schema_is_starved_by_its_next_death_in_a_search_that_may_have_more(
    second: str, open_journal: OpenJournal
) -> None:
    journal = open_journal(second)
    run(second, f"UPDATE searches SET memory_limit = {2**40} WHERE id = 'claimed'")
    units = [
        journal.view("claimed")
        .claim(ClaimRequest(index=0, slots=1, holding=set(), claimant=claimant, memory=2**30))
        .unit
        for claimant in ("a", "d")
    ]
    assert [unit and unit.id for unit in units] == [0, 16], "given back, and not the one that d found to be starved"
    assert journal.progress("claimed").starved == 1
    before = journal.progress("claimed")
    journal.pardon("claimed", ["nobody", ""])
    assert journal.progress("claimed") == before


def test_deleting_a_search_of_the_first_schema_takes_all_of_it(migrated: SqlJournal, clock: Any) -> None:
    migrated.delete("running")
    clock.pass_time(days=1)
    assert migrated.purge(clock.now) == 1
    assert migrated.progress("complete").done == CELLS


def test_a_first_journal_that_died_before_it_said_its_version_is_taken(database_url: str) -> None:
    run(database_url, first_schema.make, "DELETE FROM schema_version")
    prepared(database_url)
    assert ask(database_url, "SELECT revision FROM schema_version") == [(REVISION,)]


def test_whether_there_is_a_journal_is_asked_without_making_one(make_database: Callable[[], str]) -> None:
    for begin, want in (([], False), (["CREATE TABLE books (id INTEGER)"], False), ([first_schema.make], True)):
        url = make_database()
        run(url, *begin)
        before = tables(url)
        with closing(Database(url, look_only=True)) as database:
            assert is_journal(database) is want
            assert why_none(database) == (None if want else "which is none")
        assert tables(url) == before


def test_who_only_looks_makes_no_file_and_changes_none(tmp_path: Path) -> None:
    with (
        closing(Database(f"sqlite:///{tmp_path}/none.db", look_only=True)) as nothing,
        pytest.raises(JournalError, match="unable to open database file"),
    ):
        is_journal(nothing)
    (tmp_path / "empty.db").touch()
    with closing(Database(f"sqlite:///{tmp_path}/empty.db", look_only=True)) as empty:
        assert not is_journal(empty)
        with pytest.raises(JournalError, match="readonly database"), empty.writing() as connection:
            first_schema.make(connection)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"empty.db": 0}


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_both_versions_are_named(database_url: str) -> None:
    prepared(database_url)
    run(database_url, "UPDATE schema_version SET revision = '0012', read_since = '0.4.0'")
    want = (
        "the journal's database is of schema 0012, which tuningjob 0.4.0 and newer read, "
        f"but this is tuningjob {importlib.metadata.version('tuningjob')}. Use that one."
    )
    with pytest.raises(JournalMismatch, match=f"^{re.escape(want)}$"):
        SqlJournal(database_url)
    assert ask(database_url, "SELECT revision, read_since FROM schema_version") == [("0012", "0.4.0")]


def test_a_schema_that_never_was_is_refused(database_url: str) -> None:
    run(database_url, first_schema.make, "UPDATE schema_version SET version = 7")
    with pytest.raises(JournalMismatch, match="must be of schema 1 or newer, but got 7"):
        SqlJournal(database_url)


@pytest.mark.parametrize("table", ["searches", "alembic_version"])
def test_the_database_of_another_program_is_refused_and_left_as_it_is(database_url: str, table: str) -> None:
    run(database_url, f"CREATE TABLE {table} (id INTEGER)", "CREATE TABLE books (id INTEGER)")
    with pytest.raises(JournalMismatch, match=f"another program's tables: {table}") as refused:
        SqlJournal(database_url)
    assert "must-not-be-told" not in str(refused.value)
    assert tables(database_url) == {table: ["id"], "books": ["id"]}


def test_tables_that_do_not_concern_the_journal_may_be_there(database_url: str) -> None:
    run(database_url, "CREATE TABLE books (id INTEGER)")
    prepared(database_url)
    assert "books" in tables(database_url)


# --- at once, and half-way ------------------------------------------------------------------------------------------


def _open_and_search(url: str, number: int) -> None:
    journal = SqlJournal(url)
    journal.open_search(a_search(f"of-process-{number}"))
    journal.close()


@pytest.mark.slow
@pytest.mark.parametrize("begin", [[], [first_schema.make, first_schema.fill]], ids=["new", "first"])
def test_processes_that_open_one_database_at_once_all_find_it_migrated(database_url: str, begin: list[Any]) -> None:
    run(database_url, *begin)
    context = at_once.processes()
    processes = [context.Process(target=_open_and_search, args=(database_url, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    opened = ask(database_url, "SELECT id FROM searches WHERE id LIKE 'of-process-%' ORDER BY id")
    assert opened == [(f"of-process-{number}",) for number in range(4)]
    assert ask(database_url, "SELECT revision FROM schema_version") == [(REVISION,)]


DIES = """
import os, signal, sys
from sqlalchemy import Engine, event
from tuningjob.journal.sql import SqlJournal

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

SqlJournal(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", ["CREATE TABLE regions", "CREATE INDEX cells_identity", "CREATE VIEW", "INSERT INTO schema_version"]
)
def test_a_migration_that_is_killed_leaves_the_old_schema(first: str, open_journal: OpenJournal, at: str) -> None:
    before = tables(first)
    rows = ask(first, "SELECT * FROM searches ORDER BY id")
    done = subprocess.run(
        [sys.executable, "-c", DIES, first, f"\n{at}" if at.startswith("CREATE TABLE") else at], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert tables(first) == before
    assert ask(first, "SELECT * FROM searches ORDER BY id") == rows
    assert len(work(open_journal(first), "running", 1)) == CELLS - 11, "and the next one does it"


@pytest.mark.slow
def test_a_new_journal_whose_maker_is_killed_is_made_by_the_next_one(
    make_sqlite: Callable[[], str], open_journal: OpenJournal
) -> None:
    url = make_sqlite()
    done = subprocess.run([sys.executable, "-c", DIES, url, "CREATE VIEW"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert tables(url) == {}
    open_journal(url).open_search(a_search())


def test_a_migration_that_fails_leaves_the_old_schema(first: str) -> None:
    run(first, "CREATE TABLE blessings (id INTEGER)")
    before = tables(first)
    with pytest.raises(JournalError, match=r"blessings.* already exists"):
        SqlJournal(first)
    assert tables(first) == before


# --- the audit is append-only, and other tools read it ----------------------------------------------------------------


@pytest.fixture
def audited(migrated: SqlJournal, first: str) -> str:
    migrated.audit.bless(namespace="team", model_key="forest", version=1, who="ada", why="first")
    return first


@pytest.mark.parametrize("table", ["hyperparameter_audit", "blessings"])
@pytest.mark.parametrize("change", ["UPDATE {} SET model_key = 'another'", "DELETE FROM {}"])
def test_no_row_of_the_audit_is_ever_changed_or_removed(audited: str, table: str, change: str) -> None:
    before = ask(audited, f"SELECT * FROM {table}")
    with pytest.raises(JournalError, match=f"{table} is append-only"):
        run(audited, change.format(table))
    assert ask(audited, f"SELECT * FROM {table}") == before
    assert len(before) == 1


@pytest.mark.parametrize("table", ["hyperparameter_audit", "blessings"])
def test_sqlite_does_not_replace_a_row_of_the_audit_either(
    table: str, make_sqlite: Callable[[], str], open_journal: OpenJournal
) -> None:
    url = make_sqlite()
    run(url, first_schema.make, first_schema.fill)
    open_journal(url).audit.bless(namespace="team", model_key="forest", version=1, who="ada")
    before = ask(url, f"SELECT * FROM {table}")
    with pytest.raises(JournalError, match=f"{table} is append-only"):
        run(url, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    assert ask(url, f"SELECT * FROM {table}") == before


def test_who_ended_a_search_of_an_older_release_is_read_as_that_one_read_it(
    first: str, open_journal: OpenJournal
) -> None:
    run(first, "UPDATE searches SET failure = 'Cancelled: spec.cancel is true' WHERE id = 'failed'")
    journal = open_journal(first)
    failed, complete, running = (journal.progress(each) for each in ("failed", "complete", "running"))
    assert (failed.ended_by, failed.end_reason) == (EndedBy.OPERATOR, "Cancelled")
    assert (complete.ended_by, complete.end_reason) == (EndedBy.WORKER, "")
    assert running.ended_by is None


def test_postgres_does_not_truncate_the_audit_either(make_postgres: Callable[[], str]) -> None:
    url = make_postgres()
    prepared(url)
    with pytest.raises(JournalError, match="hyperparameter_audit is append-only"):
        run(url, "TRUNCATE hyperparameter_audit")


def test_tools_that_know_the_usual_shape_read_the_view(audited: str) -> None:
    columns = "model_key, best_params_json, best_accuracy, search_duration_seconds, optimized_at"
    (row,) = ask(audited, "SELECT * FROM best_hyperparameters")
    assert row == ask(audited, f"SELECT {columns} FROM best_hyperparameters")[0]
    assert row[:4] == ("forest", '{"C": 1, "kernel": "rbf"}', 0.9, 90.0)
    assert str(row[4]).startswith("2026-03-01 12:00:00")
