"""Own the audit log: what was done, by whom, when. Rows are added and, once they are old, dropped; none is changed."""

from datetime import timedelta

from sqlalchemy import delete, select

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.base import Page, now_utc
from rlt_core.schemas.projects import AuditEntry
from rlt_service.store.database import Database
from rlt_service.store.project_tables import AuditRow
from rlt_service.store.retries import tried_again

_CHARACTERS = {"action": 120, "subject": 200, "request_id": 128}


class AuditStore:
    """Who did what."""

    def __init__(self, database: Database, *, kept_for: timedelta | None = None) -> None:
        """Take a started database, and for how long an entry is kept; None drops none."""
        self._database = database
        self._kept_for = kept_for

    @tried_again
    def note(
        self,
        action: str,
        *,
        key: str | None,
        project: str | None,
        subject: str | None,
        status: int | None,
        request_id: str | None,
    ) -> None:
        """Add an entry, and drop those that need not be kept any longer."""
        now = now_utc()
        with self._database.transaction() as session:
            if self._kept_for is not None:
                session.execute(delete(AuditRow).where(AuditRow.created_at < now - self._kept_for))
            session.add(
                AuditRow(
                    created_at=now,
                    key_id=key,
                    project_id=project,
                    action=action[: _CHARACTERS["action"]],
                    subject=None if subject is None else subject[: _CHARACTERS["subject"]],
                    status=status,
                    request_id=None if request_id is None else request_id[: _CHARACTERS["request_id"]],
                )
            )

    def note_command(self, action: str, *, subject: str, project: str | None) -> None:
        """Add an entry of something that was done on the server's machine."""
        self.note(action, key=None, project=project, subject=subject, status=None, request_id=None)

    def list(
        self, *, limit: int = 100, after: str | None = None, key: str | None = None, project: str | None = None
    ) -> Page[AuditEntry]:
        """Return a page, newest first, of all or of one key or project (by ids); `after` is the last id before it."""
        query = select(AuditRow).order_by(AuditRow.ordinal.desc()).limit(limit + 1)
        if key is not None:
            query = query.where(AuditRow.key_id == key)
        if project is not None:
            query = query.where(AuditRow.project_id == project)
        if after is not None:
            query = query.where(AuditRow.ordinal < _ordinal(after))
        with self._database.reading() as session:
            rows = list(session.scalars(query))
        data = [_entry(row) for row in rows[:limit]]
        return Page[AuditEntry](data=data, has_more=len(rows) > limit, last_id=data[-1].id if data else None)


def _ordinal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequestError(f"`after` names no entry: {text[:40]!r}.", param="/after")
    return int(text)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=str(row.ordinal),
        created_at=row.created_at,
        key=row.key_id,
        project=row.project_id,
        action=row.action,
        subject=row.subject,
        status=row.status,
        request_id=row.request_id,
    )
