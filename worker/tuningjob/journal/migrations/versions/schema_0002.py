"""Walks and regions, deaths, identities and reuse, blessings; the audit is append-only, and has a view for other tools."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_APPEND_ONLY = ("hyperparameter_audit", "blessings")


def upgrade() -> None:
    """Keep everything that is there: running searches go on where they were."""
    _searches()
    _units()
    _cells()
    _audit()
    for table in _APPEND_ONLY:
        _append_only(table)
    op.execute(
        "CREATE VIEW best_hyperparameters AS SELECT model_key, best_params AS best_params_json, score AS best_accuracy, "
        "duration_seconds AS search_duration_seconds, finished_at AS optimized_at FROM hyperparameter_audit"
    )
    op.drop_table("schema_version")
    op.create_table(
        "schema_version",
        sa.Column("revision", sa.String(32), primary_key=True),
        sa.Column("read_since", sa.String(32), nullable=False),
    )


def _searches() -> None:
    _add(
        "searches",
        sa.Column("walk", sa.Text),
        sa.Column("reused", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
        sa.Column("best_index", sa.BigInteger),
        sa.Column("best_score", sa.Float),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("image", sa.String(512), nullable=False, server_default=""),
        sa.Column("created_by", sa.String(253), nullable=False, server_default=""),
        sa.Column("artifacts", sa.String(1024), nullable=False, server_default=""),
    )
    op.create_table(
        "regions",
        sa.Column("search_id", sa.String(128), sa.ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False, server_default="0"),
        sa.Column("measured", sa.BigInteger, nullable=False, server_default="0"),
    )
    # A search that was begun goes on in the grid's order; the others have their regions cut at the first claim.
    op.execute("UPDATE searches SET walk = '[[],1]' WHERE next_ordinal > 0")
    op.execute(
        "INSERT INTO regions (search_id, number, start, next, stop) "
        "SELECT id, 0, 0, next_ordinal, candidates * splits FROM searches WHERE next_ordinal > 0"
    )
    _keep_the_best()
    op.drop_column("searches", "next_ordinal")


def _keep_the_best() -> None:
    """Of each search, of the candidates whose every split is in: the highest mean, and of those the first."""
    connection = op.get_bind()
    best = sa.text(
        "SELECT candidate, mean FROM (SELECT candidate, avg(score) AS mean, count(score) AS splits FROM cells "
        "WHERE search_id = :id GROUP BY candidate) AS candidates "
        # the mean of inf and -inf is none: null in SQLite, NaN in Postgres
        "WHERE splits = :splits AND mean IS NOT NULL AND CAST(mean AS VARCHAR) <> 'NaN' ORDER BY mean DESC, candidate LIMIT 1"
    )
    keep = sa.text("UPDATE searches SET best_index = :index, best_score = :score WHERE id = :id")
    for search in connection.execute(sa.text("SELECT id, splits FROM searches")).all():
        found = connection.execute(best, {"id": search.id, "splits": search.splits}).one_or_none()
        if found is not None:
            connection.execute(keep, {"id": search.id, "index": found[0], "score": found[1]})


def _units() -> None:
    with op.batch_alter_table("units") as batch:
        batch.alter_column("id", type_=sa.BigInteger, existing_type=sa.Integer, existing_nullable=False)
        batch.add_column(sa.Column("claimant", sa.String(64)))
        batch.add_column(sa.Column("deaths", sa.Integer, nullable=False, server_default="0"))


def _cells() -> None:
    op.drop_column("cells", "candidate")
    _add("cells", sa.Column("identity", sa.String(32)))
    known = sa.text("identity IS NOT NULL")
    op.create_index("cells_identity", "cells", ["identity"], sqlite_where=known, postgresql_where=known)


def _audit() -> None:
    _add(
        "hyperparameter_audit",
        sa.Column("split_digest", sa.String(128), nullable=False, server_default=""),
        sa.Column("estimator_digest", sa.String(128), nullable=False, server_default=""),
        sa.Column("image", sa.String(512), nullable=False, server_default=""),
        sa.Column("seed", sa.String(1024), nullable=False, server_default=""),
        sa.Column("created_by", sa.String(253), nullable=False, server_default=""),
        sa.Column("artifacts", sa.String(1024), nullable=False, server_default=""),
    )
    op.create_table(
        "blessings",
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("model_key", sa.String(253), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer, nullable=False),
        sa.Column("who", sa.String(253), nullable=False),
        sa.Column("why", sa.String(1024), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def _append_only(table: str) -> None:
    refusal = f"{table} is append-only: no row is ever changed or removed"
    if op.get_bind().dialect.name == "postgresql":
        function = f"{table}_is_append_only"
        op.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$"
        )
        for grain, events in (("ROW", "UPDATE OR DELETE"), ("STATEMENT", "TRUNCATE")):
            name = f"{table}_keeps_each_{grain.lower()}"
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH {grain} EXECUTE FUNCTION {function}()"
            )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_refuses_{event.lower()} BEFORE {event} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )


def _add(table: str, *columns: sa.Column[Any]) -> None:
    for column in columns:
        op.add_column(table, column)
