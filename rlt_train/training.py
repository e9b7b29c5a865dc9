"""Own the course of a TRL trainer inside a job: progress and checkpoints after each step, a clean end on a stop."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.checkpoints import save_checkpoint
from rlt_train.context import JobContext
from rlt_train.errors import StopRequested

MICRO_BATCH_TOKENS = 4096
"""Tokens in one forward and backward pass at most: what 24 GiB hold of a small model's activations in fp32."""


def common_arguments(context: JobContext) -> dict[str, Any]:
    """Give the settings that every kind shares: TRL itself saves, reports and prints nothing."""
    accelerated = torch.cuda.is_available()
    return {
        "output_dir": str(Path(context.job.attempt_dir) / "trainer"),
        "seed": context.job.spec.seed,
        "learning_rate": context.job.spec.learning_rate,
        "use_cpu": not accelerated,
        "bf16": accelerated,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": accelerated,
    }


def micro_batch_rows(rows: int, *, tokens_per_row: int) -> int:
    """Choose the largest divisor of `rows` whose tokens fit into one pass (at least 1)."""
    fitting = [size for size in range(1, rows + 1) if rows % size == 0 and size * tokens_per_row <= MICRO_BATCH_TOKENS]
    return max(fitting, default=1)


class StepReporter(TrainerCallback):
    """Turn TRL's log of a step into a progress event, and save checkpoints when they are due."""

    def __init__(
        self, trainer: Trainer, *, context: JobContext, save_every: int, more: Callable[[], dict[str, float]]
    ) -> None:
        self._trainer = trainer
        self._context = context
        self._save_every = save_every
        self._more = more
        self._began_s = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Save a checkpoint if this step is due for one."""
        if self._save_every and state.global_step % self._save_every == 0:
            self.checkpoint(step=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Send progress for a training step; TRL's closing summary is none."""
        if logs is None or "loss" not in logs:
            return
        numbers = {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
        per_step_s = (time.monotonic() - self._began_s) / max(state.global_step, 1)
        self._context.events.emit(
            ProgressEvent(
                step=state.global_step,
                total=state.max_steps,
                eta_s=per_step_s * (state.max_steps - state.global_step),
                metrics=_wanted(numbers) | self._more(),
            )
        )

    def checkpoint(self, *, step: int) -> None:
        """Save the state after `step` and say so."""
        event = save_checkpoint(self._trainer, job=self._context.job, step=step)
        if event is not None:
            self._context.events.emit(event)


def train(
    trainer: Trainer, *, context: JobContext, save_every: int, more: Callable[[], dict[str, float]] = dict
) -> None:
    """Run the trainer to its end; on a stop, save the last whole step and raise StopRequested."""
    reporter = StepReporter(trainer, context=context, save_every=save_every, more=more)
    trainer.add_callback(reporter)
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    except StopRequested:
        step = trainer.state.global_step
        if step > 0:
            reporter.checkpoint(step=step)
        context.events.log(f"stopped after step {step}", level="warning")
        raise


_NAMES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "kl": "kl",
    "entropy": "entropy",
    "reward_std": "reward_std",
    "frac_reward_zero_std": "groups_without_spread",
    "mean_token_accuracy": "token_accuracy",
}


def _wanted(numbers: dict[str, float]) -> dict[str, float]:
    return {ours: numbers[theirs] for theirs, ours in _NAMES.items() if theirs in numbers}
