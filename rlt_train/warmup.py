"""Own the `warmup` kind: supervised fine-tuning of an adapter, or of all weights, for a teacher or a student."""

import time
from functools import partial
from pathlib import Path

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig

from rlt_core.batching import epoch_steps, micro_batch_rows
from rlt_core.errors import ConfigurationError
from rlt_core.schemas.jobs import WarmupSpec
from rlt_core.schemas.trainer import ResultEvent
from rlt_train.context import JobContext
from rlt_train.data import Example, load_splits, warmup_examples, without_loss
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.models import load_padding_tokenizer, load_policy, load_whole, padding_id, policy_rank, save_policy
from rlt_train.optimization import optimizer_arguments
from rlt_train.pass_plan import plan_passes
from rlt_train.sft import RltSftTrainer, collate_left
from rlt_train.training import common_arguments, find_checkpoint, train


def run_warmup(context: JobContext) -> ResultEvent:
    """Train on the rows' reasoning traces and write what was trained (paper, section 4.1)."""
    spec, job = context.job.spec, context.job
    if not isinstance(spec, WarmupSpec):
        raise ConfigurationError(f"a {spec.kind} spec was handed to the warm-up")
    began_s = time.monotonic()
    rows = load_splits(job).train
    examples = warmup_examples(rows, role=spec.role, codec=context.codec, max_tokens=spec.max_tokens)
    if examples.dropped:
        context.events.log(f"{examples.dropped} of {len(rows)} rows are longer than {spec.max_tokens} tokens: left out")
    trainer = _trainer(context, spec, examples.kept)
    course = trainer.course(job)
    resume = find_checkpoint(context, course=course)
    train(trainer, context=context, course=course, save_every=spec.save_every, resume=resume)
    target = context.attempt_dir / "adapter"
    sha256 = save_policy(trainer.policy, target, base_model=job.base_model)
    return ResultEvent(
        adapter_dir=str(target),
        sha256=sha256,
        lora_rank=policy_rank(trainer.policy),
        base_model=job.base_model,
        steps=trainer.state.global_step,
        parent=job.teacher_version if spec.role == "teacher" else job.student_version,
        cost={"train_s": time.monotonic() - began_s},
    )


def _trainer(context: JobContext, spec: WarmupSpec, examples: tuple[Example, ...]) -> RltSftTrainer:
    job, base_dir = context.job, Path(context.job.base_model_dir)
    start = Path(job.start_adapter_dir) if job.start_adapter_dir else None
    tokenizer = load_padding_tokenizer(base_dir)
    longest = max(len(example.token_ids) for example in examples)
    batch = min(spec.batch_size, len(examples))
    ranks = spec.parallel.processes
    if batch % ranks:
        raise InvalidTrainingDataError(
            f"{batch} rows in a step ({len(examples)} fit) cannot be shared out among {ranks} processes: choose a "
            "batch_size that divides by them",
            param="/batch_size",
        )
    rows = micro_batch_rows(batch // ranks, tokens_per_row=longest)
    # Ranks take a micro-batch whole: passes would have to be the same in all of them.
    pass_rows = None
    if ranks == 1:
        pass_rows = plan_passes(context, rows=rows, tokens_of=lambda count: (count * longest, count * longest, longest))
    steps = epoch_steps(rows=len(examples), batch=batch, epochs=spec.epochs, max_steps=spec.max_steps)
    arguments = SFTConfig(
        **common_arguments(context),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=batch // (rows * ranks),
        **optimizer_arguments(spec, steps=steps),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    fillers = () if ranks == 1 else (without_loss(min(examples, key=lambda item: len(item.token_ids))),)
    columns = [{"input_ids": list(item.token_ids), "labels": list(item.labels)} for item in (*examples, *fillers)]
    whole = spec.lora is None
    model = load_whole(base_dir) if whole else load_policy(base_dir, adapter_dir=start, lora=spec.lora, seed=spec.seed)
    trainer = RltSftTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(columns),
        processing_class=tokenizer,
        data_collator=partial(collate_left, pad_token_id=padding_id(tokenizer)),
        stop=context.stop,
    )
    trainer.divergence = spec.divergence
    trainer.bound_passes(pass_rows, events=context.events)
    trainer.filler = len(examples) if fillers else None
    return trainer
