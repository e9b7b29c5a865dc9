"""Own how much memory a trainer takes at its peak, by shapes and tokens alone: the arithmetic of a refusal. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from rlt_core.model_shape import ModelShape

FLOAT_BYTES = 4
"""Adapters, their gradients, the optimizer and, on CPUs, the base are float32."""
HALF_BYTES = 2
LOGIT_BYTES = 4 * FLOAT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained, and how much of it at a time."""

    shape: ModelShape
    adapter_parameters: int
    full: bool = False
    """Whether all weights are trained, and no adapter."""
    accelerated: bool
    """Whether activations are of two bytes, and the weights of a base that is not trained."""
    reference: bool
    """Whether a second adapter, or whole model, is held beside the one that is trained."""
    keeps_best: bool = False
    """Whether the best weights so far are held too; beside an accelerator they lie in the machine's memory."""
    served_beside: bool = False
    """Whether an engine of this machine takes up all weights of each step; beside an accelerator it has its own."""
    recomputes: bool
    """Whether activations are computed again in the backward pass (gradient checkpointing)."""
    pass_tokens: int
    """Tokens in one forward and backward pass."""
    logit_tokens: int
    """Tokens of a pass whose logits are kept."""
    attended: int
    """Tokens that one token's row of the mask is wide: each layer keeps the mask as numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes by what they hold. Python and its libraries are left out."""

    weights: int
    adapter: int
    gradients: int
    """Of a whole model twice: a micro-batch that has to be taken again finds the gradients before it in a copy."""
    optimizer: int
    """Two moments of AdamW for each weight that is trained."""
    reference: int
    best: int
    """The best weights so far, where the result is chosen among a run's policies."""
    engine: int
    """The engine's own copy of a policy of all weights, its cache left out."""
    activations: int
    logits: int
    """Logits, a copy at the temperature or without padding, their log-softmax and their gradient."""
    arithmetic: str
    """How the bytes came about, for people."""

    @property
    def passing(self) -> int:
        """Give what one forward and backward pass takes, and smaller passes take less of."""
        return self.activations + self.logits

    @property
    def total(self) -> int:
        """Sum up the peak."""
        held = self.weights + self.adapter + self.gradients + self.optimizer + self.reference + self.best + self.engine
        return held + self.passing


def memory_need(training: Training) -> MemoryNeed:
    """Compute the peak of a forward and backward pass, with the optimizer's state in memory."""
    shape, full = training.shape, training.full
    trained = FLOAT_BYTES * (shape.parameters if full else training.adapter_parameters)
    element = HALF_BYTES if training.accelerated else FLOAT_BYTES
    weight = FLOAT_BYTES if full else element
    weights = weight * shape.parameters
    reference = trained if training.reference else 0
    best = trained if training.keeps_best and not training.accelerated else 0
    engine = weights if full and training.served_beside and not training.accelerated else 0
    kept = shape.recomputed_activations if training.recomputes else shape.activations
    kept += training.attended * (1 if training.recomputes else shape.layers)
    activations = element * training.pass_tokens * kept
    logits = LOGIT_BYTES * training.logit_tokens * shape.vocabulary
    return MemoryNeed(
        weights=weights,
        adapter=0 if full else trained,
        gradients=2 * trained if full else trained,
        optimizer=2 * trained,
        reference=reference,
        best=best,
        engine=engine,
        activations=activations,
        logits=logits,
        arithmetic=f"weights {size(weights)} ({shape.parameters:,} x {weight} B), "
        f"{'their gradients (twice)' if full else 'adapter with gradients'} and AdamW {size(4 * trained)} "
        f"({trained // FLOAT_BYTES:,} x 16 B), reference {size(reference)}, "
        f"{f'the best so far {size(best)}, ' if best else ''}"
        f"{f'the engine of its policies {size(engine)}, ' if engine else ''}activations "
        f"{size(activations)} ({training.pass_tokens:,} tokens x {kept:,} x {element} B), logits "
        f"{size(logits)} ({training.logit_tokens:,} x {shape.vocabulary:,} x {LOGIT_BYTES} B); "
        "python and libraries left out",
    )


def fitting_rows(need_of: Callable[[int], MemoryNeed], *, rows: int, has: int) -> int | None:
    """Halve the rows of a pass until it fits into `has` bytes; None where not even one row does."""
    while need_of(rows).total > has:
        if rows == 1:
            return None
        rows //= 2
    return rows


def refusal(need: MemoryNeed, *, has: int, where: str) -> str:
    """Say that one row at a time does not fit, with the arithmetic; `where` names the memory that is short."""
    return (
        f"training takes about {size(need.total)} even with one row at a time, {where} has {size(has)}: "
        f"{need.arithmetic}"
    )


def size(count: float) -> str:
    """Write bytes for people, in units of a thousand."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000.0:
            return f"{value:.3g} {unit}"
        value /= 1000.0
    return f"{value:.3g} GB"
