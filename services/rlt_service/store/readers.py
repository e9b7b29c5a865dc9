"""Own the mark by which an older release knows that it may use a newer database, while an installation is upgraded.

It says "SCHEMA may be used by the code of OLDEST on", and holds for that schema alone. It is no table: the code that
reads it is older than what a migration makes. SQLite keeps it as `user_version`, Postgres as the comment on alembic's
table. Both come and go with the migration's transaction, and backups hold them.
"""

import re

from sqlalchemy import Connection, text

OLDEST_READER = "0011"
"""The oldest schema whose code may use a database of this release. A migration that takes away or renames what older
code reads or writes raises it, to a schema whose code does neither (docs/upgrading.md)."""
MARK = "alembic_version"
"""The table in which alembic keeps which schema a database has."""
_FORM = re.compile(r"(\d{4}) from (\d{4})")


def note_readers(connection: Connection, *, schema: str, oldest: str = OLDEST_READER) -> None:
    """Mark a database of `schema` as one that the code of `oldest` on may use; an earlier one is its own code's."""
    said = f"{schema} from {min(schema, oldest)}"
    if _FORM.fullmatch(said) is None:
        raise ValueError(f"schemas have four figures: {said!r}")
    if connection.dialect.name == "sqlite":
        connection.execute(text(f"PRAGMA user_version = {said.replace(' from ', '')}"))
    else:
        connection.execute(text(f"COMMENT ON TABLE {MARK} IS '{said}'"))


def oldest_reader(connection: Connection, *, schema: str) -> str | None:
    """Read whose code may use a database that has `schema`; None where nothing is said of that one."""
    if connection.dialect.name == "sqlite":
        figures = f"{connection.scalar(text('PRAGMA user_version')):08d}"
        said = f"{figures[:-4]} from {figures[-4:]}"
    else:
        said = connection.scalar(text(f"SELECT obj_description(to_regclass('{MARK}'), 'pg_class')")) or ""
    found = _FORM.fullmatch(said)
    return found[2] if found is not None and found[1] == schema else None
