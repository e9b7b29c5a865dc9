"""Own what a spec says of the optimizer: TRL's arguments of learning rate, decay, momenta and clipping. Pure."""

from typing import Any

from rlt_core.schemas.jobs import SupervisedSpec
from rlt_core.schemas.training import GrpoSpec


def optimizer_arguments(spec: SupervisedSpec | GrpoSpec, *, steps: int) -> dict[str, Any]:
    """Give the arguments for AdamW over `steps` optimizer steps; the learning rate itself is every kind's."""
    return {
        "lr_scheduler_type": "constant_with_warmup" if spec.schedule == "constant" else spec.schedule,
        "warmup_steps": rising_steps(spec.warmup_ratio, steps=steps),
        "weight_decay": spec.weight_decay,
        "adam_beta1": spec.adam_beta1,
        "adam_beta2": spec.adam_beta2,
        "max_grad_norm": spec.max_grad_norm,
    }


def rising_steps(ratio: float, *, steps: int) -> int:
    """Count the steps in which the rate rises; the first has a rate of 0, which a short run cannot spare."""
    rising = int(ratio * steps)
    return rising if rising >= 2 else 0
