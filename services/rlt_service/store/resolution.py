"""Own how a name becomes a version: alias, then newest of a name, then name@number, then a rollout adapter."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from rlt_core.artifacts import Kind
from rlt_core.errors import ModelNotFoundError
from rlt_core.schemas.base import NAME_PATTERN, ROLLOUT_PATTERN, VERSION_PATTERN, Role, split_version
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.ownership import visible
from rlt_service.store.rollouts import policy_kind
from rlt_service.store.tables import AliasRow, JobRow, RolloutRow, ShadowRow, VersionRow
from rlt_service.store.version_owners import known_version


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFiles:
    """Where a version's files lie, and the hash that they were registered with."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedVersion:
    """What a name means now; with neither adapter nor full weights it is the untrained base."""

    version: str
    role: Role
    """The role that was asked for, not the one that it was made for."""
    base_model: str
    format: str
    adapter: VersionFiles | None
    full: VersionFiles | None = None
    """Of a fully trained version: all weights."""
    made_for: Role | None = None
    """The role that a trained version was made for; None of the untrained base and of rollout adapters."""
    shadow: "ShadowPlan | None" = None
    """Who answers beside it, where the name was an alias that carries a shadow."""
    moved_at: datetime | None = None
    """When the alias that the name was began to point here; None for any other name."""

    @property
    def files(self) -> VersionFiles | None:
        """What lies on disk of it; None of the untrained base."""
        return self.full or self.adapter

    @property
    def kind(self) -> Kind:
        """Whether it is an adapter, or all weights."""
        return "adapter" if self.full is None else "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPlan:
    """A candidate beside an alias: what it answers, and who judges."""

    alias: str
    version: str
    share: float
    max_in_flight: int
    student: str


def resolve(session: Session, artifacts: ArtifactStore, *, role: Role, name: str) -> ResolvedVersion:
    """Find the version that `name` means for `role`; raises ModelNotFoundError naming close matches."""
    if re.fullmatch(ROLLOUT_PATTERN, name):
        return _rollout(session, artifacts, role=role, name=name)
    alias = _alias(session, role=role, name=name)
    row = _target_row(session, role=role, name=name, target=alias.target)
    return replace(_resolved(artifacts, row, role=role, shadow=alias.shadow), moved_at=alias.moved_at)


def named_version(session: Session, *, role: Role, name: str) -> VersionRow:
    """Return the row of the stored version that `name` means for `role`; raises ModelNotFoundError."""
    return _target_row(session, role=role, name=name, target=_alias(session, role=role, name=name).target)


def live_version(session: Session, version: str, *, role: Role, param: str, lock: bool = False) -> VersionRow:
    """Return the row of a version that can be called; raises ModelNotFoundError, also for a deleted one.

    `lock` keeps the row as it is until the transaction ends, so that nothing comes to point at a version that goes.
    """
    row = find_version(session, version) if re.fullmatch(VERSION_PATTERN, version) else None
    if row is not None and lock:
        session.refresh(row, with_for_update=True)
    if row is None:
        raise missing_version(session, version, role=role, param=param)
    if row.deleted_at is not None:
        raise ModelNotFoundError(
            f"{version_name(row)} was deleted at {row.deleted_at:%Y-%m-%d %H:%M} UTC; its number is not given again, "
            f"/v1/{row.role}s/{row.name}/versions lists what is there.",
            param=param,
        )
    return row


def find_version(session: Session, version: str) -> VersionRow | None:
    """Return the row of `name@number`, deleted or not; number 0 of a trained name is the base that it came from."""
    name, number = split_version(version)
    named = select(VersionRow).where(VersionRow.name == name, known_version())
    row = session.scalar(named.where(VersionRow.number == number))
    if row is not None or number > 0:
        return row
    trained = session.scalar(named.order_by(VersionRow.number).limit(1))
    if trained is None:
        return None
    return session.scalar(
        select(VersionRow)
        .where(VersionRow.number == 0, VersionRow.base_model == trained.base_model)
        .order_by(VersionRow.ensured_at.desc())
        .limit(1)
    )


def newest_version(session: Session, *, role: Role, name: str) -> VersionRow | None:
    """Return the newest version of a name; where the name has versions of both roles, the newest of this one."""
    there = select(VersionRow).where(VersionRow.name == name, VersionRow.deleted_at.is_(None), known_version())
    rows = list(session.scalars(there.order_by(VersionRow.number.desc())))
    return next((row for row in rows if row.role == role and row.number > 0), rows[0] if rows else None)


def current_base(session: Session, role: Role = "teacher") -> VersionRow | None:
    """Return the base that a server last started with; for students theirs, where they have one of their own."""
    ensured = select(VersionRow).where(VersionRow.number == 0, VersionRow.ensured_at.is_not(None))
    for wanted in ("student", "teacher") if role == "student" else ("teacher",):
        found = session.scalar(ensured.where(VersionRow.role == wanted).order_by(VersionRow.ensured_at.desc()).limit(1))
        if found is not None:
            return found
    return None


def version_name(row: VersionRow) -> str:
    """Write a row's `name@number`."""
    return f"{row.name}@{row.number}"


def known_names(session: Session, role: Role) -> list[str]:
    """Return aliases of a role, names and versions: everything that can be called by name."""
    aliases = session.scalars(select(AliasRow.alias).where(AliasRow.role == role))
    there = select(VersionRow).where(VersionRow.deleted_at.is_(None), known_version())
    rows = list(session.scalars(there.order_by(VersionRow.ordinal.desc())))
    return list(dict.fromkeys([*aliases, *(row.name for row in rows), *(version_name(row) for row in rows)]))


def missing_version(session: Session, version: str, *, role: Role, param: str) -> ModelNotFoundError:
    """Make the error for a version that is not there."""
    return ModelNotFoundError(_missing(session, role=role, name=version), param=param)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alias:
    """What a name leads to: itself, where it is no alias."""

    target: str
    shadow: ShadowPlan | None = None
    moved_at: datetime | None = None


def _alias(session: Session, *, role: Role, name: str) -> _Alias:
    """Follow an alias, and read its shadow with it: a request is not worth a query of its own for that."""
    beside = and_(ShadowRow.role == AliasRow.role, ShadowRow.alias == AliasRow.alias)
    query = select(AliasRow, ShadowRow).outerjoin(ShadowRow, beside)
    found = session.execute(query.where(AliasRow.role == role, AliasRow.alias == name)).one_or_none()
    if found is None:
        return _Alias(target=name)
    alias, shadow = found[0], cast(ShadowRow | None, found[1])
    plan = None if shadow is None else _plan(shadow)
    return _Alias(target=alias.version, shadow=plan, moved_at=alias.updated_at)


def _plan(row: ShadowRow) -> ShadowPlan:
    return ShadowPlan(
        alias=row.alias,
        version=row.version,
        share=row.share,
        max_in_flight=row.max_in_flight,
        student=row.student,
    )


def _target_row(session: Session, *, role: Role, name: str, target: str) -> VersionRow:
    if re.fullmatch(VERSION_PATTERN, target):
        return live_version(session, target, role=role, param=f"/{role}")
    row = newest_version(session, role=role, name=target) if re.fullmatch(NAME_PATTERN, target) else None
    if row is None:
        raise missing_version(session, name, role=role, param=f"/{role}")
    return row


def _rollout(session: Session, artifacts: ArtifactStore, *, role: Role, name: str) -> ResolvedVersion:
    owner, step = split_version(name)
    job_id, _, attempt = owner.partition(".")
    row = session.get(RolloutRow, (job_id, int(attempt), step))
    job = session.scalar(select(JobRow).where(JobRow.id == job_id, visible(JobRow.owner)))
    if row is None or job is None:
        raise ModelNotFoundError(
            f"There is no policy {name}: it was never published, or its job has moved on.", param=f"/{role}"
        )
    files = VersionFiles(path=artifacts.rollout_dir(job_id, row.attempt, row.step), sha256=row.sha256)
    kind = policy_kind(job)
    return ResolvedVersion(
        version=name,
        role=role,
        base_model=row.base_model,
        format=row.format,
        adapter=files if kind == "adapter" else None,
        full=files if kind == "full" else None,
    )


def _resolved(artifacts: ArtifactStore, row: VersionRow, *, role: Role, shadow: ShadowPlan | None) -> ResolvedVersion:
    def files(sha256: str | None) -> VersionFiles | None:
        return VersionFiles(path=artifacts.version_dir(row.name, row.number), sha256=sha256) if sha256 else None

    return ResolvedVersion(
        version=version_name(row),
        role=role,
        base_model=row.base_model,
        format=row.format,
        adapter=files(row.adapter_sha256),
        full=files(row.weights_sha256),
        made_for=cast(Role, row.role) if row.number > 0 else None,
        shadow=shadow,
    )


def _missing(session: Session, *, role: Role, name: str) -> str:
    known = known_names(session, role)
    close = get_close_matches(name[:200], known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Known are {', '.join(known[:10]) or 'none yet'}."
    return f"There is no {role} {name[:200]!r}. {hint}"
