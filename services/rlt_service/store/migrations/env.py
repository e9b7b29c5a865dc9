"""Own how alembic runs the migrations: on the connection that it is given, in that connection's transaction."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

from rlt_service.store.readers import note_readers
from rlt_service.store.tables import Base

connection = cast(Connection, context.config.attributes["connection"])
# One transaction for all: a starter that dies half-way leaves the schema as it was (SQLite's DDL is transactional).
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
    schema = context.get_context().get_current_revision()
    if schema is not None:
        note_readers(connection, schema=schema)
