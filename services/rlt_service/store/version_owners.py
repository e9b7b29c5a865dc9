"""Own who knows of a version: its maker, those that see all, and once an alias has pointed at it, everybody."""

from sqlalchemy import ColumnElement, String, cast, false, or_, select
from sqlalchemy.orm import Session

from rlt_service.store.ownership import VIEWER, owner, visible
from rlt_service.store.tables import AliasChangeRow, JobRow, VersionRow


def known_version() -> ColumnElement[bool]:
    """Give the condition that a version is one that the viewer may know of.

    Bases are everybody's. What an alias serves is shown to whoever asks the alias; it stays known when the alias moves
    on, since jobs and rollbacks name it exactly.
    """
    name = VersionRow.name + "@" + cast(VersionRow.number, String)
    served = select(AliasChangeRow.ordinal).where(AliasChangeRow.version == name).exists()
    return or_(VersionRow.number == 0, visible(VersionRow.owner), served)


def is_own(row: VersionRow) -> bool:
    """Tell whether the viewer may do to a version what only its maker may."""
    viewer = VIEWER.get()
    return viewer is None or viewer.sees_all or row.owner == viewer.owner


def maker(session: Session, job_id: str | None) -> str | None:
    """Give the project or key that what is made now belongs to: the job's, where a job made it."""
    return owner() if job_id is None else session.scalar(select(JobRow.owner).where(JobRow.id == job_id))


def name_use(session: Session, name: str) -> tuple[bool, bool]:
    """Tell whether versions have a name, and whether another key made any of them; deleted ones count."""
    made = select(VersionRow.ordinal).where(VersionRow.name == name, VersionRow.number > 0)
    viewer = VIEWER.get()
    foreign = false() if viewer is None or viewer.sees_all else VersionRow.owner.is_distinct_from(viewer.owner)
    has_any, has_foreign = session.execute(select(made.exists(), made.where(foreign).exists())).one()
    return has_any, has_foreign
