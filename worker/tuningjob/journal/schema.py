"""The tables of the journal and of the audit."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION: Final = 1


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC time in every database; SQLite alone would hand it back naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """Refuses naive times."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive time")
        return value.astimezone(dt.UTC) if value is not None else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ANN401, ARG002
        """Aware again."""
        return value.replace(tzinfo=dt.UTC) if value is not None and value.tzinfo is None else value


metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

searches = Table(
    "searches",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(253), nullable=False),
    Column("model_key", String(253), nullable=False),
    Column("spec", Text, nullable=False),
    Column("candidates", BigInteger, nullable=False),
    Column("splits", Integer, nullable=False),
    Column("pods", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    # grows with every change that the operator may want to show
    Column("revision", Integer, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("preflight", Text),
    Column("refusal", Text),
    Column("failure", Text),
    Column("answer", Text),
    Column("model_version", Integer),
    # cells below this ordinal have been cut into units
    Column("next_ordinal", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    # the completion index that ranks and refits
    Column("finisher", Integer),
)

units = Table(
    "units",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    Column("remaining", Integer, nullable=False),
    # the completion index that holds it; null: given back
    Column("holder", Integer),
)
Index("units_open", units.c.search_id, units.c.remaining, units.c.holder)

cells = Table(
    "cells",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    Column("candidate", BigInteger, nullable=False),
    # the first metric's score, for ordering in SQL; null for NaN
    Column("score", Float),
    Column("result", Text, nullable=False),
    Column("reported_by", Integer, nullable=False),
    Column("reported_at", UtcDateTime, nullable=False),
    Column("reports", Integer, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "hyperparameter_audit",
    metadata,
    Column("namespace", String(63), primary_key=True),
    Column("model_key", String(253), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("search_id", String(128), nullable=False),
    Column("best_params", Text, nullable=False),
    # null for NaN, as in cells
    Column("score", Float),
    Column("metric", String(64), nullable=False),
    Column("std", Float),
    Column("fits", BigInteger, nullable=False),
    Column("failed_fits", BigInteger, nullable=False),
    Column("duration_seconds", Float, nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),
    Column("data_digest", String(128), nullable=False),
    Column("versions", Text, nullable=False),
)
