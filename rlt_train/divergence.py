"""Own the stop of a training that diverges: judged on each step's gradient, before it can change a weight.

Leans on the inside of transformers 5: `Trainer._get_grad_norm` gives the norm before clipping, right before the
optimizer's step. A raise there leaves weights, moments and schedule as the step before has left them.
"""

import math
from typing import Any

from rlt_core.schemas.training import DivergenceLimits
from rlt_train.errors import DivergedError


class StopsWhenDiverging:
    """Mixin over a transformers trainer; without limits only what is not finite stops it."""

    divergence = DivergenceLimits(grad_norm=None, kl=None)

    def step_kl(self) -> float | None:
        """Give the step's divergence from the reference so far; None where a kind has none."""
        return None

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        trainer: Any = super()
        found = trainer._get_grad_norm(model, grad_norm=grad_norm)
        step: int = self.state.global_step + 1  # pyright: ignore[reportAttributeAccessIssue] - the trainer's
        check_divergence(float(found), kl=self.step_kl(), limits=self.divergence, step=step)
        return found


def check_divergence(grad_norm: float, *, kl: float | None, limits: DivergenceLimits, step: int) -> None:
    """Raise DivergedError for a step whose gradient or divergence is not finite or beyond its limit."""
    for name, value, limit, field in (
        ("the gradient's norm", grad_norm, limits.grad_norm, "grad_norm"),
        ("the divergence from the reference", kl, limits.kl, "kl"),
    ):
        if value is None:
            continue
        if not math.isfinite(value):
            raise DivergedError(f"step {step} diverged and was not taken: {name} is {value}")
        if limit is not None and value > limit:
            raise DivergedError(
                f"step {step} diverged and was not taken: {name} is {value:.4g}, above divergence.{field} = {limit:g}"
            )
