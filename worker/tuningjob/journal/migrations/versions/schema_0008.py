"""When a claimant died, for who looks at a search: its unit forgets that with the cell that is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Of the deaths until now nobody knows when they were."""
    op.create_table(
        "deaths",
        sa.Column("search_id", sa.String(128), sa.ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("unit", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("claimant", sa.String(128), primary_key=True),
        sa.Column("holder", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
