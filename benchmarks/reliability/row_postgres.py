"""Own the Postgres of a row of faults: a server of its own, with its own promises about what it has committed."""

from collections.abc import Generator
from contextlib import contextmanager

from tests.support.postgres import PLAIN, own_postgres, programs

OPTIONS = {**PLAIN, "max_connections": "200"}
"""Ten workers, two control services, and what watches them."""


@contextmanager
def lent_postgres() -> Generator[str]:
    """Lend the URL of an empty database; raises FileNotFoundError where Postgres is not installed."""
    if programs() is None:
        raise FileNotFoundError("no Postgres here: install Debian's `postgresql`, or leave out the rows on Postgres")
    with own_postgres(options=OPTIONS) as server:
        yield server.url("postgres")
