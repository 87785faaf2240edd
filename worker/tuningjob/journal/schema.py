"""The tables of the journal and of the audit, as the newest migration leaves them."""

import datetime as dt
from typing import Final

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

from tuningjob.aliases import Anything

# The migrations (tuningjob.journal.migrations) make the tables of every database; a test compares these tables to them.
REVISION: Final = "0009"
# The first release that reads it; an older one is refused, and told to become this one.
READ_SINCE: Final = "0.1.0"


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC time in every database; SQLite alone would hand it back naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """The time in UTC as it is stored. Refuses naive times."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive time")
        return value.astimezone(dt.UTC) if value is not None else None

    def process_result_value(self, value: Anything | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """The stored time, with its time zone again."""
        return value.replace(tzinfo=dt.UTC) if value is not None and value.tzinfo is None else value


metadata = MetaData()

# One row. `revision` is the newest migration of the database, `read_since` the oldest tuningjob that understands it.
schema_version = Table(
    "schema_version",
    metadata,
    Column("revision", String(32), primary_key=True),
    Column("read_since", String(32), nullable=False),
)

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
    # records.EndedBy, and the reason of the operator or the journal in one word; a worker gives none
    Column("ended_by", String(16)),
    Column("end_reason", String(64), nullable=False, server_default=""),
    Column("answer", Text),
    Column("model_version", Integer),
    # how the cells are walked (records.Block, as JSON); null until the regions are cut
    Column("walk", Text),
    Column("done", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("reused", BigInteger, nullable=False, server_default="0"),
    # done cells that were not evaluated, because their candidates cannot be the best
    Column("pruned", BigInteger, nullable=False, server_default="0"),
    # how often a unit lost its claimant (tuningjob.protocol.contract)
    Column("deaths", Integer, nullable=False, server_default="0"),
    # the highest mean of the deciding metric, of the candidates whose splits are all in
    Column("best_index", BigInteger),
    Column("best_score", Float),
    # the completion index that ranks and refits
    Column("finisher", Integer),
    # deleted; its cells stay until they are purged, because other searches may reuse them
    Column("deleted_at", UtcDateTime),
    Column("image", String(512), nullable=False, server_default=""),
    Column("created_by", String(253), nullable=False, server_default=""),
    Column("artifacts", String(1024), nullable=False, server_default=""),
    # the most bytes that a pod may ever have; 0: never more than it began with
    Column("memory_limit", BigInteger, nullable=False, server_default="0"),
)

# A part of the walk within which fits are expected to cost about the same; units are cut from its front.
regions = Table(
    "regions",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    # of the cells that were evaluated in it: their seconds in all, and their number
    Column("seconds", Float, nullable=False, server_default="0"),
    Column("measured", BigInteger, nullable=False, server_default="0"),
)

units = Table(
    "units",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    # places in the walk
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    Column("remaining", Integer, nullable=False),
    # the completion index that holds it; null: it was given back
    Column("holder", Integer),
    # the process that was given it last; null: that process left in good order, or was pardoned
    Column("claimant", String(128)),
    # the limit of that process' pod in bytes; 0: unknown
    Column("memory", BigInteger, nullable=False, server_default="0"),
    # from 1 it is done alone, from 2 its first cell is lost
    Column("deaths", Integer, nullable=False, server_default="0"),
    # only a claimant with more bytes than this gets it
    Column("starved", BigInteger, nullable=False, server_default="0"),
    # what `deaths` and `starved` are computed from (journal.deaths): its victims with their bytes, as JSON; null: none
    Column("victims", Text),
)
# it covers all that `progress` asks of units
Index("units_open", units.c.search_id, units.c.remaining, units.c.holder, units.c.starved)

# The claimants that died, by the unit that they held, and when their successor asked: a death is known only then. This table is
# for the pages alone; what is done about a death is in `units`.
deaths = Table(
    "deaths",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("claimant", String(128), primary_key=True),
    # the completion index
    Column("holder", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

cells = Table(
    "cells",
    metadata,
    Column("search_id", ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    # the deciding metric's score, for ordering in SQL; null for NaN
    Column("score", Float),
    Column("result", Text, nullable=False),
    Column("reported_by", Integer, nullable=False),
    Column("reported_at", UtcDateTime, nullable=False),
    # 0: taken over from another search
    Column("reports", Integer, nullable=False),
    # a digest of all that decides the result; null if it may differ from fit to fit, or if the fit failed
    Column("identity", String(32)),
    # the search that evaluated it, if it was another one
    Column("reused_from", String(128)),
    sqlite_with_rowid=False,
)
Index(
    "cells_identity",
    cells.c.identity,
    sqlite_where=cells.c.identity.is_not(None),
    postgresql_where=cells.c.identity.is_not(None),
)

Index(
    "cells_reused",
    cells.c.search_id,
    cells.c.reused_from,
    sqlite_where=cells.c.reused_from.is_not(None),
    postgresql_where=cells.c.reused_from.is_not(None),
)

# The files of searches as they were taken in. A row stays as long as its file, which may be longer than the search.
files = Table(
    "files",
    metadata,
    Column("search_id", String(128), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    # since when it is being put in its place; null: it is there
    Column("placing_since", UtcDateTime),
)
Index("files_namespace", files.c.namespace)

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
    Column("split_digest", String(128), nullable=False, server_default=""),
    Column("estimator_digest", String(128), nullable=False, server_default=""),
    Column("image", String(512), nullable=False, server_default=""),
    Column("seed", String(1024), nullable=False, server_default=""),
    Column("created_by", String(253), nullable=False, server_default=""),
    Column("artifacts", String(1024), nullable=False, server_default=""),
    # as JSON; null: written by a release that did not keep it
    Column("files", Text),
    Column("reused_from", Text),
    # as JSON: the mean of every metric if there are several, and records.Choice if the rule was not the highest mean
    Column("scores", Text),
    Column("choice", Text),
    # records.Baseline and records.NestedEstimate, as JSON; null: not asked for
    Column("baseline", Text),
    Column("nested", Text),
    Column("pruned_fits", BigInteger, nullable=False, server_default="0"),
)

blessings = Table(
    "blessings",
    metadata,
    Column("namespace", String(63), primary_key=True),
    Column("model_key", String(253), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("act", String(16), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer, nullable=False),
    Column("who", String(253), nullable=False),
    Column("why", String(1024), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

# Erasures of names from the audit: when, and in how many rows. The names themselves are not kept.
erasures = Table(
    "erasures",
    metadata,
    Column("pseudonym", String(32), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("versions", BigInteger, nullable=False),
    Column("blessings", BigInteger, nullable=False),
)
