"""Own what the ranks of one training agree on while they train: stops, checkpoints, what the first has found out.

All ranks call each of these at the same place; where there is one rank, they cost nothing and say what it says.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import distributed

from rlt_core.errors import ConfigurationError
from rlt_train.errors import StopRequested
from rlt_train.lifeline import StopFlag

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=30)
"""What ranks wait for another: the first may wait for its engine as long as it likes, and one that ends is noticed."""


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


def from_first(compute: Callable[[], T]) -> T:
    """Give all ranks what the first alone computes; a StopRequested of it is raised in all.

    Where it breaks, the others break since it is gone.
    """
    if alone():
        return compute()
    said: list[tuple[T] | None] = [None]
    if distributed.get_rank() == 0:
        try:
            said = [(compute(),)]
        except StopRequested:
            said = [None]
    distributed.broadcast_object_list(said, src=0, group=_host_group(distributed.group.WORLD))
    if said[0] is None:
        raise StopRequested
    return said[0][0]


def of_all(values: Sequence[T]) -> list[T]:
    """Give the values of all ranks, rank by rank."""
    if alone():
        return list(values)
    found: list[Sequence[T]] = [()] * distributed.get_world_size()
    distributed.all_gather_object(found, values, group=_host_group(distributed.group.WORLD))
    return [value for part in found for value in part]


def own_share(count: int) -> slice:
    """Give the place of this rank's `count` values among those of all, each rank having as many."""
    first = 0 if alone() else distributed.get_rank() * count
    return slice(first, first + count)


def _most(value: int) -> int:
    largest = torch.tensor([value])
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX, group=_host_group(distributed.group.WORLD))
    return int(largest.item())


@cache
def _host_group(_world: Any) -> Any:
    """Give a group over the hosts' memory: on GPUs a flag would wait for all that is computed before it."""
    return distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
