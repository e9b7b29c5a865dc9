"""Own the `rl` kind: GRPO of a teacher on a student's log-probs, every rollout through the services."""

import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoConfig
from trl.trainer.grpo_config import GRPOConfig

from rlt_core.batching import micro_batch_rows, passed_tokens
from rlt_core.errors import ConfigurationError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import RlSpec
from rlt_core.schemas.trainer import EvaluationEvent, ResultEvent
from rlt_core.splits import SplitRows
from rlt_train.context import JobContext
from rlt_train.data import load_splits
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.evaluation import compare, evaluate_version
from rlt_train.experience import Experience, given_reward
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.journal import Journal
from rlt_train.models import adapter_rank, load_padding_tokenizer, load_policy, save_adapter
from rlt_train.optimization import optimizer_arguments
from rlt_train.pass_plan import plan_passes, rl_pass
from rlt_train.publishing import PublishAfterStep, Publisher
from rlt_train.resuming import load_adapter
from rlt_train.rollouts import Collector, SamplingPlan
from rlt_train.selection import Selection
from rlt_train.services import Services
from rlt_train.together import from_first
from rlt_train.token_tree import can_share_beginnings
from rlt_train.training import common_arguments, find_checkpoint, train


def run_rl(context: JobContext, *, trainer_class: type[RltGrpoTrainer] = RltGrpoTrainer) -> ResultEvent:
    """Train the teacher, publish every step's policy, compare the last with what serves (paper, section 3).

    Of several ranks the first alone calls the services, and tells the others what it heard.
    `trainer_class` lets a test look into the loss.
    """
    began_s = time.monotonic()
    job, spec = context.job, _checked(context)
    parts = _parts(context, spec)
    services = context.connect()
    publisher = Publisher(services, context=context)
    earlier = [Path(folder) for folder in job.journal_dirs]
    journal = Journal(context.attempt_dir / "journal", job_id=job.job_id, earlier=earlier)
    experience = Experience(
        _collector(context, spec, services, samples=spec.samples_per_question, max_dropped=spec.max_dropped),
        publisher=publisher,
        rows=parts.train,
        journal=journal,
        context=context,
        replacement_rounds=spec.dynamic_sampling,
    )
    trainer = _trainer(trainer_class, context=context, spec=spec, experience=experience, publisher=publisher)
    selection = _selection(trainer, context=context, spec=spec, services=services, publisher=publisher, parts=parts)
    course = trainer.course(job)
    resume = find_checkpoint(context, course=course)
    if resume is not None:
        load_adapter(trainer.policy, resume.folder)
    publisher.publish(trainer.policy, step=0 if resume is None else resume.step)
    train(
        trainer,
        context=context,
        course=course,
        save_every=spec.save_every,
        resume=resume,
        more=lambda: experience.take_metrics(trainer) | (selection.take_metrics() if selection else {}),
        kept=lambda step: journal.forget(before=step),
    )
    if selection is not None and selection.restore_best(last_step=trainer.state.global_step):
        publisher.publish(trainer.policy, step=trainer.state.global_step + 1)
    target = context.attempt_dir / "adapter"
    sha256 = save_adapter(trainer.policy, target, base_model=job.base_model)
    trained_s = time.monotonic()
    if parts.gate:
        gate = partial(_gate, context, spec, services, rows=parts.gate, candidate=publisher.current.version)
        context.events.emit(from_first(gate))
    return ResultEvent(
        adapter_dir=str(target),
        sha256=sha256,
        lora_rank=adapter_rank(trainer.policy),
        base_model=job.base_model,
        steps=trainer.state.global_step,
        parent=job.teacher_version,
        cost=experience.cost
        | ({"select_s": selection.spent_s} if selection else {})
        | {"evaluate_s": time.monotonic() - trained_s, "total_s": time.monotonic() - began_s},
    )


def _checked(context: JobContext) -> RlSpec:
    spec, job = context.job.spec, context.job
    if not isinstance(spec, RlSpec):
        raise ConfigurationError(f"a {spec.kind} spec was handed to rl")
    if job.student_version is None or not job.base_url:
        raise ConfigurationError("an rl job needs student_version and base_url")
    return spec


def _parts(context: JobContext, spec: RlSpec) -> SplitRows:
    parts = load_splits(context.job)
    if len(parts.train) < spec.questions_per_step:
        raise InvalidTrainingDataError(
            f"{len(parts.train)} questions are left to train on, fewer than questions_per_step = "
            f"{spec.questions_per_step}: lower it, or hold less out",
            param="/questions_per_step",
        )
    return parts


