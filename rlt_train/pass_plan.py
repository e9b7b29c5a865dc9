"""Own how large a trainer's passes are, by the memory that it finds: decided before the model is loaded."""

from collections.abc import Callable
from pathlib import Path

import torch

from rlt_core.artifacts import ADAPTER_WEIGHTS
from rlt_core.batching import MICRO_BATCH_TOKENS, passed_tokens
from rlt_core.memory import FLOAT_BYTES, MemoryNeed, Training, fitting_rows, memory_need, refusal, size
from rlt_core.model_shape import read_shape
from rlt_core.schemas.training import GrpoSpec
from rlt_train.context import JobContext
from rlt_train.errors import TrainingMemoryError
from rlt_train.room import Room

PassTokens = tuple[int, int, int]
"""Of a pass: its tokens, those whose logits are kept, those of one of its sequences or trees."""


def plan_passes(context: JobContext, *, rows: int, tokens_of: Callable[[int], PassTokens]) -> int | None:
    """Give the most rows of a pass where a micro-batch of `rows` would not fit; None where it does, or nobody knows.

    `tokens_of` counts a pass over so many rows. Raises TrainingMemoryError, with the arithmetic, where not even one row
    at a time fits.
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


def rl_pass(spec: GrpoSpec, *, longest_prompt: int, rows: int, micro_rows: int, shares: bool) -> PassTokens:
    """Count a pass of `rl` or `rlvr`: a whole micro-batch, or fewer rows of one prompt."""
    joined = min(rows, spec.samples_per_question) if shares else 1
    attended = min(longest_prompt + joined * spec.max_tokens, max(MICRO_BATCH_TOKENS, longest_prompt + spec.max_tokens))
    if rows == micro_rows:
        each = passed_tokens(
            longest_prompt=longest_prompt, max_tokens=spec.max_tokens, samples=spec.samples_per_question, shares=shares
        )
        # A group that several micro-batches share has its prompt in each of them.
        return max(rows * each, longest_prompt + rows * spec.max_tokens), rows * spec.max_tokens, attended
    prompts = 1 if shares else rows
    return prompts * longest_prompt + rows * spec.max_tokens, rows * spec.max_tokens, attended


def _needs(context: JobContext, tokens_of: Callable[[int], PassTokens]) -> Callable[[int], MemoryNeed] | None:
    job, spec = context.job, context.job.training
    shape = read_shape(Path(job.base_model_dir))
    if shape is None:
        return None
    lora = spec.lora
    adapter = 0 if lora is None else shape.adapter_parameters(rank=lora.rank, targets=lora.targets)
    if job.start_adapter_dir and lora is not None:  # its shape is what training continues, not the spec's
        adapter = (Path(job.start_adapter_dir) / ADAPTER_WEIGHTS).stat().st_size // FLOAT_BYTES

    def need_of(rows: int) -> MemoryNeed:
        pass_tokens, logit_tokens, attended = tokens_of(rows)
        return memory_need(
            Training(
                shape=shape,
                adapter_parameters=adapter,
                full=lora is None,
                accelerated=torch.cuda.is_available(),
                reference=isinstance(spec, GrpoSpec) and spec.beta > 0.0,
                keeps_best=spec.eval_every > 0,
                # Of a later attempt the engine may run already, and what it takes is no longer free.
                served_beside=lora is None and isinstance(spec, GrpoSpec) and job.attempt == 1,
                recomputes=spec.gradient_checkpointing,
                pass_tokens=pass_tokens,
                logit_tokens=logit_tokens,
                attended=attended,
            )
        )

    return need_of


def _smaller(need: MemoryNeed, *, rows: int, fitting: int, room: Room) -> str:
    return (
        f"passes of {rows} rows would take about {size(need.total)}, {room.where} has {size(room.free)}: passes of at "
        f"most {fitting} rows, each computed again in the backward pass ({need.arithmetic})"
    )
