"""Own how a project's row is found; what a project may use and has used is quotas.py's."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.errors import NotFoundError
from rlt_service.store.project_tables import ProjectRow


def find_project(session: Session, name: str) -> ProjectRow:
    """Return the project of a name; raises NotFoundError."""
    row = session.scalar(select(ProjectRow).where(ProjectRow.name == name))
    if row is None:
        raise NotFoundError(f"There is no project {name!r}; `rlt projects list` names them.", param="/project")
    return row
