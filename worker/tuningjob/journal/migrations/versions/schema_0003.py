"""How much memory a unit's claimants had, who died of it, and how much a pod of the search may have at most."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Keep everything that is there: of the deaths until now nobody knows whose they were, so nobody is pardoned for them."""
    op.add_column("searches", sa.Column("memory_limit", sa.BigInteger, nullable=False, server_default="0"))
    with op.batch_alter_table("units") as batch:
        batch.alter_column("claimant", type_=sa.String(128), existing_type=sa.String(64), existing_nullable=True)
        batch.add_column(sa.Column("memory", sa.BigInteger, nullable=False, server_default="0"))
        batch.add_column(sa.Column("starved", sa.BigInteger, nullable=False, server_default="0"))
        batch.add_column(sa.Column("victims", sa.Text))
    for deaths, victims in (("= 1", '[["",0]]'), ("> 1", '[["",0],["",0]]')):
        op.execute(f"UPDATE units SET victims = '{victims}' WHERE deaths {deaths}")  # noqa: S608  both are above
    op.drop_index("units_open", "units")
    op.create_index("units_open", "units", ["search_id", "remaining", "holder", "starved"])
