"""Own the training of a policy by GRPO, whatever its rollouts are of: publish, collect, step, choose, save."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from datasets import Dataset
from transformers import AutoConfig
from trl.trainer.grpo_config import GRPOConfig

from rlt_core.batching import micro_batch_rows, passed_tokens
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import PolicySpec
from rlt_core.schemas.trainer import ResultEvent
from rlt_core.schemas.training import GrpoSpec
from rlt_core.splits import SplitRows
from rlt_core.tokens import EncodedSequence
from rlt_train.collected import Collects, RolloutT
from rlt_train.context import JobContext
from rlt_train.data import load_splits
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.experience import Experience, given_reward
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.journal import Journal
from rlt_train.models import load_padding_tokenizer, load_policy, load_whole, policy_rank, save_policy
from rlt_train.optimization import optimizer_arguments
from rlt_train.pass_plan import plan_passes, rl_pass
from rlt_train.publishing import PublishAfterStep, Publisher
from rlt_train.resuming import load_weights
from rlt_train.rollout_kinds import RolloutKind
from rlt_train.selection import Choice
from rlt_train.token_tree import can_share_beginnings
from rlt_train.training import common_arguments, find_checkpoint, train


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson(Generic[RolloutT]):
    """What a kind of reinforcement brings: who collects, what of, and how a policy is chosen."""

    collector: Collects[RolloutT]
    kind: RolloutKind[RolloutT]
    prompt: Callable[[DatasetRow], EncodedSequence]
    """What the policy reads of a row."""
    choose: Callable[[RltGrpoTrainer], Choice | None]
    """Makes the choice among the run's policies; None takes the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedPolicy:
    """A policy that was trained and saved."""

    adapter_dir: Path
    sha256: str
    lora_rank: int | None
    """None for a whole model."""
    steps: int
    cost: dict[str, float]
    """Seconds and tokens by part, without what came after."""

    def result(self, context: JobContext, *, cost: dict[str, float]) -> ResultEvent:
        """Tell of it; `cost` is what came after."""
        return ResultEvent(
            adapter_dir=str(self.adapter_dir),
            sha256=self.sha256,
            lora_rank=self.lora_rank,
            base_model=context.job.base_model,
            steps=self.steps,
            parent=context.job.begun,
            cost=self.cost | cost,
        )


def policy_parts(context: JobContext, spec: GrpoSpec) -> SplitRows:
    """Divide the job's rows; raises InvalidTrainingDataError where they are fewer than a step takes."""
    parts = load_splits(context.job)
    if len(parts.train) < spec.questions_per_step:
        raise InvalidTrainingDataError(
            f"{len(parts.train)} questions are left to train on, fewer than questions_per_step = "
            f"{spec.questions_per_step}: lower it, or hold less out",
            param="/questions_per_step",
        )
    if spec.eval_every and not parts.select:
        raise InvalidTrainingDataError("eval_every measures on select questions, and none is held out", param="/splits")
    return parts


def train_policy(
    context: JobContext,
    spec: PolicySpec,
    lesson: Lesson[RolloutT],
    *,
    parts: SplitRows,
    publisher: Publisher,
    trainer_class: type[RltGrpoTrainer],
) -> TrainedPolicy:
    """Train from the job's start, or from where an earlier attempt left off, and publish every step's policy.

    Of several ranks the first alone calls the services, and tells the others what it heard.
    """
    job = context.job
    earlier = [Path(folder) for folder in job.journal_dirs]
    journal = Journal(context.attempt_dir / "journal", job_id=job.job_id, earlier=earlier, kind=lesson.kind)
    experience = Experience(
        lesson.collector,
        kind=lesson.kind,
        publisher=publisher,
        rows=parts.train,
        journal=journal,
        context=context,
        replacement_rounds=spec.dynamic_sampling,
    )
    trainer = _trainer(
        trainer_class, context=context, spec=spec, experience=experience, publisher=publisher, prompt=lesson.prompt
    )
    choice = lesson.choose(trainer)
    if choice is not None:
        trainer.select_by(choice)
    course = trainer.course(job)
    resume = find_checkpoint(context, course=course)
    if resume is not None:
        load_weights(trainer.policy, resume.folder)
    publisher.publish(trainer.policy, step=0 if resume is None else resume.step)
    train(
        trainer,
        context=context,
        course=course,
        save_every=spec.save_every,
        resume=resume,
        more=lambda: experience.take_metrics(trainer) | (choice.take_metrics() if choice else {}),
        kept=lambda step: journal.forget(before=step),
    )
    if choice is not None and choice.restore_best(last_step=trainer.state.global_step):
        publisher.publish(trainer.policy, step=trainer.state.global_step + 1)
    target = context.attempt_dir / "adapter"
    return TrainedPolicy(
        adapter_dir=target,
        sha256=save_policy(trainer.policy, target, base_model=job.base_model),
        lora_rank=policy_rank(trainer.policy),
        steps=trainer.state.global_step,
        cost=experience.cost | ({"select_s": choice.spent_s} if choice else {}),
    )


