"""The audit keeps the scores of all metrics, and which candidate was passed over, by which rule and why."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TABLE = "hyperparameter_audit"
_REFUSAL = f"{_TABLE} is append-only: no row is ever changed or removed"


def upgrade() -> None:
    """Null: of a search with one metric, or of the best candidate by the mean."""
    for name in ("scores", "choice"):
        op.add_column(_TABLE, sa.Column(name, sa.Text))
    if op.get_bind().dialect.name == "sqlite":
        # the trigger lists its columns; Postgres' looks at whole rows
        columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)]
        others = ", ".join(name for name in columns if name != "created_by")
        op.execute(f"DROP TRIGGER {_TABLE}_refuses_update")
        op.execute(
            f"CREATE TRIGGER {_TABLE}_refuses_update BEFORE UPDATE OF {others} ON {_TABLE} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )
