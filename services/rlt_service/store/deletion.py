"""Own the end of a version: refused while something needs it; the row stays as a tombstone, the files go after it."""

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from rlt_core.errors import ConflictError, ForbiddenError, StorageUnavailableError, VersionInUseError
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.jobs import TERMINAL
from rlt_core.schemas.trainer import TrainerJob
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.objects import ObjectStore
from rlt_service.store.pipeline_rows import CONDUCTED, needed_jobs, step_specs
from rlt_service.store.resolution import live_version, newest_version, version_name
from rlt_service.store.tables import AliasRow, JobRow, ShadowRow, VersionRow
from rlt_service.store.turns import take_turn
from rlt_service.store.version_owners import is_own

LOGGER = logging.getLogger(__name__)

SWEPT_FOR = timedelta(days=1)
"""How long shared files of a deleted version are looked after: a crash may have left them behind."""
NAMED_USERS = 5
"""Users that the message names; `used_by` holds them all."""


class Deletion:
    """Takes versions away for good."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        """Take a started database and the artifact folders."""
        self._database = database
        self._artifacts = artifacts

    def delete(self, version: str) -> str:
        """Delete a version that nothing needs; return its `name@number`.

        Raises ModelNotFoundError, ForbiddenError, VersionInUseError, ConflictError for a base. Children keep its name
        as their parent.
        """
        with self._database.transaction() as session:
            row = live_version(session, version, role="teacher", param="/number", lock=True)
            name = version_name(row)
            if row.number == 0:
                raise ConflictError(f"{name} is an untrained base, on which versions stand: it cannot be deleted.")
            if not is_own(row):
                raise ForbiddenError(f"{name} was made by another key, which alone may delete it, and admin.")
            if users := list(_users(session, self._artifacts, row)):
                more = f" and {len(users) - NAMED_USERS} more" if len(users) > NAMED_USERS else ""
                raise VersionInUseError(
                    f"{name} is in use: {'; '.join(users[:NAMED_USERS])}{more}. Move or end that first.",
                    extra={"used_by": users},
                )
            row.deleted_at = now_utc()
        self.sweep()
        return name

    def sweep(self) -> None:
        """Remove the files of every deleted version: also those that a crash has left behind.

        A store that does not answer stops neither a deletion nor a start.
        """
        columns = VersionRow.name, VersionRow.number, VersionRow.adapter_sha256, VersionRow.weights_sha256
        with self._database.reading() as session:
            gone = session.execute(select(*columns, VersionRow.deleted_at).where(VersionRow.deleted_at.is_not(None)))
            found = gone.all()
        newly = now_utc() - SWEPT_FOR
        for name, number, adapter, weights, deleted_at in found:
            self._artifacts.discard(self._artifacts.version_dir(name, number))
            sha256 = adapter or weights
            recent = deleted_at is not None and deleted_at > newly
            if self._artifacts.objects is not None and sha256 is not None and recent:
                try:
                    self._drop(self._artifacts.objects, name, sha256)
                except StorageUnavailableError as error:
                    LOGGER.warning("files of %s@%d stay until the next deletion or start: %s", name, number, error)

    def _drop(self, objects: ObjectStore, name: str, sha256: str) -> None:
        """Delete shared files, unless another version of the name has the same; none can be registered meanwhile."""
        same = or_(VersionRow.adapter_sha256 == sha256, VersionRow.weights_sha256 == sha256)
        with self._database.transaction() as session:
            take_turn(session, "versions", name)
            live = select(VersionRow.number).where(VersionRow.name == name, VersionRow.deleted_at.is_(None), same)
            if session.scalar(live.limit(1)) is None:
                objects.drop_version(name=name, sha256=sha256)


def _users(session: Session, artifacts: ArtifactStore, row: VersionRow) -> Iterator[str]:
    """Say who needs a version, one sentence each."""
    version = version_name(row)
    for alias in session.scalars(select(AliasRow).where(AliasRow.version == version)):
        yield f"the {alias.role} alias {alias.alias!r} points at it"
    for shadow in session.scalars(select(ShadowRow)):
        if shadow.version == version:
            yield f"it is the shadow of the {shadow.role} alias {shadow.alias!r}"
        if _means(session, row, role="student", name=shadow.student):
            yield f"it judges the shadow of the {shadow.role} alias {shadow.alias!r}"
    for job in session.scalars(select(JobRow).where(JobRow.status.not_in(TERMINAL)).order_by(JobRow.ordinal)):
        if row.job_id == job.id:
            yield f"{job.id}, which made it, is {job.status}"
        elif job.kind == CONDUCTED and row.job_id in needed_jobs(session, job):
            yield f"{job.id}, a pipeline whose step made it, is {job.status}"
        elif version in _attempt_versions(artifacts, job) or any(
            _means(session, row, role=role, name=name) for role, name in _spec_names(job)
        ):
            yield f"{job.id}, which is {job.status}, names it"


def _spec_names(job: JobRow) -> Iterator[tuple[Role, str]]:
    """Give what a spec, or each of a pipeline's, calls its teacher and its students."""
    if job.kind != CONDUCTED:
        yield from _names_in(job.spec)
        return
    for spec in step_specs(job):
        yield from _names_in(spec)
    for name in job.spec.get("start", {}).values():
        yield "teacher", name
        yield "student", name


def _names_in(spec: Mapping[str, Any]) -> Iterator[tuple[Role, str]]:
    roles: tuple[Role, ...] = ("teacher", "student")
    for role in roles:
        named: str | list[str] = spec.get(role, [])
        for name in [named] if isinstance(named, str) else named:
            yield role, name
    measured = spec.get("models") or ([spec["model"]] if spec.get("model") else [])
    for name in measured:
        yield spec.get("role", "student"), name


def _means(session: Session, row: VersionRow, *, role: Role, name: str) -> bool:
    """Tell whether a name of a spec means this version now; an alias that points at it is a user of its own."""
    if name == version_name(row):
        return True
    if name != row.name or session.get(AliasRow, (role, name)) is not None:
        return False
    newest = newest_version(session, role=role, name=name)
    return newest is not None and newest.ordinal == row.ordinal


def _attempt_versions(artifacts: ArtifactStore, job: JobRow) -> set[str | None]:
    """Give the exact versions that the running attempt was told; its names may mean others by now."""
    if job.status != "running":
        return set()
    try:
        told = TrainerJob.model_validate_json(artifacts.job_file(job.id, job.attempt).read_bytes(), extra="ignore")
    except (OSError, ValueError):  # not prepared yet: then its names decide
        return set()
    return {
        told.teacher_version,
        told.student_version,
        told.served_version,
        *told.other_student_versions,
        *told.measured_versions,
    }