def _trainer(
    trainer_class: type[RltGrpoTrainer],
    *,
    context: JobContext,
    spec: PolicySpec,
    experience: Experience[RolloutT],
    publisher: Publisher,
    prompt: Callable[[DatasetRow], EncodedSequence],
) -> RltGrpoTrainer:
    job, base_dir, rows = context.job, Path(context.job.base_model_dir), experience.rows
    start = Path(job.start_adapter_dir) if job.start_adapter_dir else None
    config = AutoConfig.from_pretrained(base_dir, local_files_only=True, trust_remote_code=False)
    shares = spec.parallel.strategy == "ddp" and can_share_beginnings(config)
    longest = max(len(prompt(row).token_ids) for row in rows)
    arguments = _grpo_arguments(spec, longest_prompt=longest, shares=shares)
    micro_rows: int = arguments["per_device_train_batch_size"]
    # Ranks take a micro-batch whole: it is not taken again in smaller passes.
    pass_rows = None
    if spec.parallel.processes == 1:
        pass_rows = _plan_passes(context, spec, longest_prompt=longest, shares=shares, micro_rows=micro_rows)
    # The reference is where it began: of a PeftModel TRL keeps a frozen copy of its adapter, and a whole model it loads
    # once more from the folder that this one came from.
    policy = (
        load_whole(start or base_dir)
        if spec.lora is None
        else load_policy(base_dir, adapter_dir=start, lora=spec.lora, seed=spec.seed)
    )
    with warnings.catch_warnings():
        # TRL is pinned to the one version whose rollout_func was read and tested here.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'", category=UserWarning)
        trainer = trainer_class(
            model=policy,
            reward_funcs=[given_reward],
            args=GRPOConfig(**common_arguments(context), **arguments),
            train_dataset=Dataset.from_dict({"prompt": [str(row.id) for row in rows]}),
            processing_class=load_padding_tokenizer(base_dir),
            rollout_func=experience,
            callbacks=[PublishAfterStep(publisher)],
            stop=context.stop,
        )
    trainer.divergence = spec.divergence
    trainer.bound_passes(pass_rows, events=context.events)
    if spec.reference_every:
        trainer.move_reference(every=spec.reference_every, mix=spec.reference_mix)
    if spec.max_staleness:
        experience.work_ahead(trainer.course(job))
    return trainer


def _plan_passes(
    context: JobContext, spec: GrpoSpec, *, longest_prompt: int, shares: bool, micro_rows: int
) -> int | None:
    return plan_passes(
        context,
        rows=micro_rows,
        tokens_of=lambda count: rl_pass(
            spec, longest_prompt=longest_prompt, rows=count, micro_rows=micro_rows, shares=shares
        ),
    )


def _grpo_arguments(spec: GrpoSpec, *, longest_prompt: int, shares: bool) -> dict[str, Any]:
    completions = spec.questions_per_step * spec.samples_per_question // spec.parallel.processes
    tokens = passed_tokens(
        longest_prompt=longest_prompt, max_tokens=spec.max_tokens, samples=spec.samples_per_question, shares=shares
    )
    micro_rows = micro_batch_rows(completions, tokens_per_row=tokens)
    micro_batches = completions // micro_rows
    return {
        "max_steps": spec.steps,
        "per_device_train_batch_size": micro_rows,
        # Aligned: one generation, one optimizer step, so the rollouts are always of the policy that is trained.
        "gradient_accumulation_steps": micro_batches,
        "steps_per_generation": micro_batches,
        "num_iterations": 1,
        "num_generations": spec.samples_per_question,
        "max_completion_length": spec.max_tokens,
        "temperature": spec.temperature,
        "beta": spec.beta,
        "use_bias_correction_kl": spec.unbiased_kl,
        "loss_type": spec.loss_type,
        "scale_rewards": spec.scale_rewards,
        "epsilon": spec.epsilon,
        "epsilon_high": spec.epsilon_high,
        **_importance_arguments(spec),
        **optimizer_arguments(spec, steps=spec.steps),
        "disable_dropout": True,
        # Completions end in a tag; TRL takes whatever does not end in EOS for truncated.
        "mask_truncated_completions": False,
    }


def _importance_arguments(spec: GrpoSpec) -> dict[str, Any]:
    if spec.importance_correction == "ratio":
        return {"vllm_importance_sampling_correction": False}
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": spec.importance_correction,
        "vllm_importance_sampling_clip_max": spec.importance_cap,
    }
