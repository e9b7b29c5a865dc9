"""Own the arithmetic of a dry run: what a job will take, from counted tokens, measured speeds and shapes. Pure."""

from dataclasses import dataclass

from rlt_core.batching import EXAMPLE_TOKEN_BYTES
from rlt_core.memory import FLOAT_BYTES, MemoryNeed, Training, memory_need, size
from rlt_core.model_shape import ModelShape
from rlt_core.schemas.dry_run import Estimate, Estimates


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the job will do, in tokens; `None` where nobody could count."""

    generated: float | None
    scored: float | None
    trained: float | None
    generated_basis: str
    scored_basis: str
    trained_basis: str
    passes: int
    """How often a trained token goes through the model, in units of one forward pass."""
    pass_tokens: int
    """Tokens in one forward and backward pass."""
    logit_tokens: int
    """Tokens of a pass whose logits are kept."""
    attended: int
    """Tokens of a pass that one of its sequences, or of its trees, holds."""
    row_tokens: int
    """Tokens of a pass over the longest row alone: the smallest pass that there is."""
    row_logit_tokens: int
    checkpoints: int
    """Whole checkpoints on disk at the same time, the one that is being written too."""
    adapters: int
    """Further copies of the adapter on disk."""
    reference: bool
    """Whether the trainer holds a second adapter, or whole model, beside the one that it trains."""
    keeps_best: bool = False
    """Whether trainer and checkpoints hold the best weights so far."""
    moves_reference: bool = False
    """Whether checkpoints hold a reference too."""
    served_beside: bool = False
    """Whether an engine takes up each step's weights, all of them."""
    recomputes: bool
    """Whether activations are computed again in the backward pass (gradient checkpointing)."""
    journal_completions: int
    """Completions in the journal at the same time."""
    example_tokens: float = 0.0
    """Of all rows, which supervised fine-tuning encodes once and reads from disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """What the rehearsal measured; 0 where it measured nothing."""

    generated_per_s: float
    scored_per_s: float
    completion_bytes: float
    """A sampled and scored completion as it stands in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the trainer is taken to run."""

    shape: ModelShape | None
    adapter_parameters: int
    """Of all weights where those are trained: what lies on disk."""
    full: bool = False
    """Whether all weights are trained."""
    accelerated: bool


def per_s(tokens: int, took_s: float) -> float:
    """Give a speed, 0 where nothing was measured."""
    return tokens / took_s if took_s > 0.0 else 0.0


def estimate(work: Work, *, speeds: Speeds, machine: Machine) -> Estimates:
    """Estimate tokens, seconds and bytes; each figure says what it is made of."""
    generate_s = seconds(work.generated, per_s=speeds.generated_per_s, what="sampled")
    score_s = seconds(work.scored, per_s=speeds.scored_per_s, what="read by the student")
    train_s = _train_seconds(work, speeds, full=machine.full)
    return Estimates(
        generated_tokens=Estimate(value=work.generated, basis=work.generated_basis),
        scored_tokens=Estimate(value=work.scored, basis=work.scored_basis),
        trained_tokens=Estimate(value=work.trained, basis=work.trained_basis),
        generate_s=generate_s,
        score_s=score_s,
        train_s=train_s,
        total_s=total(generate_s, score_s, train_s),
        memory_bytes=_memory(work, machine),
        disk_bytes=_disk(work, speeds, machine),
    )


def seconds(tokens: float | None, *, per_s: float, what: str) -> Estimate:
    """Estimate how long tokens take at a speed; 0 is one that nobody measured."""
    if tokens == 0:
        return Estimate(value=0.0, basis="this kind of job does none of it")
    if tokens is None or per_s <= 0.0:
        return Estimate(value=None, basis="nothing was measured: see rehearsal.not_scored")
    return Estimate(
        value=tokens / per_s,
        basis=f"{tokens:,.0f} tokens at {per_s:,.1f} tokens/s {what} in the rehearsal; larger batches are faster",
    )


def _train_seconds(work: Work, speeds: Speeds, *, full: bool) -> Estimate:
    if work.trained is None or speeds.scored_per_s <= 0.0:
        return Estimate(value=None, basis="nothing was measured: see rehearsal.not_scored")
    parts = "forward, backward" + (", gradients of all weights" if full else "")
    parts += ", forward again" if work.recomputes else ""
    parts += " and the reference's forward" if work.passes - work.recomputes == 3 + full else ""
    return Estimate(
        value=work.trained * work.passes / speeds.scored_per_s,
        basis=f"{work.trained:,.0f} tokens, {work.passes} passes each ({parts}), at the {speeds.scored_per_s:,.1f} "
        "tokens/s of a scoring pass: holds where the trainer runs on a machine like the engine's",
    )


def total(*parts: Estimate) -> Estimate:
    """Add up seconds; where a part is not known, nothing is."""
    known = [part.value for part in parts if part.value is not None]
    if len(known) < len(parts):
        return Estimate(value=None, basis="a part is not known")
    return Estimate(
        value=sum(known), basis="sampling, scoring and training one after the other; loading and queueing left out"
    )


def least_memory(work: Work, machine: Machine) -> MemoryNeed | None:
    """Compute what training takes with one row at a time, below which no trainer goes; None: nobody knows."""
    return _need(
        work, machine, pass_tokens=work.row_tokens, logit_tokens=work.row_logit_tokens, attended=work.row_tokens
    )


def _need(work: Work, machine: Machine, *, pass_tokens: int, logit_tokens: int, attended: int) -> MemoryNeed | None:
    if machine.shape is None:
        return None
    return memory_need(
        Training(
            shape=machine.shape,
            adapter_parameters=machine.adapter_parameters,
            full=machine.full,
            accelerated=machine.accelerated,
            reference=work.reference,
            keeps_best=work.keeps_best,
            served_beside=work.served_beside,
            recomputes=work.recomputes,
            pass_tokens=pass_tokens,
            logit_tokens=logit_tokens,
            attended=attended,
        )
    )


def _memory(work: Work, machine: Machine) -> Estimate:
    need = _need(work, machine, pass_tokens=work.pass_tokens, logit_tokens=work.logit_tokens, attended=work.attended)
    if need is None:
        return Estimate(value=None, basis="the base's config.json is not here, or of a kind that is not known")
    return Estimate(value=need.total, basis=need.arithmetic)


def _disk(work: Work, speeds: Speeds, machine: Machine) -> Estimate:
    if machine.shape is None:
        return Estimate(value=None, basis="the base's config.json is not here, or of a kind that is not known")
    adapter = FLOAT_BYTES * machine.adapter_parameters
    # Itself, two moments of AdamW, the best so far, a reference that has moved.
    checkpoint = (3 + work.keeps_best + work.moves_reference) * adapter
    journal = speeds.completion_bytes * work.journal_completions
    if work.journal_completions and not speeds.completion_bytes:
        told = f"journal of {work.journal_completions:,} completions left out, since none was seen"
    else:
        told = f"journal {size(journal)} ({work.journal_completions:,} completions)"
    examples = EXAMPLE_TOKEN_BYTES * work.example_tokens
    return Estimate(
        value=work.checkpoints * checkpoint + work.adapters * adapter + journal + examples,
        basis=f"{work.checkpoints} checkpoints of {size(checkpoint)} (one being written), {work.adapters} more "
        f"{'models' if machine.full else 'adapters'} of {size(adapter)}, {told}, encoded rows {size(examples)}; logs "
        "left out",
    )
