"""Own how what was trained becomes the next version of its name: fenced, once a job, with its evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rlt_core.artifacts import Kind
from rlt_core.errors import RltError
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.teachers import Evaluation, EvaluationRow
from rlt_service.store import evaluations
from rlt_service.store.artifacts import REFUSED, ArtifactStore
from rlt_service.store.job_rows import fenced_job
from rlt_service.store.ownership import project
from rlt_service.store.quotas import admit_bytes
from rlt_service.store.shared_files import share_version, still_shared
from rlt_service.store.tables import VersionRow
from rlt_service.store.turns import take_turn
from rlt_service.store.version_owners import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An adapter, or a fully trained model, that wants to become a version."""

    name: str
    role: Role
    base_model: str
    format: str
    folder: Path
    """Under the artifact root; copied."""
    sha256: str
    """As rlt_core.artifacts.version_sha256 computes it; compared with what lies there."""
    lora_rank: int | None
    """Null for a fully trained model."""
    parent: str | None = None
    job_id: str | None = None
    """With `attempt` the fence; null for what an operator brings."""
    attempt: int | None = None
    dataset_id: str | None = None
    dataset_sha256: str | None = None
    code_version: str | None = None

    @property
    def kind(self) -> Kind:
        """Whether it is an adapter, or all weights."""
        return "full" if self.lora_rank is None else "adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A comparison made before its subject had a version: `evaluation.after` is a name for the time being."""

    evaluation: Evaluation
    rows: Sequence[EvaluationRow]


def stage(artifacts: ArtifactStore, candidate: Candidate) -> Path:
    """Copy a candidate's files and compare them with the announced hash.

    Raises InvalidAdapterError, InvalidWeightsError.
    """
    staged = artifacts.stage(candidate.folder, candidate.kind)
    found = artifacts.checked_sha256(staged, candidate.kind)
    if found != candidate.sha256:
        artifacts.discard(staged)
        raise REFUSED[candidate.kind](
            f"What lies in {candidate.folder.relative_to(artifacts.root)} has sha256 {found}, announced was "
            f"{candidate.sha256}: it changed after it was written, or was not written whole."
        )
    try:
        share_version(artifacts, staged, candidate.kind, name=candidate.name, sha256=candidate.sha256)
    except RltError:
        artifacts.discard(staged)
        raise
    return staged


def register(
    session: Session, artifacts: ArtifactStore, candidate: Candidate, staged: Path, held_out: HeldOut | None
) -> VersionRow:
    """Give staged files the next number, its place and its row; the job's earlier registration wins."""
    if candidate.job_id is not None:
        fenced_job(session, candidate.job_id, candidate.attempt or 0)
        done = session.scalar(select(VersionRow).where(VersionRow.job_id == candidate.job_id))
        if done is not None:
            return done
    size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
    if candidate.job_id is None:  # what a job made is kept: its project had room when it began
        admit_bytes(session, size, project=project())
    take_turn(session, "versions", candidate.name)
    still_shared(artifacts, name=candidate.name, sha256=candidate.sha256)
    newest = session.scalar(select(func.max(VersionRow.number)).where(VersionRow.name == candidate.name)) or 0
    row = VersionRow(
        name=candidate.name,
        number=newest + 1,
        role=candidate.role,
        created_at=now_utc(),
        base_model=candidate.base_model,
        format=candidate.format,
        adapter_sha256=candidate.sha256 if candidate.kind == "adapter" else None,
        weights_sha256=candidate.sha256 if candidate.kind == "full" else None,
        lora_rank=candidate.lora_rank,
        parent=candidate.parent,
        job_id=candidate.job_id,
        dataset_id=candidate.dataset_id,
        dataset_sha256=candidate.dataset_sha256,
        code_version=candidate.code_version,
        owner=maker(session, candidate.job_id),
        size_bytes=size,
    )
    session.add(row)
    session.flush()
    version = f"{row.name}@{row.number}"
    artifacts.place(staged, version)
    if held_out is not None:
        evaluations.save(session, *_named(held_out, version))
    return row


def _named(held_out: HeldOut, version: str) -> tuple[Evaluation, list[EvaluationRow]]:
    """Write the version in place of the name that the candidate had while it was compared."""
    former = held_out.evaluation.after
    metrics = {version if name == former else name: value for name, value in held_out.evaluation.metrics.items()}
    evaluation = held_out.evaluation.model_copy(update={"after": version, "metrics": metrics})
    rows = [row.model_copy(update={"version": version}) if row.version == former else row for row in held_out.rows]
    return evaluation, rows
