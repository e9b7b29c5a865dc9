"""Own what Postgres needs and SQLite does not: its URL, its connections, the lock of migrations. Knows no table."""

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from rlt_core.errors import ConfigurationError

DRIVER = "postgresql+psycopg"
_SPELLINGS = frozenset({"postgres", "postgresql", DRIVER})

POOL_SIZE, MAX_OVERFLOW, POOL_TIMEOUT_S = 8, 24, 30.0
"""At most 32 connections a process, as many as threads can use at once; more callers wait their turn."""

_SESSION = {
    "lock_timeout": "30s",  # as long as SQLite waits for its one lock
    "statement_timeout": "60s",
    # A process that is stopped inside a transaction holds its rows locked no longer than this.
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
}
_MIGRATIONS = 7251108
"""Names the lock of those who migrate; any constant will do: only starters of this project contend for it."""


def is_postgres(url: URL) -> bool:
    """Tell whether a URL names Postgres, in any of the usual spellings."""
    return url.drivername.partition("+")[0] in ("postgres", "postgresql")


def postgres_engine(url: URL) -> Engine:
    """Make an engine; raises ConfigurationError for another driver, or where ours is not installed."""
    if url.drivername not in _SPELLINGS:
        raise ConfigurationError(
            f"RLT_DATABASE_URL asks for the driver {url.drivername!r}: only psycopg is supported. "
            f"Write {DRIVER}://user@host/database."
        )
    own = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    given = url.query.get("options", "")
    arguments = {
        "application_name": "rlt",
        "connect_timeout": 10,
        # What the URL says comes last and wins.
        "options": " ".join([own, given] if isinstance(given, str) else [own, *given]),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    plain = url.set(drivername=DRIVER).difference_update_query(["options"])
    try:
        return create_engine(
            plain,
            connect_args={name: value for name, value in arguments.items() if name not in plain.query},
            pool_pre_ping=True,  # a server that was started again is met with new connections
            pool_size=POOL_SIZE,
            max_overflow=MAX_OVERFLOW,
            pool_timeout=POOL_TIMEOUT_S,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"RLT_DATABASE_URL names Postgres, and its driver cannot be loaded ({error}): install rlt[serve]."
        ) from error
    except ArgumentError as error:
        raise ConfigurationError(f"RLT_DATABASE_URL cannot be used: {error}") from error


def lock_migrations(connection: Connection) -> None:
    """Wait for whoever migrates, however long that takes; held until the transaction ends."""
    for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(text(f"SET LOCAL {name} = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATIONS})
