"""Own checkpoints: weights, optimizer, schedule and random states of a whole step, the manifest last; read verified."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer

from rlt_core.schemas.trainer import (
    KEPT_CHECKPOINTS,
    STORED_STEP,
    BranchPoint,
    CheckpointEvent,
    ResumePoint,
    TrainerJob,
)
from rlt_train.data_order import Cursor
from rlt_train.durable import durable_folder, file_sha256, sync_files
from rlt_train.errors import UnfitCheckpointError
from rlt_train.models import Policy, policy_tensors, trained_model, write_adapter
from rlt_train.randomness import random_sha256
from rlt_train.ranks import own_rank
from rlt_train.sharding import whole
from rlt_train.spec_hash import spec_sha256

MANIFEST, STATE, TRAINER_STATE, ADAPTER_FOLDER = "manifest.json", "state.pt", "trainer_state.json", "adapter"
MODEL_FILE = "model.safetensors"
"""Where a whole model is trained, its weights by its own names, in place of the folder of an adapter."""
_FIELDS = frozenset(("attempt", "base_model", "cursor", "files", "format_id", "job_id"))
_FIELDS |= frozenset(("random_sha256", "spec_sha256", "step", "threads"))
"""What a manifest must say for a resume to be sure of it."""


@runtime_checkable
class HasExtraStates(Protocol):
    """A trainer with more to find again than transformers knows of."""

    def extra_states(self) -> dict[str, Any]:
        """Give tensors and numbers, by names that are no other state's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose every file is as its manifest says."""

    folder: Path
    step: int
    threads: int
    """Threads that computed it: another number sums in another order."""
    cursor: Cursor
    """Where in its data training goes on."""
    is_others: bool = False
    """Whether another job wrote it, whose spec may have been another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run stands when a step has ended."""

    step: int
    cursor: Cursor
    randomness: Mapping[str, Any]
    """Random states as they were then."""


def save_checkpoint(trainer: Trainer, *, job: TrainerJob, place: Place) -> CheckpointEvent | None:
    """Save the state after a step under the attempt's folder; None if that step is already there.

    All ranks call it, since what is sharded is gathered; the first writes, and has the event.
    """
    target = Path(job.attempt_dir) / "checkpoints" / f"step-{place.step}"
    policy = trained_model(trainer)
    tensors, states = policy_tensors(policy), _states(trainer)
    if not own_rank().is_first or target.exists():
        return None
    with durable_folder(target) as folder:
        _write_weights(tensors, policy, folder, base_model=job.base_model)
        torch.save(states | dict(place.randomness), folder / STATE)
        trainer.state.save_to_json(str(folder / TRAINER_STATE))
        manifest = json.dumps(_manifest(folder, job=job, place=place), indent=2, sort_keys=True).encode()
        sync_files(folder)  # before there is a manifest that vouches for them
        (folder / MANIFEST).write_bytes(manifest)
    return CheckpointEvent(step=place.step, path=str(target), manifest_sha256=hashlib.sha256(manifest).hexdigest())


