"""Own checkpoints: adapter, optimizer, schedule and random states of a whole step, the manifest last; read verified."""

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import Trainer

from rlt_core.schemas.trainer import KEPT_CHECKPOINTS, CheckpointEvent, ResumePoint, TrainerJob
from rlt_train.durable import durable_folder, file_sha256
from rlt_train.errors import UnfitCheckpointError
from rlt_train.models import save_adapter, trained_policy

MANIFEST, STATE, TRAINER_STATE, ADAPTER_FOLDER = "manifest.json", "state.pt", "trainer_state.json", "adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose every file is as its manifest says."""

    folder: Path
    step: int
    threads: int
    """Threads that computed it: another number sums in another order."""


def save_checkpoint(
    trainer: Trainer, *, job: TrainerJob, step: int, randomness: Mapping[str, Any]
) -> CheckpointEvent | None:
    """Save the state after `step` under the attempt's folder; None if that step is already there.

    `randomness` are the random states as they were when the step ended.
    """
    target = Path(job.attempt_dir) / "checkpoints" / f"step-{step}"
    if target.exists():
        return None
    with durable_folder(target) as folder:
        save_adapter(trained_policy(trainer), folder / ADAPTER_FOLDER, base_model=job.base_model)
        torch.save(_states(trainer) | dict(randomness), folder / STATE)
        trainer.state.save_to_json(str(folder / TRAINER_STATE))
        manifest = json.dumps(_manifest(folder, job=job, step=step), indent=2, sort_keys=True).encode()
        (folder / MANIFEST).write_bytes(manifest)
    return CheckpointEvent(step=step, path=str(target), manifest_sha256=hashlib.sha256(manifest).hexdigest())


def oldest_kept(job: TrainerJob) -> int:
    """Remove all but the newest checkpoints of this attempt; give the step of the oldest that a resume may need.

    That is 0 until there are enough: a fallback would go to an earlier attempt's.
    """
    folders = sorted((Path(job.attempt_dir) / "checkpoints").glob("step-*"), key=_step_of)
    for folder in folders[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(folder, ignore_errors=True)
    return _step_of(folders[-KEPT_CHECKPOINTS]) if len(folders) >= KEPT_CHECKPOINTS else 0


def newest_verified(points: Sequence[ResumePoint], *, job: TrainerJob) -> tuple[Checkpoint | None, list[str]]:
    """Find the first of the points that verifies; give it with what was wrong with those before it."""
    faults: list[str] = []
    for point in points:
        try:
            return verified(point, job=job), faults
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
    if (manifest["step"], manifest["spec_sha256"]) != (point.step, _spec_sha256(job)):
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
    return Checkpoint(folder=folder, step=point.step, threads=manifest["threads"])


def random_states() -> dict[str, Any]:
    """Give the states of all generators that training may draw from, as plain types and tensors."""
    states: dict[str, Any] = {
        "torch_rng": torch.get_rng_state(),
        "python_rng": random.getstate(),
        "numpy_rng": _numpy_state(),
    }
    if torch.cuda.is_available():
        states["cuda_rng"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set all generators as they were."""
    torch.set_rng_state(states["torch_rng"])
    random.setstate(states["python_rng"])
    numpy_state = states["numpy_rng"]
    inner = dict(numpy_state["state"])
    inner["key"] = inner["key"].numpy().astype("uint32")
    numpy.random.set_state(numpy_state | {"state": inner})
    if "cuda_rng" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda_rng"][: torch.cuda.device_count()])


def _states(trainer: Trainer) -> dict[str, Any]:
    optimizer: Any = trainer.optimizer
    schedule: Any = trainer.lr_scheduler
    return {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}


def _numpy_state() -> dict[str, Any]:
    # As plain types and tensors, so that it can be read with weights_only=True.
    state = dict(numpy.random.get_state(legacy=False))
    inner = dict(state["state"])
    inner["key"] = torch.from_numpy(inner["key"].astype("int64"))
    return state | {"state": inner}


def _manifest(folder: Path, *, job: TrainerJob, step: int) -> dict[str, Any]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "job_id": job.job_id,
        "attempt": job.attempt,
        "step": step,
        "format_id": job.format_id,
        "base_model": job.base_model,
        "spec_sha256": _spec_sha256(job),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "files": {
            str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
        },
    }


def _spec_sha256(job: TrainerJob) -> str:
    # Without defaults: a field that a later version adds must not make every checkpoint one of another spec.
    return hashlib.sha256(job.spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
