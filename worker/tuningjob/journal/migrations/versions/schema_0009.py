"""A search counts the cells that were pruned, and its version in the audit says so."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TABLE = "hyperparameter_audit"
_REFUSAL = f"{_TABLE} is append-only: no row is ever changed or removed"


def upgrade() -> None:
    """None of any search before."""
    for table, column in (("searches", "pruned"), (_TABLE, "pruned_fits")):
        op.add_column(table, sa.Column(column, sa.BigInteger, nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "sqlite":
        # the trigger lists its columns; Postgres' looks at whole rows
        columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)]
        others = ", ".join(name for name in columns if name != "created_by")
        op.execute(f"DROP TRIGGER {_TABLE}_refuses_update")
        op.execute(
            f"CREATE TRIGGER {_TABLE}_refuses_update BEFORE UPDATE OF {others} ON {_TABLE} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )
