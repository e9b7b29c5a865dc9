"""Own the way from a checkpoint's id to its folder, and to what the trainer that wrote it was told."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rlt_core.errors import InvalidRequestError, NotFoundError
from rlt_core.schemas.trainer import BranchPoint, TrainerJob
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.jobs import JobStore

PARAM = "/resume_from"
_ID = re.compile(r"(job_[a-z0-9]{16,32})\.([1-9][0-9]{0,5})\.([1-9][0-9]{0,8})")
_MOST_EVENTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint that a job's owner told of, and that lies there."""

    point: BranchPoint
    told: TrainerJob
    """What the attempt that wrote it was told: exact versions, spec, base, format."""


def find_checkpoint(checkpoint_id: str, *, jobs: JobStore, artifacts: ArtifactStore) -> StoredCheckpoint:
    """Find a checkpoint that `GET /v1/jobs/{id}/checkpoints` lists.

    Raises InvalidRequestError for what is no such id, NotFoundError for one that is not there or of a job that is not
    the viewer's.
    """
    match = _ID.fullmatch(checkpoint_id)
    if match is None:
        raise InvalidRequestError(
            f"{checkpoint_id[:80]!r} is no id of a checkpoint (job.attempt.step): GET /v1/jobs/{{id}}/checkpoints "
            "lists them",
            param=PARAM,
        )
    job_id, attempt, step = match[1], int(match[2]), int(match[3])
    try:
        events = jobs.checkpoints(job_id, limit=_MOST_EVENTS)
    except NotFoundError as error:
        raise NotFoundError(error.detail, param=PARAM) from error
    folder = artifacts.attempt_dir(job_id, attempt) / "checkpoints" / f"step-{step}"
    told = [event for event in events if (event.attempt, event.data["step"]) == (attempt, step)]
    if not told or not folder.is_dir():
        raise NotFoundError(
            f"there is no checkpoint {checkpoint_id} (any more: a job keeps its newest): "
            f"GET /v1/jobs/{job_id}/checkpoints lists them",
            param=PARAM,
        )
    point = BranchPoint(
        job_id=job_id,
        attempt=attempt,
        step=step,
        folder=str(folder),
        manifest_sha256=told[0].data["manifest_sha256"],
    )
    return StoredCheckpoint(point=point, told=_told(artifacts.job_file(job_id, attempt), checkpoint_id=checkpoint_id))


def _told(path: Path, *, checkpoint_id: str) -> TrainerJob:
    try:
        return TrainerJob.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InvalidRequestError(
            f"what {checkpoint_id} was trained on cannot be read ({type(error).__name__}): it is of another version "
            "of this server",
            param=PARAM,
        ) from error
