"""Own what this process is among those that train one policy together, as its launcher says. No torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import Parallel

BROKEN = "broken-rank"
"""File in an attempt's folder: the rank that broke first, whose error is the job's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One of `count` processes, `count_here` of them on this machine."""

    index: int
    count: int
    count_here: int

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes, tells, and calls the services."""
        return self.index == 0


def own_rank(environment: Mapping[str, str] | None = None) -> Rank:
    """Read this process's rank; without a launcher it is the only one."""
    values = os.environ if environment is None else environment
    return Rank(
        index=int(values.get("RANK", "0")),
        count=int(values.get("WORLD_SIZE", "1")),
        count_here=int(values.get("LOCAL_WORLD_SIZE", "1")),
    )


def check_ranks(parallel: Parallel, *, rank: Rank) -> None:
    """Raise ConfigurationError where there are more or fewer processes than the spec's: each counts on the others."""
    if rank.count != parallel.processes:
        raise ConfigurationError(
            f"the trainer was started as {rank.count} ranks, and the job's parallel.processes is {parallel.processes}: "
            "the worker starts accelerate's launcher itself where there are several, so set RLT_TRAINER_COMMAND to a "
            "command without one"
        )


def check_gpus(parallel: Parallel, *, gpus: int) -> None:
    """Raise ConfigurationError where a strategy has not the GPUs that it needs; `ddp` runs on CPUs too."""
    if parallel.processes == 1 or (parallel.strategy == "ddp" and gpus == 0):
        return
    if gpus < parallel.processes:
        raise ConfigurationError(
            f"parallel asks for {parallel.processes} processes with {parallel.strategy}, each on a GPU of its own, and "
            f"this worker has {gpus}: ask for fewer"
            + ("" if gpus else ", or for ddp, which runs on CPUs too")
            + ", or let the job run on another worker"
        )


def first_to_break(folder: Path, *, rank: Rank) -> bool:
    """Tell whether no other rank broke before: the others break since this one is gone, and have nothing to say."""
    if rank.count == 1:
        return True
    try:
        with (folder / BROKEN).open("x", encoding="utf-8") as file:
            file.write(f"{rank.index}\n")
    except FileExistsError:
        return False
    return True
