"""The audit keeps what tuning has gained over a baseline, and the estimate of outer folds."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TABLE = "hyperparameter_audit"
_REFUSAL = f"{_TABLE} is append-only: no row is ever changed or removed"


def upgrade() -> None:
    """Null: of a search that was not asked for one, and of all before."""
    for name in ("baseline", "nested"):
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
