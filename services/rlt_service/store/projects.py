"""Own the projects: made, listed, bounded. Each method is one transaction."""

import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.errors import ConflictError
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.projects import Project, Quotas
from rlt_service.store.database import Database
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.project_rows import find_project
from rlt_service.store.project_tables import ProjectRow
from rlt_service.store.quotas import quotas_of, use_of
from rlt_service.store.retries import tried_again


class ProjectStore:
    """Tenants; a project is never deleted, since what it made stays its own: revoke its keys."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    @tried_again
    def create(self, name: str, quotas: Quotas) -> Project:
        """Make a project; raises ConflictError where there is one of that name."""
        row = ProjectRow(id=f"prj_{secrets.token_hex(6)}", name=name, created_at=now_utc(), **quotas.model_dump())
        with self._database.transaction() as session:
            if session.scalar(select(ProjectRow.id).where(ProjectRow.name == name)) is not None:
                raise ConflictError(f"There is a project {name!r} already: choose another name.", param="/name")
            session.add(row)
            session.flush()
            made = _project(session, row)
            location = {"content-type": JSON_TYPE, "location": f"/v1/projects/{name}"}
            keep(session, made, status=201, headers=location)
        return made

    def list(self) -> Sequence[Project]:
        """Return every project with its use, by name."""
        with self._database.reading() as session:
            return [_project(session, row) for row in session.scalars(select(ProjectRow).order_by(ProjectRow.name))]

    def names(self) -> dict[str, str]:
        """Return the name of each project by its id."""
        with self._database.reading() as session:
            return {row[0]: row[1] for row in session.execute(select(ProjectRow.id, ProjectRow.name))}

    def get(self, name: str) -> Project:
        """Return a project with its use; raises NotFoundError."""
        with self._database.reading() as session:
            return _project(session, find_project(session, name))

    @tried_again
    def bound(self, name: str, quotas: Quotas) -> Project:
        """Put these quotas in place of a project's; raises NotFoundError."""
        with self._database.transaction() as session:
            row = find_project(session, name)
            for field, value in quotas.model_dump().items():
                setattr(row, field, value)
            session.flush()
            return _project(session, row)


def _project(session: Session, row: ProjectRow) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        quotas=quotas_of(row),
        used=use_of(session, row.id, now=now_utc()),
    )
