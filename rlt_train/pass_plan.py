"""Own how large a trainer's passes are, by the memory that it finds: decided before the model is loaded."""

from collections.abc import Callable
from pathlib import Path

import torch

from rlt_core.artifacts import ADAPTER_WEIGHTS
from rlt_core.batching import passed_tokens
from rlt_core.memory import FLOAT_BYTES, MemoryNeed, Training, fitting_rows, memory_need, refusal, size
from rlt_core.model_shape import read_shape
from rlt_core.schemas.jobs import RlSpec
from rlt_train.context import JobContext
from rlt_train.errors import TrainingMemoryError
from rlt_train.room import Room


def plan_passes(context: JobContext, *, rows: int, tokens_of: Callable[[int], tuple[int, int]]) -> int | None:
    """Give the most rows of a pass where a micro-batch of `rows` would not fit; None where it does, or nobody knows.

    `tokens_of` gives the tokens of a pass over so many rows, and of how many the logits are kept. Raises
    TrainingMemoryError, with the arithmetic, where not even one row at a time fits.
    """
    need_of = _needs(context, tokens_of)
    if need_of is None:
        return None
    room = context.room()
    fitting = fitting_rows(need_of, rows=rows, has=room.free)
    if fitting is None:
        raise TrainingMemoryError(refusal(need_of(1), has=room.free, where=room.where))
    if fitting == rows:
        return None
    context.events.log(_smaller(need_of(rows), rows=rows, fitting=fitting, room=room), level="warning")
    return fitting


def rl_pass(spec: RlSpec, *, longest_prompt: int, rows: int, micro_rows: int, shares: bool) -> tuple[int, int]:
    """Count the tokens of a pass of `rl` and those with logits: a whole micro-batch, or fewer rows of one prompt."""
    if rows == micro_rows:
        each = passed_tokens(
            longest_prompt=longest_prompt, max_tokens=spec.max_tokens, samples=spec.samples_per_question, shares=shares
        )
        # A group that several micro-batches share has its prompt in each of them.
        return max(rows * each, longest_prompt + rows * spec.max_tokens), rows * spec.max_tokens
    prompts = 1 if shares else rows
    return prompts * longest_prompt + rows * spec.max_tokens, rows * spec.max_tokens


def _needs(context: JobContext, tokens_of: Callable[[int], tuple[int, int]]) -> Callable[[int], MemoryNeed] | None:
    job, spec = context.job, context.job.spec
    shape = read_shape(Path(job.base_model_dir))
    if shape is None:
        return None
    lora = spec.lora
    adapter = 0 if lora is None else shape.adapter_parameters(rank=lora.rank, targets=lora.targets)
    if job.start_adapter_dir:  # its shape is what training continues, not the spec's
        adapter = (Path(job.start_adapter_dir) / ADAPTER_WEIGHTS).stat().st_size // FLOAT_BYTES

    def need_of(rows: int) -> MemoryNeed:
        pass_tokens, logit_tokens = tokens_of(rows)
        return memory_need(
            Training(
                shape=shape,
                adapter_parameters=adapter,
                full=lora is None,
                accelerated=torch.cuda.is_available(),
                reference=isinstance(spec, RlSpec) and spec.beta > 0.0,
                recomputes=spec.gradient_checkpointing,
                pass_tokens=pass_tokens,
                logit_tokens=logit_tokens,
            )
        )

    return need_of


def _smaller(need: MemoryNeed, *, rows: int, fitting: int, room: Room) -> str:
    return (
        f"passes of {rows} rows would take about {size(need.total)}, {room.where} has {size(room.free)}: passes of at "
        f"most {fitting} rows, each computed again in the backward pass ({need.arithmetic})"
    )
