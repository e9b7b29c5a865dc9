"""Own what the ranks of one training agree on while they train: stops, checkpoints, the end of a write.

All ranks call each of these at the same place; where there is one rank, they cost nothing and say what it says.
"""

from functools import cache
from typing import Any

import torch
from torch import distributed

from rlt_core.errors import ConfigurationError
from rlt_train.errors import StopRequested
from rlt_train.lifeline import StopFlag


def alone() -> bool:
    """Whether no other process trains the same policy."""
    return not distributed.is_initialized() or distributed.get_world_size() == 1


def check_stop(stop: StopFlag) -> None:
    """Raise StopRequested on all ranks if any was asked to stop: one that left alone would leave the others waiting.

    SIGTERM comes to each rank by itself, and not at the same moment.
    """
    if alone():
        stop.check()
    elif _most(int(stop.requested)):
        raise StopRequested


def check_same(value: int, *, what: str) -> None:
    """Raise ConfigurationError where ranks are of two minds."""
    if not alone() and (_most(value), -_most(-value)) != (value, value):
        raise ConfigurationError(f"ranks of one training differ in {what}: here it is {value}")


def meet() -> None:
    """Wait until all ranks are here: what the first has written lies there then."""
    if not alone():
        distributed.barrier(group=_host_group(distributed.group.WORLD))


def _most(value: int) -> int:
    largest = torch.tensor([value])
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX, group=_host_group(distributed.group.WORLD))
    return int(largest.item())


@cache
def _host_group(world: Any) -> Any:
    """Give a group over the hosts' memory: on GPUs a flag would wait for all that is computed before it."""
    return world if distributed.get_backend(world) == "gloo" else distributed.new_group(backend="gloo")