def oldest_kept(job: TrainerJob) -> int:
    """Remove checkpoints of this attempt that no resume can need; give the step of the oldest that one may.

    A resume takes only what the database knows, and that may be behind while the worker stands still or the database
    is away: so the newest two that it knows stay, and all that is newer. The step is 0 until there are enough, since
    a fallback would go to an earlier attempt's.
    """
    folders = sorted((Path(job.attempt_dir) / "checkpoints").glob("step-*"), key=_step_of)
    stored = _stored_step(job)
    known = [folder for folder in folders if _step_of(folder) <= stored]
    for folder in known[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(folder, ignore_errors=True)
    return _step_of(known[-KEPT_CHECKPOINTS]) if len(known) >= KEPT_CHECKPOINTS else 0


def newest_verified(
    points: Sequence[ResumePoint], *, job: TrainerJob, cursor_at: Callable[[int], Cursor]
) -> tuple[Checkpoint | None, list[str]]:
    """Find the first of the points that verifies; give it with what was wrong with those before it.

    `cursor_at` gives the place in the data where this process would go on after a step.
    """
    faults: list[str] = []
    for point in points:
        try:
            found = verified(point, job=job)
            _check_cursor(found, due=cursor_at(found.step))
            return found, faults
        except UnfitCheckpointError as error:
            faults.append(str(error))
    return None, faults


def verified(point: ResumePoint, *, job: TrainerJob) -> Checkpoint:
    """Hold a checkpoint's files against its manifest, and that against what was told of it; UnfitCheckpointError."""
    folder = Path(point.folder)
    name = f"the checkpoint of step {point.step}, attempt {point.attempt},"
    if folder.is_symlink() or any(path.is_symlink() for path in folder.rglob("*")):
        raise UnfitCheckpointError(f"{name} holds links")
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise UnfitCheckpointError(f"{name} has no manifest that can be read: {error}") from error
    if hashlib.sha256(text).hexdigest() != point.manifest_sha256:
        raise UnfitCheckpointError(f"{name} has another manifest than was told")
    manifest: dict[str, Any] = json.loads(text)
    if not set(manifest) >= _FIELDS:
        raise UnfitCheckpointError(f"{name} was written by another version: its manifest says less")
    is_others = isinstance(point, BranchPoint)
    owner = point.job_id if isinstance(point, BranchPoint) else job.job_id
    if (manifest["job_id"], manifest["attempt"]) != (owner, point.attempt):
        raise UnfitCheckpointError(f"{name} is of another job or attempt")
    spec = manifest["spec_sha256"] if is_others else spec_sha256(job.spec)
    if (manifest["step"], manifest["spec_sha256"]) != (point.step, spec):
        raise UnfitCheckpointError(f"{name} is of another step or of another spec")
    if (manifest["base_model"], manifest["format_id"]) != (job.base_model, job.format_id):
        raise UnfitCheckpointError(f"{name} is of another base or format")
    wanted: dict[str, dict[str, Any]] = manifest["files"]
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if found != set(wanted):
        raise UnfitCheckpointError(f"{name} lacks files or holds others: {', '.join(sorted(found ^ set(wanted)))}")
    for relative, facts in wanted.items():
        path = folder / relative
        if path.stat().st_size != facts["size"] or file_sha256(path) != facts["sha256"]:
            raise UnfitCheckpointError(f"{name} has a file that is not as it was written: {relative}")
    try:
        cursor = Cursor(**manifest["cursor"])
    except TypeError as error:
        raise UnfitCheckpointError(f"{name} was written by another version: it names its place otherwise") from error
    return Checkpoint(folder=folder, step=point.step, threads=manifest["threads"], cursor=cursor, is_others=is_others)


def random_sha256_of(folder: Path) -> dict[str, str]:
    """Read what a checkpoint that was verified says of its random states."""
    return json.loads((folder / MANIFEST).read_bytes())["random_sha256"]


def _check_cursor(checkpoint: Checkpoint, *, due: Cursor) -> None:
    seen, wanted = asdict(checkpoint.cursor), asdict(due)
    other = ", ".join(name for name in wanted if seen[name] != wanted[name])
    if other:
        raise UnfitCheckpointError(
            f"the checkpoint of step {checkpoint.step} stands at another place in the data ({other}): the order of "
            "rows is no longer the one that it was trained in"
        )


def _write_weights(tensors: dict[str, Tensor], policy: Policy, folder: Path, *, base_model: str) -> None:
    if isinstance(policy, PeftModel):
        write_adapter(tensors, policy, folder / ADAPTER_FOLDER, base_model=base_model)
    else:
        save_file(tensors, folder / MODEL_FILE)


def _states(trainer: Trainer) -> dict[str, Any]:
    optimizer: Any = trainer.optimizer
    schedule: Any = trainer.lr_scheduler
    extra = trainer.extra_states() if isinstance(trainer, HasExtraStates) else {}
    return {"optimizer": whole(optimizer.state_dict()), "schedule": schedule.state_dict()} | extra


def _manifest(folder: Path, *, job: TrainerJob, place: Place) -> dict[str, Any]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "job_id": job.job_id,
        "attempt": job.attempt,
        "step": place.step,
        "cursor": asdict(place.cursor),
        "random_sha256": random_sha256(place.randomness),
        "format_id": job.format_id,
        "base_model": job.base_model,
        "spec_sha256": spec_sha256(job.spec),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "files": {
            str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
        },
    }


def _stored_step(job: TrainerJob) -> int:
    """Read how far the database is; 0 where the worker has said nothing yet."""
    try:
        return int((Path(job.attempt_dir) / STORED_STEP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
