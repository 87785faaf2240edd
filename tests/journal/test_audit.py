"""The audit: versions that are never changed, and which of them is in use since when, by whom, and why."""

import functools
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Float, Integer, String, text

from tests.journal.makers import Clock, Pod, a_preflight, a_search, an_answer
from tests.journal.template import ensure_journal, migrated_database
from tests.servers.postgres import Postgres
from tuningjob.errors import JournalError, NotBlessed, UnknownModel
from tuningjob.journal.audit import SqlAudit
from tuningjob.journal.schema import metadata
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.audit import Act

KEY = {"namespace": "team", "model_key": "forest"}


def three_versions(url: str) -> None:
    """Of the forest."""
    with closing(SqlJournal(url, clock=Clock())) as journal:
        for number in (1, 2, 3):
            journal.open_search(
                a_search(f"search-{number}", image="worker:7", created_by="ada", artifacts=f"s3://b/{number}")
            )
            journal.view(f"search-{number}").set_preflight(
                a_preflight(split_digest="s" * 32, estimator_digest="e" * 32, seed='{"random_state": 0}')
            )
            Pod(journal.view(f"search-{number}")).work()
            journal.view(f"search-{number}").complete(an_answer(best_params={"C": number}))


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = ensure_journal(tmp_path_factory.mktemp("audit") / "journal.db")
    three_versions(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture(scope="module")
def postgres_template(postgres: Postgres) -> Iterator[str]:
    name = postgres.copy_database(migrated_database(postgres))
    three_versions(postgres.url(name))
    yield name
    postgres.drop_database(name)


@pytest.fixture
def copy_sqlite(sqlite_template: bytes, tmp_path: Path) -> str:
    """As conftest's, but with three versions in it."""
    path = tmp_path / "journal.db"
    path.write_bytes(sqlite_template)
    return f"sqlite:///{path}"


@pytest.fixture
def copy_postgres(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """As conftest's, but with three versions in it."""
    name = postgres.copy_database(postgres_template)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def audit(journal: SqlJournal) -> SqlAudit:
    return journal.audit


def in_use(audit: SqlAudit) -> int:
    return audit.blessed(**KEY).version


@pytest.mark.slow
def test_a_version_tells_where_its_parameters_come_from(audit: SqlAudit) -> None:
    row = audit.version(**KEY, version=2)
    assert (row.best_params, row.search_id) == ({"C": 2}, "search-2")
    assert (row.image, row.created_by, row.artifacts) == ("worker:7", "ada", "s3://b/2")
    assert (row.split_digest, row.estimator_digest, row.seed) == ("s" * 32, "e" * 32, '{"random_state": 0}')
    assert audit.history(**KEY)[1] == row


def test_models_are_listed_by_namespace(audit: SqlAudit) -> None:
    assert audit.models("team") == ["forest"]
    assert audit.models("other") == []
    for ask in (audit.history, audit.blessings, functools.partial(audit.page, after=0, limit=1)):
        with pytest.raises(UnknownModel, match="must be one of namespace other with a finished search"):
            ask(namespace="other", model_key="forest")
    assert audit.page(**KEY, after=3, limit=1) == []


def test_nothing_is_in_use_before_it_is_blessed(audit: SqlAudit) -> None:
    with pytest.raises(NotBlessed, match="none was ever blessed"):
        audit.blessed(**KEY)


def test_blessing_puts_a_version_into_use_and_is_remembered(audit: SqlAudit, clock: Clock) -> None:
    blessing = audit.bless(**KEY, version=2, who="ada", why="better recall")
    assert in_use(audit) == 2
    assert (blessing.act, blessing.from_version, blessing.to_version) == (Act.BLESS, None, 2)
    assert (blessing.who, blessing.why, blessing.at) == ("ada", "better recall", clock.now.isoformat())
    assert audit.blessings(**KEY) == [blessing]


def test_blessing_what_is_in_use_changes_nothing(audit: SqlAudit) -> None:
    first = audit.bless(**KEY, version=2, who="ada")
    assert audit.bless(**KEY, version=2, who="bob", why="again") == first
    assert len(audit.blessings(**KEY)) == 1


def test_a_rollback_goes_to_what_was_in_use_before_and_again_to_what_was_before_that(audit: SqlAudit) -> None:
    for version in (1, 3, 2):
        audit.bless(**KEY, version=version, who="ada")
    back = audit.rollback(**KEY, who="bob", why="slow")
    assert (back.act, back.from_version, back.to_version) == (Act.ROLLBACK, 2, 3)
    assert in_use(audit) == 3
    audit.rollback(**KEY, who="bob")
    assert in_use(audit) == 1
    assert [each.number for each in audit.blessings(**KEY)] == [1, 2, 3, 4, 5]


def test_after_a_rollback_a_new_blessing_comes_on_top_of_what_is_in_use_then(audit: SqlAudit) -> None:
    audit.bless(**KEY, version=1, who="ada")
    audit.bless(**KEY, version=2, who="ada")
    audit.rollback(**KEY, who="ada")
    audit.bless(**KEY, version=3, who="ada")
    audit.rollback(**KEY, who="ada")
    assert in_use(audit) == 1, "not 2, which was rolled back"


@pytest.mark.parametrize(("versions", "got"), [([], "none"), ([2], "only version 2")])
def test_what_was_blessed_once_or_never_cannot_be_rolled_back(audit: SqlAudit, versions: list[int], got: str) -> None:
    for version in versions:
        audit.bless(**KEY, version=version, who="ada")
    with pytest.raises(NotBlessed, match=f"blessed twice to be rolled back, but got {got}"):
        audit.rollback(**KEY, who="ada")
    assert len(audit.blessings(**KEY)) == len(versions)


def test_a_key_or_a_version_that_is_not_there_is_told_with_what_is(audit: SqlAudit) -> None:
    unknown = {"namespace": "team", "model_key": "tree"}
    for ask in (
        lambda: audit.version(**unknown, version=1),
        lambda: audit.blessed(**unknown),
        lambda: audit.bless(**unknown, version=1, who="ada"),
        lambda: audit.rollback(**unknown, who="ada"),
    ):
        with pytest.raises(UnknownModel, match="must be one of namespace team with a finished search, but got 'tree'"):
            ask()
    for version in (0, 4, 10**12):
        with pytest.raises(UnknownModel, match=f"must be from 1 to 3, but got {version}"):
            audit.bless(**KEY, version=version, who="ada")
    assert audit.blessings(**KEY) == []


def test_the_files_of_a_search_are_kept_once_it_was_blessed_even_after_a_rollback(audit: SqlAudit) -> None:
    audit.bless(**KEY, version=1, who="ada")
    audit.bless(**KEY, version=2, who="ada")
    audit.rollback(**KEY, who="ada")
    assert [audit.keeps(f"search-{number}") for number in (1, 2, 3)] == [True, True, False]


def test_the_audit_outlives_the_searches(audit: SqlAudit, journal: SqlJournal, clock: Clock) -> None:
    before = audit.history(**KEY)
    journal.delete("search-1")
    clock.pass_time(days=1)
    journal.purge(clock.now)
    assert audit.history(**KEY) == before


def test_parameters_that_an_older_release_took_in_of_any_length_end_nobody(
    audit: SqlAudit, journal: SqlJournal
) -> None:
    columns = "namespace, model_key, search_id, metric, fits, failed_fits, duration_seconds, finished_at, data_digest, versions"
    poison = json.dumps({"a": "x" * 2**21})
    with journal._database.writing() as connection:
        connection.execute(
            text(
                f"INSERT INTO hyperparameter_audit ({columns}, version, best_params) "
                f"SELECT {columns}, version + 100, :poison FROM hyperparameter_audit WHERE version = 1"
            ),
            {"poison": poison},
        )
    found = audit.page(**KEY, after=2, limit=10)
    assert [(row.version, row.best_params) for row in found] == [(3, {"C": 3}), (101, {})]
    assert [row.version for row in audit.page(**KEY, after=0, limit=2)] == [1, 2]


# --- a person's name -------------------------------------------------------------------------------------------------


def test_a_persons_name_gives_way_to_a_pseudonym_and_all_else_stays(audit: SqlAudit, journal: SqlJournal) -> None:
    audit.bless(**KEY, version=1, who="ada", why="first")
    audit.bless(**KEY, version=2, who="grace", why="better")
    before = audit.history(**KEY)
    erased = audit.erase_person("ada")
    assert (erased.versions, erased.blessings) == (3, 1)
    assert erased.pseudonym.startswith("erased-")
    assert audit.history(**KEY) == [replace(row, created_by=erased.pseudonym) for row in before]
    assert [each.who for each in audit.blessings(**KEY)] == [erased.pseudonym, "grace"]
    with journal._database.reading() as connection:
        assert connection.execute(text("SELECT pseudonym, versions, blessings FROM erasures")).all() == [
            (erased.pseudonym, 3, 1)
        ]


def another(column: Column[Any]) -> str:
    """What is not in the column."""
    if isinstance(column.type, Integer | Float):
        return f"COALESCE({column.name}, 0) + 1"
    return f"COALESCE({column.name}, '') || 'x'" if isinstance(column.type, String) else "'2000-01-01 00:00:00'"


@pytest.mark.parametrize(("table", "person"), [("hyperparameter_audit", "created_by"), ("blessings", "who")])
def test_no_column_can_be_changed_but_a_name_and_that_to_a_pseudonym_alone(
    audit: SqlAudit, journal: SqlJournal, table: str, person: str
) -> None:
    audit.bless(**KEY, version=1, who="ada")
    changes = [
        f"{person} = 'erased-x', {column.name} = {another(column)}"
        for column in metadata.tables[table].columns
        if column.name != person
    ]
    for change in [f"{person} = 'mallory'", *changes]:
        with pytest.raises(JournalError, match="is append-only"), journal._database.writing() as connection:
            connection.execute(text(f"UPDATE {table} SET {change}"))
    assert audit.version(**KEY, version=1).created_by == "ada"
