"""Own the kinds `warmup` and `distill`: supervised fine-tuning of an adapter, or of all weights.

They differ in what a row teaches (rlt_core.traces) and in what the result is: a teacher or a student, or a student.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor
from trl.trainer.sft_config import SFTConfig

from rlt_core.batching import MICRO_BATCH_TOKENS, epoch_steps, micro_batch_rows
from rlt_core.errors import ConfigurationError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import DistillSpec, SupervisedSpec, WarmupSpec
from rlt_core.schemas.trainer import ResultEvent
from rlt_train.context import JobContext
from rlt_train.data import Example, Examples, load_splits, warmup_examples, with_filler
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.example_file import ExampleFile, write_examples
from rlt_train.models import load_padding_tokenizer, load_policy, load_whole, padding_id, policy_rank, save_policy
from rlt_train.optimization import optimizer_arguments
from rlt_train.pass_plan import plan_passes
from rlt_train.ranks import own_rank
from rlt_train.selection import LossSelection
from rlt_train.sft import RltSftTrainer, collate_left
from rlt_train.training import common_arguments, find_checkpoint, train


def run_warmup(context: JobContext) -> ResultEvent:
    """Train on the rows' traces and write what was trained (paper, sections 4.1 and 4.2)."""
    spec, job = context.job.spec, context.job
    if not isinstance(spec, WarmupSpec | DistillSpec):
        raise ConfigurationError(f"a {spec.kind} spec was handed to supervised fine-tuning")
    began_s = time.monotonic()
    parts = load_splits(job)
    examples = _on_disk(context, spec, parts.train)
    trainer = _trainer(context, spec, examples)
    selection = _selection(trainer, context=context, spec=spec, rows=parts.select)
    course = trainer.course(job)
    resume = find_checkpoint(context, course=course)
    train(
        trainer,
        context=context,
        course=course,
        save_every=spec.save_every,
        resume=resume,
        more=lambda: trainer.speed.take_metrics() | (selection.take_metrics() if selection else {}),
    )
    if selection is not None:
        selection.restore_best(last_step=trainer.state.global_step)
    target = context.attempt_dir / "adapter"
    sha256 = save_policy(trainer.policy, target, base_model=job.base_model)
    return ResultEvent(
        adapter_dir=str(target),
        sha256=sha256,
        lora_rank=policy_rank(trainer.policy),
        base_model=job.base_model,
        steps=trainer.state.global_step,
        parent=job.teacher_version if spec.role == "teacher" else job.student_version,
        cost={"train_s": time.monotonic() - began_s, "trained_tokens": float(trainer.speed.trained_tokens)}
        | ({"select_s": selection.spent_s} if selection else {}),
    )


def _on_disk(context: JobContext, spec: SupervisedSpec, rows: Sequence[DatasetRow]) -> ExampleFile:
    """Encode the rows to train on, one at a time; several ranks have a file each, with a row that bears no loss last.

    Raises InvalidTrainingDataError where none can be read.
    """
    found = _encoded(context, spec, rows)
    path = context.attempt_dir / f"examples-{own_rank().index}.arrow"
    written = write_examples(found if spec.parallel.processes == 1 else with_filler(found), path)
    _tell_dropped(context, spec, found, of=len(rows), what="rows")
    return written


def _encoded(context: JobContext, spec: SupervisedSpec, rows: Sequence[DatasetRow]) -> Examples:
    return warmup_examples(rows, role=spec.role, codec=context.codec, max_tokens=spec.max_tokens, kind=spec.kind)


def _tell_dropped(context: JobContext, spec: SupervisedSpec, found: Examples, *, of: int, what: str) -> None:
    if found.dropped:
        context.events.log(f"{found.dropped} of {of} {what} are longer than {spec.max_tokens} tokens: left out")


def _selection(
    trainer: RltSftTrainer, *, context: JobContext, spec: SupervisedSpec, rows: Sequence[DatasetRow]
) -> LossSelection | None:
    if not spec.eval_every:
        return None
    if not rows:
        raise InvalidTrainingDataError("eval_every measures on select questions, and none is held out", param="/splits")
    found = _encoded(context, spec, rows)
    examples = list(found)
    _tell_dropped(context, spec, found, of=len(rows), what="select rows")
    batches = _batches(examples, pad_token_id=padding_id(load_padding_tokenizer(Path(context.job.base_model_dir))))
    selection = LossSelection(
        trainer.policy,
        questions=len(examples),
        measure=lambda: trainer.held_out_loss(batches),
        every=spec.eval_every,
        patience=spec.patience,
        context=context,
    )
    trainer.select_by(selection)
    return selection


def _batches(examples: Sequence[Example], *, pad_token_id: int) -> list[dict[str, Tensor]]:
    """Collate rows of like length, as many at a time as training would read."""
    longest_first = sorted(examples, key=lambda example: -len(example.token_ids))
    at_a_time = max(1, MICRO_BATCH_TOKENS // len(longest_first[0].token_ids))
    columns = [{"input_ids": list(item.token_ids), "labels": list(item.labels)} for item in longest_first]
    return [
        collate_left(columns[first : first + at_a_time], pad_token_id=pad_token_id)
        for first in range(0, len(columns), at_a_time)
    ]


def _trainer(context: JobContext, spec: SupervisedSpec, examples: ExampleFile) -> RltSftTrainer:
    job, base_dir = context.job, Path(context.job.base_model_dir)
    start = Path(job.start_adapter_dir) if job.start_adapter_dir else None
    tokenizer = load_padding_tokenizer(base_dir)
    ranks = spec.parallel.processes
    longest, bearing = max(examples.lengths), len(examples.lengths) - (ranks > 1)
    batch = min(spec.batch_size, bearing)
    if batch % ranks:
        raise InvalidTrainingDataError(
            f"{batch} rows in a step ({bearing} fit) cannot be shared out among {ranks} processes: choose a "
            "batch_size that divides by them",
            param="/batch_size",
        )
    rows = micro_batch_rows(batch // ranks, tokens_per_row=longest)
    # Ranks take a micro-batch whole: passes would have to be the same in all of them.
    pass_rows = None
    if ranks == 1:
        pass_rows = plan_passes(context, rows=rows, tokens_of=lambda count: (count * longest, count * longest, longest))
    steps = epoch_steps(rows=bearing, batch=batch, epochs=spec.epochs, max_steps=spec.max_steps)
    arguments = SFTConfig(
        **common_arguments(context),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=batch // (rows * ranks),
        **optimizer_arguments(spec, steps=steps),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    model = (
        load_whole(base_dir)
        if spec.lora is None
        else load_policy(base_dir, adapter_dir=start, lora=spec.lora, seed=spec.seed)
    )
    trainer = RltSftTrainer(
        model=model,
        args=arguments,
        train_dataset=examples.dataset,
        processing_class=tokenizer,
        data_collator=partial(collate_left, pad_token_id=padding_id(tokenizer)),
        stop=context.stop,
        lengths=examples.lengths[:bearing],
    )
    trainer.divergence = spec.divergence
    trainer.bound_passes(pass_rows, events=context.events)
    trainer.filler = bearing if ranks > 1 else None
    return trainer
