"""Own the keys: who may call, with which scopes and limits. Secrets are never here, only their SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import now_utc
from rlt_service.store.database import Database
from rlt_service.store.job_rows import fenced_job
from rlt_service.store.ownership import Viewer
from rlt_service.store.tables import JobRow, KeyRow

KeyScope = Literal["explain", "score", "train", "admin"]
JOB_SCOPES: tuple[KeyScope, ...] = ("explain", "score", "train")
"""Of a trainer's key: it samples, scores, publishes rollouts, and may promote what it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is stored; `owner` and `sees_all` say what its calls find."""

    id: str
    name: str
    sha256: str
    scopes: Sequence[str]
    max_per_minute: int | None
    max_at_once: int | None
    created_at: datetime
    revoked_at: datetime | None
    owner: str | None
    sees_all: bool


class KeyStore:
    """Keys of people and programs, and those that a running attempt of a job has for its trainer."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def exist(self) -> bool:
        """Tell whether a key was ever made: once one was, calls need one, even when all have been revoked."""
        with self._database.reading() as session:
            return session.scalar(select(KeyRow.id).where(KeyRow.job_id.is_(None)).limit(1)) is not None

    def create(
        self,
        key_id: str,
        *,
        name: str,
        sha256: str,
        scopes: Sequence[KeyScope],
        max_per_minute: int | None = None,
        max_at_once: int | None = None,
    ) -> Key:
        """Store a key."""
        row = KeyRow(
            id=key_id,
            name=name,
            sha256=sha256,
            scopes=list(scopes),
            max_per_minute=max_per_minute,
            max_at_once=max_at_once,
            created_at=now_utc(),
        )
        with self._database.transaction() as session:
            session.add(row)
        return _key(row)

    def create_for_job(self, key_id: str, *, job_id: str, attempt: int, sha256: str) -> None:
        """Store the key of a running attempt, in place of those of attempts before: it ends when the attempt does.

        Raises StaleAttemptError.
        """
        with self._database.transaction() as session:
            fenced_job(session, job_id, attempt)
            session.execute(delete(KeyRow).where(KeyRow.job_id == job_id))
            session.add(
                KeyRow(
                    id=key_id,
                    name=f"{job_id}, attempt {attempt}",
                    sha256=sha256,
                    scopes=list(JOB_SCOPES),
                    created_at=now_utc(),
                    job_id=job_id,
                    attempt=attempt,
                )
            )

    def end_for_job(self, job_id: str, *, attempt: int) -> None:
        """Forget the key of an attempt; repeatable."""
        with self._database.transaction() as session:
            session.execute(delete(KeyRow).where(KeyRow.job_id == job_id, KeyRow.attempt == attempt))

    def find(self, key_id: str) -> Key | None:
        """Return a key that may be used now; None for one that is unknown, revoked, or whose attempt has ended."""
        with self._database.reading() as session:
            row = session.get(KeyRow, key_id)
            if row is None or row.revoked_at is not None:
                return None
            if row.job_id is None:
                return _key(row)
            job = session.scalar(select(JobRow).where(JobRow.id == row.job_id))
            if job is None or job.status != "running" or job.attempt != row.attempt:
                return None
            return _job_key(session, row, job)

    def list(self) -> Sequence[Key]:
        """Return the keys of people and programs, the oldest first."""
        with self._database.reading() as session:
            query = select(KeyRow).where(KeyRow.job_id.is_(None)).order_by(KeyRow.created_at, KeyRow.id)
            return [_key(row) for row in session.scalars(query)]

    def viewer_of(self, owner: str | None) -> Viewer | None:
        """Give who finds what a key finds, for work that goes on without a call of it; None finds all."""
        with self._database.reading() as session:
            row = None if owner is None else session.get(KeyRow, owner)
            if owner is None:
                return None
            return Viewer(key=owner, sees_all=row is not None and "admin" in row.scopes)

    def revoke(self, key_id: str) -> Key:
        """End a key for good; repeatable. Raises NotFoundError."""
        with self._database.transaction() as session:
            row = _find(session, key_id)
            row.revoked_at = row.revoked_at or now_utc()
            return _key(row)

    def rotate(self, key_id: str, *, sha256: str) -> Key:
        """Give a key another secret; what it owns stays its own. Raises NotFoundError, also for a revoked one."""
        with self._database.transaction() as session:
            row = _find(session, key_id)
            if row.revoked_at is not None:
                raise NotFoundError(f"The key {key_id!r} was revoked: make a new one with `rlt keys create`.")
            row.sha256 = sha256
            return _key(row)


def _find(session: Session, key_id: str) -> KeyRow:
    row = session.get(KeyRow, key_id)
    if row is None or row.job_id is not None:
        raise NotFoundError(f"There is no key {key_id!r}; `rlt keys list` names them.")
    return row


def _job_key(session: Session, row: KeyRow, job: JobRow) -> Key:
    """Give a trainer's key: it finds what the key finds that its job was submitted with."""
    submitter = None if job.owner is None else session.get(KeyRow, job.owner)
    # A job without an owner was there before the keys: what it names has none either.
    sees_all = job.owner is None or (submitter is not None and "admin" in submitter.scopes)
    return replace(_key(row), owner=job.owner, sees_all=sees_all)


def _key(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        scopes=tuple(row.scopes),
        max_per_minute=row.max_per_minute,
        max_at_once=row.max_at_once,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        owner=row.id,
        sees_all="admin" in row.scopes,
    )
