"""A person's name in the audit may give way to a pseudonym, and to nothing else; every time is on record."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# the columns that name a person
_PERSON = {"hyperparameter_audit": "created_by", "blessings": "who"}


def upgrade() -> None:
    """Nobody was erased until now."""
    op.create_table(
        "erasures",
        sa.Column("pseudonym", sa.String(32), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("versions", sa.BigInteger, nullable=False),
        sa.Column("blessings", sa.BigInteger, nullable=False),
    )
    for table, person in _PERSON.items():
        refusal = f"{table} is append-only: no row is ever changed or removed"
        if op.get_bind().dialect.name == "postgresql":
            _in_postgres(table, person, refusal)
        else:
            _in_sqlite(table, person, refusal)


def _in_postgres(table: str, person: str, refusal: str) -> None:
    op.execute(
        sa.text(
            f"CREATE OR REPLACE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF TG_OP = 'UPDATE' THEN "
            f"IF NEW.{person} LIKE 'erased-%' AND to_jsonb(NEW) - '{person}' = to_jsonb(OLD) - '{person}' "
            f"THEN RETURN NEW; END IF; END IF; "
            f"RAISE EXCEPTION '{refusal}'; END $$"
        )
    )


def _in_sqlite(table: str, person: str, refusal: str) -> None:
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    others = ", ".join(name for name in columns if name != person)
    op.execute(f"DROP TRIGGER {table}_refuses_update")
    op.execute(
        f"CREATE TRIGGER {table}_refuses_update BEFORE UPDATE OF {others} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuses_names BEFORE UPDATE OF {person} ON {table} "
        f"WHEN NEW.{person} NOT LIKE 'erased-%' BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
    )
