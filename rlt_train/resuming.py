"""Own how a transformers trainer goes on from one of our checkpoints, bit for bit on the same number of CPU threads.

Leans on the inside of transformers 5: `Trainer.train(resume_from_checkpoint=...)` restores its own state and skips the
batches of the epoch that were done, by the overridden methods here. Its own reader would take the folder `adapter` for
a second adapter of that name and train on from fresh weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedModel

from rlt_core.schemas.trainer import TrainerJob
from rlt_train.checkpoints import ADAPTER_FOLDER, MODEL_FILE, STATE, random_sha256_of
from rlt_train.data_order import DataCourse
from rlt_train.errors import UnfitCheckpointError
from rlt_train.models import Policy, own_weights, put_tensors, trained_model
from rlt_train.randomness import random_sha256, random_states, restore_random_states
from rlt_train.sharding import shard_states
from rlt_train.writers import among_logs


class FromOurCheckpoints:
    """Mixin over a transformers trainer: reads checkpoints as `checkpoints.py` writes them."""

    more_metrics: Callable[[], dict[str, float]] = staticmethod(dict)
    """Gives a step's own metrics, once, when the step has ended."""

    branches = False
    """Whether the checkpoint is another job's: from here on this job's own spec says how the optimizer goes on."""

    def course(self, job: TrainerJob) -> DataCourse:
        """Give the way through the data that this trainer takes."""
        trainer: Any = self
        return DataCourse(trainer._get_train_sampler(), job=job)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(trained_model(self), Path(resume_from_checkpoint))  # pyright: ignore[reportArgumentType]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        trainer: Any = self
        states = _read(checkpoint)
        optimizer, schedule = trainer.optimizer, getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        rates = list(schedule.base_lrs)
        optimizer.load_state_dict(states["optimizer"])
        shard_states(optimizer)
        schedule.load_state_dict(states["schedule"])
        if self.branches:
            schedule.base_lrs = rates
            for group, mine, rate, course in zip(optimizer.param_groups, own, rates, schedule.lr_lambdas, strict=True):
                group.update(mine, lr=rate * course(schedule.last_epoch))
            schedule._last_lr = [group["lr"] for group in optimizer.param_groups]
        self.load_extra_states(states)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step with our own metrics among TRL's, for whoever listens."""
        trainer: Any = super()
        trainer.log(logs | among_logs(self.more_metrics()) if "loss" in logs else logs, start_time)

    def take_up(self, checkpoint: Path) -> bool:
        """Load the extra states of a checkpoint; True where what they say ends training, whatever steps are left."""
        self.load_extra_states(_read(str(checkpoint)))
        return self.has_ended()

    def has_ended(self) -> bool:
        """Tell whether training is over before its last step."""
        return False

    def extra_states(self) -> dict[str, Any]:
        """Give what else a kind of training must find again: tensors and numbers, by name."""
        return {}

    def load_extra_states(self, states: dict[str, Any]) -> None:
        """Take up what `extra_states` gave; `states` holds the rest of the checkpoint too."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random_states(_read(checkpoint))
            _check_random_states(Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """There is none: bfloat16 needs no scaling of the loss."""


def load_weights(policy: Policy, checkpoint: Path) -> None:
    """Give what is trained, an adapter or a whole model, the weights of a checkpoint; UnfitCheckpointError."""
    if isinstance(policy, PeftModel):
        load_adapter(policy, checkpoint)
    else:
        _load_model(policy, checkpoint)


def _load_model(model: PreTrainedModel, checkpoint: Path) -> None:
    weights, like = load_file(checkpoint / MODEL_FILE), own_weights(model)
    if weights.keys() != like.keys():
        other = ", ".join(sorted(weights.keys() ^ like.keys())[:3])
        raise UnfitCheckpointError(f"the checkpoint is of a model with other tensors: {other}")
    put_tensors(model, weights)


def load_adapter(policy: PeftModel, checkpoint: Path) -> None:
    """Give the adapter that is trained the weights of a checkpoint."""
    put_tensors(policy, load_file(checkpoint / ADAPTER_FOLDER / "adapter_model.safetensors"))


def _check_random_states(checkpoint: Path) -> None:
    """Hold the generators against the manifest; UnfitCheckpointError. Those of GPUs are as many as there are now."""
    wanted, now = random_sha256_of(checkpoint), random_sha256(random_states())
    other = [name for name in wanted if name != "cuda_rng" and now[name] != wanted[name]]
    if other:
        raise UnfitCheckpointError(f"the random states {', '.join(other)} are not those of the checkpoint")


def _read(checkpoint: str) -> dict[str, Any]:
    return torch.load(Path(checkpoint) / STATE, map_location="cpu", weights_only=True)
