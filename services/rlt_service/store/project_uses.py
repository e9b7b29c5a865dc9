"""Own what projects ask of engines a day: processes add what they have counted, and read what all have."""

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from rlt_core.schemas.projects import Quotas
from rlt_service.store.database import Database
from rlt_service.store.project_tables import ProjectRow, ProjectUseRow
from rlt_service.store.quotas import quotas_of
from rlt_service.store.retries import tried_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Calls, and tokens of engines."""

    requests: int = 0
    tokens: int = 0

    def plus(self, more: "Counted") -> "Counted":
        """Add."""
        return Counted(requests=self.requests + more.requests, tokens=self.tokens + more.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDay:
    """What a project may ask, and what all processes have told that it has asked on a day."""

    name: str
    quotas: Quotas
    told: Counted


class ProjectUses:
    """Sums by project and day."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    @tried_again
    def add(self, project_id: str, day: str, more: Counted) -> ProjectDay | None:
        """Add what a process has counted, and give what is known then; None for a project that there is not."""
        if more == Counted():
            with self._database.reading() as session:
                return _read(session, project_id, day)
        with self._database.transaction() as session:
            # The project's row is the lock: of two processes that add the day's first, one finds the other's.
            if session.get(ProjectRow, project_id, with_for_update=True) is None:
                return None
            of_day = (ProjectUseRow.project_id == project_id, ProjectUseRow.day == day)
            known = session.scalar(select(ProjectUseRow.day).where(*of_day)) is not None
            if not known:
                session.add(ProjectUseRow(project_id=project_id, day=day, requests=0, tokens=0))
                session.flush()
            session.execute(
                update(ProjectUseRow)
                .where(*of_day)
                .values(requests=ProjectUseRow.requests + more.requests, tokens=ProjectUseRow.tokens + more.tokens)
            )
            session.expire_all()
            return _read(session, project_id, day)


def _read(session: Session, project_id: str, day: str) -> ProjectDay | None:
    project = session.get(ProjectRow, project_id)
    if project is None:
        return None
    row = session.get(ProjectUseRow, (project_id, day))
    told = Counted() if row is None else Counted(requests=row.requests, tokens=row.tokens)
    return ProjectDay(name=project.name, quotas=quotas_of(project), told=told)
