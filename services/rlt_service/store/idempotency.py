"""Own the first answers of calls that carry an Idempotency-Key, so that the same call again makes nothing twice.

What a call makes and its answer are stored in one transaction: a server that is killed right after has made it and
knows the answer, or has done neither.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from rlt_core.errors import IdempotencyInProgressError
from rlt_core.schemas.base import now_utc
from rlt_service.store.database import Database
from rlt_service.store.retries import tried_again
from rlt_service.store.tables import IdempotentCallRow
from rlt_service.store.turns import take_turn

JSON_TYPE = "application/json"
KEPT_FOR = timedelta(hours=24)
"""After this a key may be used anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswer:
    """What the first call with a key was, by a hash, and what it was answered."""

    fingerprint: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedCall:
    """A call with a key, while it runs; `fingerprint` is complete once its body has been read."""

    key: str
    fingerprint: Callable[[], str]


CALL: ContextVar[KeyedCall | None] = ContextVar("rlt_keyed_call", default=None)
"""The call that runs; None where it has no key, and outside of calls."""


def keep(session: Session, answer: BaseModel, *, status: int, headers: Mapping[str, str]) -> None:
    """Store the answer of the call that runs within the transaction of what it makes.

    Raises IdempotencyInProgressError where another process was first: then nothing is made here.
    """
    call = CALL.get()
    if call is None:
        return
    now = _forget_old(session)
    row = IdempotentCallRow(
        key=call.key,
        fingerprint=call.fingerprint(),
        status=status,
        headers=dict(headers),
        body=answer.model_dump_json().encode(),
        created_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise in_progress(call.key) from error


def _forget_old(session: Session) -> datetime:
    """Delete what is too old, and say what time it is."""
    now = now_utc()
    old = select(IdempotentCallRow.key).where(IdempotentCallRow.created_at < now - KEPT_FOR)
    # What another call forgets just now is left to it.
    session.execute(
        delete(IdempotentCallRow)
        .where(IdempotentCallRow.key.in_(old.with_for_update(skip_locked=True)))
        .execution_options(synchronize_session=False)
    )
    return now


def in_progress(key: str) -> IdempotencyInProgressError:
    """Say that the first call with a key has not been answered yet."""
    return IdempotencyInProgressError(
        f"The first call with Idempotency-Key {key!r} is still running: send it again for its answer.",
        retry_after_s=1.0,
    )


class FirstAnswers:
    """Finds and stores whole answers."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def find(self, key: str) -> FirstAnswer | None:
        """Return the first answer that a key had, if that is not too long ago."""
        with self._database.reading() as session:
            row = session.get(IdempotentCallRow, key)
            if row is None or row.created_at < now_utc() - KEPT_FOR:
                return None
            return FirstAnswer(fingerprint=row.fingerprint, status=row.status, headers=row.headers, body=row.body)

    @tried_again
    def save(self, key: str, answer: FirstAnswer) -> None:
        """Store an answer as it went over the wire, in place of what `keep` wrote before it had that form."""
        with self._database.transaction() as session:
            take_turn(session, "key", key)
            now = _forget_old(session)
            session.merge(
                IdempotentCallRow(
                    key=key,
                    fingerprint=answer.fingerprint,
                    status=answer.status,
                    headers=dict(answer.headers),
                    body=answer.body,
                    created_at=now,
                )
            )
