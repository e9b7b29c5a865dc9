"""Own the way of tensors that FSDP or ZeRO-3 has cut up between the ranks: whole for a file, cut up from one.

FSDP's are torch's DTensors (FSDP2). ZeRO-3's parameters are gathered by DeepSpeed, its optimizer states by nobody.
DTensors are tested on CPUs; through accelerate, which shards on GPUs only, neither was run.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module
from torch.optim import Optimizer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled


def whole(value: Any) -> Any:
    """Give a tree of dicts, lists and tuples with each sharded tensor whole; all ranks call it together."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, dict):
        tree: dict[Any, Any] = value
        return {name: whole(part) for name, part in tree.items()}
    if isinstance(value, list | tuple):
        parts: list[Any] = [whole(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


@contextmanager
def gathered(model: Module) -> Iterator[None]:
    """Have a model's trained parameters whole inside the block, on all ranks, where ZeRO-3 has cut them up."""
    if not is_deepspeed_zero3_enabled():
        yield
        return
    from deepspeed import zero  # pyright: ignore[reportMissingImports] - installed only where this is asked for

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with zero.GatheredParameters(trained):
        yield


def sharded_like(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut up whole tensors as those of the same names are."""
    return {name: _sharded(tensor, like.get(name)) for name, tensor in tensors.items()}


def shard_states(optimizer: Optimizer) -> None:
    """Cut up an optimizer's moments, which came whole from a file, as its parameters are."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state: dict[str, Any] = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = _sharded(value, parameter)


def _sharded(tensor: Tensor, like: Tensor | None) -> Tensor:
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
