"""What Alembic runs for every command, on the connection and in the transaction of ``run_migrations``."""

from alembic import context

from tuningjob.journal.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
