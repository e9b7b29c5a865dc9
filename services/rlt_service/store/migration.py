"""Own the step from an older schema to this one. alembic is imported only where there is such a step to take.

Every process looks at the schema when it starts, and hardly any finds an old one: alembic's imports were about a tenth
of a worker's (by `-X importtime`, once, 2026-11-27).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from rlt_core.errors import ConfigurationError
from rlt_service.store.faults import storage_faults
from rlt_service.store.readers import MARK, oldest_reader

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


def newest_schema() -> str:
    """Name the schema of this code: that of the last migration."""
    return max(known_schemas())


def known_schemas() -> set[str]:
    """Name every schema that there has been: a migration's file begins with its own."""
    return {path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")}


def schemas_of(connection: Connection) -> set[str]:
    """Read which schema a database has; it is empty where it has none yet."""
    if not inspect(connection).has_table(MARK):
        return set()
    return set(connection.scalars(text(f"SELECT version_num FROM {MARK}")))


def may_use(connection: Connection, schemas: set[str]) -> bool:
    """Tell whether this code may use a database of a schema not known to it: the next release's, which said so."""
    if len(schemas) != 1:
        return False
    oldest = oldest_reader(connection, schema=next(iter(schemas)))
    return oldest is not None and oldest <= newest_schema()


def migrate(connection: Connection) -> None:
    """Bring a database to this code's schema, in the connection's transaction; a newer one that it may use stays.

    Raises ConfigurationError for one that newer code has written and keeps to itself, StorageUnavailableError.
    """
    current = schemas_of(connection)
    if current == {newest_schema()} or may_use(connection, current - known_schemas()):
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = migration_config(connection)
    script = ScriptDirectory.from_config(config)
    if foreign := current - {revision.revision for revision in script.walk_revisions()}:
        raise ConfigurationError(
            f"The database was written by a newer RLT (schema {', '.join(sorted(foreign))}; this one knows up to "
            f"{script.get_current_head()}). Install that version again, or name another database."
        )
    try:
        command.upgrade(config, "head")
    except SQLAlchemyError as error:
        with storage_faults("migrate the database"):
            raise error


def migration_config(connection: Connection) -> "Config":
    """Make alembic's configuration for the packaged migrations on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    return config
