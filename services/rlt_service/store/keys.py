"""Own the keys: who may call, with which scopes and limits. Secrets are never here, only their SHA-256."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import now_utc
from rlt_service.store.database import Database
from rlt_service.store.job_rows import fenced_job
from rlt_service.store.ownership import Viewer
from rlt_service.store.project_rows import find_project
from rlt_service.store.tables import JobRow, KeyRow

KeyScope = Literal["explain", "score", "train", "admin"]
JOB_SCOPES: tuple[KeyScope, ...] = ("explain", "score", "train")
"""Of a trainer's key: it samples, scores, publishes rollouts, and may promote what it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is stored; `viewer` says what its calls find."""

    id: str
    name: str
    sha256: str
    scopes: Sequence[str]
    max_per_minute: int | None
    max_at_once: int | None
    created_at: datetime
    revoked_at: datetime | None
    viewer: Viewer
    """Who looks when it calls: itself, or of a trainer's the key that its job was submitted with."""
    of_trainer: bool = False

    @property
    def owner(self) -> str | None:
        """What owns that which it makes: its project, or itself where it has none."""
        return self.viewer.owner

    @property
    def project_id(self) -> str | None:
        """The project that it belongs to."""
        return self.viewer.project

    @property
    def sees_all(self) -> bool:
        """Whether it finds what every key made."""
        return self.viewer.sees_all


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
        project: str | None = None,
    ) -> Key:
        """Store a key, of the project of that name; raises NotFoundError."""
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
            row.project_id = None if project is None else find_project(session, project).id
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
            return _key(row, trains=_viewer(session, job))

    def list(self) -> Sequence[Key]:
        """Return the keys of people and programs, the oldest first."""
        with self._database.reading() as session:
            query = select(KeyRow).where(KeyRow.job_id.is_(None)).order_by(KeyRow.created_at, KeyRow.id)
            return [_key(row) for row in session.scalars(query)]

    def viewer_of_job(self, job_id: str) -> Viewer | None:
        """Give who finds what a job's key finds, for work that goes on without a call of it; None finds all."""
        with self._database.reading() as session:
            job = session.scalar(select(JobRow).where(JobRow.id == job_id))
            return None if job is None or job.owner is None else _viewer(session, job)

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


def _viewer(session: Session, job: JobRow) -> Viewer:
    """Give who looks when a job's trainer does: it finds what the key finds that the job was submitted with."""
    key = job.submitter or job.owner  # in rows of releases without projects the owner is the key
    submitter = None if key is None else session.get(KeyRow, key)
    # A job without an owner was there before the keys: what it names has none either.
    sees_all = job.owner is None or (submitter is not None and "admin" in submitter.scopes)
    return Viewer(key=key, sees_all=sees_all, project=None if job.owner == key else job.owner)


def _key(row: KeyRow, *, trains: Viewer | None = None) -> Key:
    own = Viewer(key=row.id, sees_all="admin" in row.scopes, project=row.project_id)
    return Key(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        scopes=tuple(row.scopes),
        max_per_minute=row.max_per_minute,
        max_at_once=row.max_at_once,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        viewer=trains or own,
        of_trainer=trains is not None,
    )
