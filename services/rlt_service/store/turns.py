"""Own the turns that writers take on Postgres where no row exists yet that they could lock; SQLite has one writer.

Whoever takes several takes them in the order in which this file names them, so that nobody waits in a ring.
"""

from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

Turn = Literal["bases", "claims", "versions", "alias", "bell", "key"]


def take_turn(session: Session, turn: Turn, *of: str) -> None:
    """Wait until no other transaction holds this turn; it is held until this transaction ends."""
    if session.get_bind().dialect.name != "postgresql":
        return
    # Two that share a hash wait for each other without need, and nothing worse.
    session.execute(text("SELECT pg_advisory_xact_lock(7251109, hashtext(:of))"), {"of": "/".join((turn, *of))})
