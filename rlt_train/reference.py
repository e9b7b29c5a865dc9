"""Own the reference of the KL penalty where it moves: TRL's frozen copy of what is trained, mixed with the policy.

TRL 1.16.0 has this for whole models (`sync_ref_model`, `ref_model_mixup_alpha`, `ref_model_sync_steps`), but no resume
finds a reference again that had moved, and refuses it with PEFT. What is mixed of adapters is what an adapter adds to
the base, scale * B A, not its two factors: their mixture would be of other products. The sum of two products is one of
the ranks' sum; a singular value decomposition takes away what it does not need, so that the rank grows only as far as
float32 can tell.
"""

# O outputs of a layer, I inputs, R rank.

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_core.errors import ConfigurationError
from rlt_train.models import ADAPTER, own_weights, policy_tensors, put_tensors

REFERENCE = "ref"
"""TRL's name of the frozen copy that it makes of the adapter."""
LEAST_SHARE = 1e-7
"""Singular values below this share of the largest are dropped: float32 does not tell them from rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What an adapter adds to one layer's weight: up_OR @ down_RI."""

    up_OR: Tensor
    down_RI: Tensor


def mixed(policy: Delta, reference: Delta, *, mix: float) -> Delta:
    """Give mix * policy + (1 - mix) * reference, as one product of the smallest rank; computed in float64."""
    up_OR = torch.cat([mix * policy.up_OR.double(), (1.0 - mix) * reference.up_OR.double()], dim=1)
    down_RI = torch.cat([policy.down_RI.double(), reference.down_RI.double()])
    left_OR, left_RR = torch.linalg.qr(up_OR)
    right_IR, right_RR = torch.linalg.qr(down_RI.T)
    u_RR, values_R, v_RR = torch.linalg.svd(left_RR @ right_RR.T)
    kept = max(int((values_R > LEAST_SHARE * values_R[0]).sum().item()), 1)
    root_R = values_R[:kept].sqrt()
    return Delta(
        up_OR=(left_OR @ u_RR[:, :kept] * root_R).to(policy.up_OR.dtype),
        down_RI=(root_R[:, None] * v_RR[:kept] @ right_IR.T).to(policy.down_RI.dtype),
    )


class MovingReference(TrainerCallback, ABC):
    """Moves the reference towards the policy every `every` steps, as TRL's own callback does for whole models."""

    def __init__(self, *, every: int) -> None:
        self._every = every

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Move the reference if the step that has ended is due for it."""
        if state.global_step % self._every == 0:
            self.move()

    @abstractmethod
    def move(self) -> None:
        """Take one step towards the policy."""

    @abstractmethod
    def state(self) -> dict[str, dict[str, Any]]:
        """Give the reference, for a checkpoint."""

    @abstractmethod
    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """Take up the reference of a checkpoint; KeyError where it lacks a part."""


class MovingModel(MovingReference):
    """The reference of a whole model, a second one: each weight becomes mix * policy + (1 - mix) * reference."""

    def __init__(self, policy: PreTrainedModel, reference: PreTrainedModel, *, every: int, mix: float) -> None:
        super().__init__(every=every)
        self._policy = policy
        self._reference = reference
        self._mix = mix

    def move(self) -> None:
        """Take one step towards the policy, in every weight."""
        policy = own_weights(self._policy)
        with torch.no_grad():
            for name, tensor in own_weights(self._reference).items():
                tensor.mul_(1.0 - self._mix).add_(policy[name], alpha=self._mix)

    def state(self) -> dict[str, dict[str, Any]]:
        """Give the reference's weights by name."""
        return {"weights": policy_tensors(self._reference)}

    def restore(self, state: dict[str, dict[str, Any]]) -> None:
        """Take up the reference of a checkpoint; KeyError where it is of an adapter."""
        put_tensors(self._reference, state["weights"])


class MovingAdapter(MovingReference):
    """The reference of an adapter, which TRL keeps beside it in the same model."""

    def __init__(self, policy: PeftModel, *, every: int, mix: float) -> None:
        super().__init__(every=every)
        if REFERENCE not in policy.peft_config:
            raise ConfigurationError("there is no reference to move: TRL makes one where beta is above 0")
        self._policy = policy
        self._mix = mix
        # Its scale goes into its weights now, so that a run and its resume round alike.
        self.restore(self.state())

    def move(self) -> None:
        """Take one step towards the policy, in every layer."""
        with torch.no_grad():
            for _, layer in _layers(self._policy):
                _set(layer, mixed(_delta(layer, ADAPTER), _delta(layer, REFERENCE), mix=self._mix))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Give the reference by layer, for a checkpoint."""
        deltas = {name: _delta(layer, REFERENCE) for name, layer in _layers(self._policy)}
        return {
            name: {"up": delta.up_OR.detach().cpu(), "down": delta.down_RI.detach().cpu()}
            for name, delta in deltas.items()
        }

    def restore(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Take up the reference of a checkpoint; KeyError where it lacks a layer."""
        with torch.no_grad():
            for name, layer in _layers(self._policy):
                _set(layer, Delta(up_OR=state[name]["up"], down_RI=state[name]["down"]))


def _layers(policy: PeftModel) -> Iterator[tuple[str, LoraLayer]]:
    for name, module in policy.named_modules():
        if isinstance(module, LoraLayer) and REFERENCE in module.lora_A:
            yield name, module


def _delta(layer: LoraLayer, adapter: str) -> Delta:
    up: Tensor = layer.lora_B[adapter].weight  # pyright: ignore[reportAssignmentType] - nn.ModuleDict knows no types
    down: Tensor = layer.lora_A[adapter].weight  # pyright: ignore[reportAssignmentType] - as above
    return Delta(up_OR=up * layer.scaling[adapter], down_RI=down)


def _set(layer: LoraLayer, delta: Delta) -> None:
    rank = delta.down_RI.shape[0]
    for parts, weight in ((layer.lora_A, delta.down_RI), (layer.lora_B, delta.up_OR)):
        like: Tensor = parts[REFERENCE].weight  # pyright: ignore[reportAssignmentType] - as in _delta
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight.to(device=like.device, dtype=like.dtype), requires_grad=False)
        parts[REFERENCE] = linear
    layer.r[REFERENCE] = rank
    layer.scaling[REFERENCE] = 1.0
