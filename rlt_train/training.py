"""Own the course of a TRL trainer inside a job: progress and checkpoints after each step, a resume, a clean end."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_core.log_records import bind, bound
from rlt_core.schemas.trainer import BranchPoint, ProgressEvent
from rlt_train.checkpoints import (
    TRAINER_STATE,
    Checkpoint,
    Place,
    newest_verified,
    oldest_kept,
    save_checkpoint,
)
from rlt_train.context import JobContext
from rlt_train.data_order import DataCourse, set_epoch
from rlt_train.errors import DivergedError, InvalidTrainingDataError, StopRequested
from rlt_train.models import trained_model
from rlt_train.randomness import random_states
from rlt_train.ranks import check_gpus
from rlt_train.resuming import FromOurCheckpoints, load_weights
from rlt_train.together import check_same, meet
from rlt_train.writers import from_logs, writer_arguments

LOGGER = logging.getLogger(__name__)


def common_arguments(context: JobContext) -> dict[str, Any]:
    """Give the settings that every kind shares: TRL itself saves, reports and prints nothing.

    Raises ConfigurationError where `parallel` asks for what this machine has not.
    """
    accelerated = torch.cuda.is_available()
    check_gpus(context.job.training.parallel, gpus=torch.cuda.device_count())
    return {
        "output_dir": str(Path(context.job.attempt_dir) / "trainer"),
        "seed": context.job.training.seed,
        "learning_rate": context.job.training.learning_rate,
        "use_cpu": not accelerated,
        "bf16": accelerated,
        "gradient_checkpointing": context.job.training.gradient_checkpointing,
        "logging_steps": 1,
        "save_strategy": "no",
        **writer_arguments(
            context.job.training.report_to,
            folder=context.attempt_dir,
            name=f"{context.job.training.target_name} {context.job.job_id}",
        ),
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": accelerated,
        "ddp_find_unused_parameters": False,
        # Each rank takes its rows in as many passes as they need: none of them may wait for the other ranks.
        "ddp_broadcast_buffers": False,
    }


class StepReporter(TrainerCallback):
    """Turn TRL's log of a step into a progress event, and save checkpoints when they are due."""

    def __init__(
        self,
        trainer: Trainer,
        *,
        context: JobContext,
        course: DataCourse,
        save_every: int,
        first_step: int,
        kept: Callable[[int], None],
    ) -> None:
        self._trainer = trainer
        self._context = context
        self._course = course
        self._save_every = save_every
        self._first_step = first_step
        self._kept = kept
        self._began_s = time.monotonic()
        self._randomness: dict[str, Any] = {}

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **_: object,
    ) -> None:
        """Tell the sampler its epoch, which the trainer does not where ranks skip what an epoch's first steps took."""
        set_epoch(train_dataloader, self._course.at(state.global_step).epoch)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Let records name the step that begins."""
        bind(step=state.global_step + 1)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Note the random states of a step that is whole: a stop comes in the middle of the next, or before its end."""
        self._randomness = random_states()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Save a checkpoint if this step is due for one."""
        due = self._save_every and state.global_step % self._save_every == 0
        if due or state.global_step == state.max_steps or control.should_training_stop:
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
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        LOGGER.info("step %d of %d is done", state.global_step, state.max_steps)
        numbers = {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
        per_step_s = (time.monotonic() - self._began_s) / max(state.global_step - self._first_step, 1)
        self._context.events.emit(
            ProgressEvent(
                step=state.global_step,
                total=state.max_steps,
                eta_s=per_step_s * (state.max_steps - state.global_step),
                metrics=_wanted(numbers) | from_logs(numbers),
            )
        )

    def checkpoint(self, *, step: int) -> None:
        """Save the state after `step` and say so; older ones go. ZeRO-3's is in parts that nobody gathers."""
        job = self._context.job
        if job.training.parallel.strategy == "deepspeed_zero3":
            return
        place = Place(step=step, cursor=self._course.at(step), randomness=self._randomness)
        event = save_checkpoint(self._trainer, job=job, place=place)
        if event is not None:
            self._context.events.emit(event)
            self._kept(oldest_kept(job))
        meet()  # a rank that ended now would have the launcher end the one that writes


def find_checkpoint(context: JobContext, *, course: DataCourse) -> Checkpoint | None:
    """Find where an earlier attempt left off; what does not verify is said and passed over."""
    found, faults = newest_verified(context.job.resume_points, job=context.job, cursor_at=course.at)
    for fault in faults:
        context.events.log(f"{fault}; an older one is looked for", level="warning")
    if found is None and context.job.branch_point is not None:
        found = _branched(context, context.job.branch_point, course=course)
    check_same(0 if found is None else found.step, what="the step that training goes on after")
    if found is None:
        if context.job.resume_points:
            context.events.log("no checkpoint can be used: training starts anew", level="warning")
        return None
    whose = f" of {context.job.training.resume_from}" if found.is_others else ""
    context.events.log(f"goes on after step {found.step}{whose}")
    if found.threads != torch.get_num_threads():
        context.events.log(
            f"the checkpoint was computed by {found.threads} threads, here are {torch.get_num_threads()}: sums are in "
            "another order, so the last digits will differ",
            level="warning",
        )
    return found


def _branched(context: JobContext, point: BranchPoint, *, course: DataCourse) -> Checkpoint:
    """Take another job's checkpoint; InvalidTrainingDataError where it does not verify, since it was asked for."""
    found, faults = newest_verified([point], job=context.job, cursor_at=course.at)
    if found is None:
        raise InvalidTrainingDataError(f"resume_from cannot be used: {'; '.join(faults)}", param="/resume_from")
    return found


def train(
    trainer: Trainer,
    *,
    context: JobContext,
    course: DataCourse,
    save_every: int,
    resume: Checkpoint | None = None,
    more: Callable[[], dict[str, float]] = dict,
    kept: Callable[[int], None] = lambda _: None,
) -> None:
    """Run the trainer to its end; on a stop, or where it diverges, save the last whole step and raise.

    `more` gives a step's own metrics; `kept` hears of which step the oldest checkpoint is.
    """
    first_step = 0 if resume is None else resume.step
    if context.job.training.parallel.strategy == "deepspeed_zero3":
        context.events.log("with ZeRO-3 no checkpoints are saved: a job that is stopped begins anew", level="warning")
    reporter = StepReporter(
        trainer, context=context, course=course, save_every=save_every, first_step=first_step, kept=kept
    )
    branches = resume is not None and resume.is_others
    if branches and first_step >= trainer.args.max_steps:
        raise InvalidTrainingDataError(
            f"resume_from is a checkpoint of step {first_step}, and the job has {trainer.args.max_steps} steps from "
            "the start of training: nothing is left to train",
            param="/resume_from",
        )
    if isinstance(trainer, FromOurCheckpoints):
        trainer.more_metrics = more
        trainer.branches = branches
    trainer.add_callback(reporter)
    trainer.remove_callback(PrinterCallback)
    ended = resume is not None and isinstance(trainer, FromOurCheckpoints) and trainer.take_up(resume.folder)
    if resume is not None and (ended or resume.step >= trainer.args.max_steps):
        load_weights(trained_model(trainer), resume.folder)
        trainer.state = TrainerState.load_from_json(str(resume.folder / TRAINER_STATE))
        return
    with bound():  # what is logged afterwards, of the gate say, is of no step
        try:
            trainer.train(resume_from_checkpoint=None if resume is None else str(resume.folder))
        except (StopRequested, DivergedError):
            step = trainer.state.global_step
            if step > first_step:
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
