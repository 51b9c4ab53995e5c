"""How Alembic runs the steps: on the connection, and in the transaction, that `chaperone.store.migrating` gives it."""

from alembic import context

from chaperone.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
context.run_migrations()
