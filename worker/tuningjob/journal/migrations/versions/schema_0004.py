"""Who ended a search, whose word a reused cell is, the files of searches with their digests; REPLACE cannot pass the audit by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_KEYS = {
    "hyperparameter_audit": ("namespace", "model_key", "version"),
    "blessings": ("namespace", "model_key", "number"),
}
_BY_JOURNAL = ("TooManyFailedFits",)
_BY_OPERATOR = ("Cancelled", "DeadlineExceeded", "StartDeadlineExceeded", "PlanReady")


def upgrade() -> None:
    """Keep everything that is there. Of older versions nobody knows the files' digests: theirs stay null."""
    _endings()
    _reuse()
    _files()
    if op.get_bind().dialect.name == "sqlite":
        for table, key in _KEYS.items():
            _refuse_replacement(table, key)


def _endings() -> None:
    op.add_column("searches", sa.Column("ended_by", sa.String(16)))
    op.add_column("searches", sa.Column("end_reason", sa.String(64), nullable=False, server_default=""))
    # what the release before has read out of the text
    op.execute("UPDATE searches SET ended_by = 'Worker' WHERE state <> 'Running'")
    for by, reasons in (("Journal", _BY_JOURNAL), ("Operator", _BY_OPERATOR)):
        for reason in reasons:
            op.execute(
                f"UPDATE searches SET ended_by = '{by}', end_reason = '{reason}' "  # noqa: S608  both are above
                f"WHERE state = 'Failed' AND failure LIKE '{reason}\\: %'"
            )


def _reuse() -> None:
    op.add_column("cells", sa.Column("reused_from", sa.String(128)))
    reused = sa.text("reused_from IS NOT NULL")
    op.create_index("cells_reused", "cells", ["search_id", "reused_from"], sqlite_where=reused, postgresql_where=reused)
    # a failed fit is nobody's to reuse; a quote inside of a text is escaped, so this is the field itself
    op.execute("UPDATE cells SET identity = NULL WHERE identity IS NOT NULL AND result NOT LIKE '%\"error\"\\:null%'")
    op.add_column("hyperparameter_audit", sa.Column("reused_from", sa.Text))


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("search_id", sa.String(128), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("placing_since", sa.DateTime(timezone=True)),
    )
    op.create_index("files_namespace", "files", ["namespace"])
    op.add_column("hyperparameter_audit", sa.Column("files", sa.Text))


def _refuse_replacement(table: str, key: tuple[str, ...]) -> None:
    """INSERT OR REPLACE runs no trigger of a deletion unless recursive_triggers is on."""
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    refusal = f"{table} is append-only: no row is ever changed or removed"
    op.execute(
        f"CREATE TRIGGER {table}_refuses_replace BEFORE INSERT ON {table} "  # noqa: S608  its callers are above
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
    )
