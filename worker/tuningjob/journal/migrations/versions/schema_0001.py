"""Searches, units, cells and the audit: the tables as they were before there were migrations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of an empty database."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "searches",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("model_key", sa.String(253), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("candidates", sa.BigInteger, nullable=False),
        sa.Column("splits", sa.Integer, nullable=False),
        sa.Column("pods", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("preflight", sa.Text),
        sa.Column("refusal", sa.Text),
        sa.Column("failure", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("model_version", sa.Integer),
        sa.Column("next_ordinal", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("finisher", sa.Integer),
    )
    op.create_table(
        "units",
        sa.Column("search_id", sa.String(128), sa.ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("remaining", sa.Integer, nullable=False),
        sa.Column("holder", sa.Integer),
    )
    op.create_index("units_open", "units", ["search_id", "remaining", "holder"])
    op.create_table(
        "cells",
        sa.Column("search_id", sa.String(128), sa.ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("ordinal", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("candidate", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("reported_by", sa.Integer, nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reports", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hyperparameter_audit",
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("model_key", sa.String(253), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("search_id", sa.String(128), nullable=False),
        sa.Column("best_params", sa.Text, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("std", sa.Float),
        sa.Column("fits", sa.BigInteger, nullable=False),
        sa.Column("failed_fits", sa.BigInteger, nullable=False),
        sa.Column("duration_seconds", sa.Float, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_digest", sa.String(128), nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
    )