def _collector(
    context: JobContext,
    spec: RlSpec,
    services: Services,
    *,
    samples: int,
    max_dropped: float = 0.0,
    first_student_only: bool = False,
) -> Collector:
    others = [] if first_student_only else context.job.other_student_versions
    plan = SamplingPlan(
        samples=samples,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
        student_versions=(str(context.job.student_version), *others),
        student_reduction=spec.student_reduction,
        max_dropped=max_dropped,
        reward=spec.reward,
        format_id=context.job.format_id,
    )
    return Collector(
        services,
        codec=context.codec,
        plan=plan,
        stop=context.stop,
        report=lambda said: context.events.log(said, level="warning"),
    )


def _selection(
    trainer: RltGrpoTrainer,
    *,
    context: JobContext,
    spec: RlSpec,
    services: Services,
    publisher: Publisher,
    parts: SplitRows,
) -> Selection | None:
    if not spec.eval_every:
        return None
    if not parts.select:
        raise InvalidTrainingDataError("eval_every measures on select questions, and none is held out", param="/splits")
    collector = _collector(context, spec, services, samples=1)
    selection = Selection(
        trainer.policy,
        rows=parts.select,
        measure=lambda rows: from_first(lambda: evaluate_version(collector, rows, version=publisher.current.version)),
        every=spec.eval_every,
        patience=spec.patience,
        context=context,
    )
    trainer.select_by(selection)
    return selection


def _trainer(
    trainer_class: type[RltGrpoTrainer],
    *,
    context: JobContext,
    spec: RlSpec,
    experience: Experience,
    publisher: Publisher,
) -> RltGrpoTrainer:
    job, base_dir, rows = context.job, Path(context.job.base_model_dir), experience.rows
    start = Path(job.start_adapter_dir) if job.start_adapter_dir else None
    config = AutoConfig.from_pretrained(base_dir, local_files_only=True, trust_remote_code=False)
    shares = spec.parallel.strategy == "ddp" and can_share_beginnings(config)
    longest = _longest_prompt(context, rows)
    arguments = _grpo_arguments(spec, longest_prompt=longest, shares=shares)
    micro_rows: int = arguments["per_device_train_batch_size"]
    # Ranks take a micro-batch whole: it is not taken again in smaller passes.
    pass_rows = None
    if spec.parallel.processes == 1:
        pass_rows = _plan_passes(context, spec, longest_prompt=longest, shares=shares, micro_rows=micro_rows)
    # A PeftModel: TRL then keeps a frozen copy of its adapter as the reference, which is the warm-up.
    policy = load_policy(base_dir, adapter_dir=start, lora=spec.lora, seed=spec.seed)
    with warnings.catch_warnings():
        # TRL is pinned to the one version whose rollout_func was read and tested here.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'", category=UserWarning)
        trainer = trainer_class(
            model=policy,
            reward_funcs=[given_reward],
            args=GRPOConfig(**common_arguments(context), **arguments),
            train_dataset=Dataset.from_list([{"prompt": str(row.id)} for row in rows]),
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
    context: JobContext, spec: RlSpec, *, longest_prompt: int, shares: bool, micro_rows: int
) -> int | None:
    return plan_passes(
        context,
        rows=micro_rows,
        tokens_of=lambda count: rl_pass(
            spec, longest_prompt=longest_prompt, rows=count, micro_rows=micro_rows, shares=shares
        ),
    )


def _longest_prompt(context: JobContext, rows: Sequence[DatasetRow]) -> int:
    prompts = [context.codec.teacher_sequence(question=row.question, solution=row.solution) for row in rows]
    return max(len(prompt.token_ids) for prompt in prompts)


def _grpo_arguments(spec: RlSpec, *, longest_prompt: int, shares: bool) -> dict[str, Any]:
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


def _importance_arguments(spec: RlSpec) -> dict[str, Any]:
    if spec.importance_correction == "ratio":
        return {"vllm_importance_sampling_correction": False}
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": spec.importance_correction,
        "vllm_importance_sampling_clip_max": spec.importance_cap,
    }


def _gate(
    context: JobContext, spec: RlSpec, services: Services, *, rows: Sequence[DatasetRow], candidate: str
) -> EvaluationEvent:
    job = context.job
    collector = _collector(context, spec, services, samples=1, first_student_only=True)
    served = job.served_version
    context.events.log(f"comparing {candidate} with {served or 'nothing'} on {len(rows)} held-out questions")
    before = evaluate_version(collector, rows, version=served) if served else []
    after = evaluate_version(collector, rows, version=candidate)
    path = context.attempt_dir / "evaluation.jsonl"
    return compare(before=before, after=after, path=path, student=str(job.student_version), format_id=job.format_id)
