"""Own checkpoints: adapter, optimizer, schedule and random states of a whole step, the manifest last."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import Trainer

from rlt_core.schemas.trainer import CheckpointEvent, TrainerJob
from rlt_train.durable import durable_folder, file_sha256
from rlt_train.models import save_adapter, trained_policy


def save_checkpoint(trainer: Trainer, *, job: TrainerJob, step: int) -> CheckpointEvent | None:
    """Save the state after `step` under the attempt's folder; None if that step is already there."""
    target = Path(job.attempt_dir) / "checkpoints" / f"step-{step}"
    if target.exists():
        return None
    with durable_folder(target) as folder:
        save_adapter(trained_policy(trainer), folder / "adapter", base_model=job.base_model)
        torch.save(_states(trainer), folder / "state.pt")
        manifest = json.dumps(_manifest(folder, job=job, step=step), indent=2, sort_keys=True).encode()
        (folder / "manifest.json").write_bytes(manifest)
    return CheckpointEvent(step=step, path=str(target), manifest_sha256=hashlib.sha256(manifest).hexdigest())


def _states(trainer: Trainer) -> dict[str, Any]:
    optimizer: Any = trainer.optimizer
    schedule: Any = trainer.lr_scheduler
    return {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "python_rng": random.getstate(),
        "numpy_rng": _numpy_state(),
    }


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
        "spec_sha256": hashlib.sha256(job.spec.model_dump_json().encode()).hexdigest(),
        "files": {
            str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": file_sha256(path)} for path in files
        },
    }
