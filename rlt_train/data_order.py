"""Own the order in which training sees its rows, and where in it a step stands: both follow from the job alone.

The samplers of transformers and TRL draw each epoch's order from what the epochs before have left of a generator, which
a fresh process does not have: those here know the epoch's number.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from rlt_core.schemas.trainer import TrainerJob
from rlt_train.durable import file_sha256


class EpochSampler(Sampler[int]):
    """An order of rows that follows from seed and epoch alone; an optimizer step takes `rows_per_step` of them."""

    def __init__(self, *, rows_per_step: int, seed: int) -> None:
        self.rows_per_step = rows_per_step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the trainer calls it."""
        self._epoch = epoch

    @abstractmethod
    def order(self) -> list[int]:
        """Give the rows of the epoch that was chosen, each once, in the order of the steps."""

    def generator(self) -> torch.Generator:
        """Make the generator of this epoch."""
        return torch.Generator().manual_seed((self._seed * 1_000_003 + self._epoch) % 2**63)


class ByLength(EpochSampler):
    """Rows at random, those of like length in one batch.

    After them `filler`, a row that bears no loss, until they are a multiple of `multiple`: ranks must have equally
    many passes, and accelerate would repeat rows of the epoch's beginning.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch: int, seed: int, filler: int | None = None, multiple: int = 1
    ) -> None:
        super().__init__(rows_per_step=batch, seed=seed)
        self._lengths = list(lengths)
        self._fillers = [] if filler is None else [filler] * (-len(self._lengths) % multiple)

    def order(self) -> list[int]:
        """Give the rows batch by batch."""
        if self.rows_per_step == 1:
            order: list[int] = torch.randperm(len(self._lengths), generator=self.generator()).tolist()
            return order
        return list(LengthGroupedSampler(self.rows_per_step, lengths=self._lengths, generator=self.generator()))

    def __len__(self) -> int:  # noqa: D105 - as any Sampler's
        return len(self._lengths) + len(self._fillers)

    def __iter__(self) -> Iterator[int]:  # noqa: D105 - as any Sampler's
        return iter([*self.order(), *self._fillers])


class InGroups(EpochSampler):
    """Rows at random in chunks of `chunk`; each chunk `times` times, in it each row `samples` times in a row.

    The order that TRL's GRPO wants. Rows that fill no chunk are left out of the epoch.
    """

    def __init__(self, rows: int, *, chunk: int, samples: int, times: int, seed: int) -> None:
        super().__init__(rows_per_step=chunk, seed=seed)
        self._rows = rows
        self._samples = samples
        self._times = times

    def order(self) -> list[int]:
        """Give the rows chunk by chunk."""
        order: list[int] = torch.randperm(self._rows, generator=self.generator()).tolist()
        return order[: len(order) - len(order) % self.rows_per_step]

    def __len__(self) -> int:  # noqa: D105 - as any Sampler's
        return self._rows // self.rows_per_step * self.rows_per_step * self._samples * self._times

    def __iter__(self) -> Iterator[int]:  # noqa: D105 - as any Sampler's
        order = self.order()
        for first in range(0, len(order), self.rows_per_step):
            for _ in range(self._times):
                for row in order[first : first + self.rows_per_step]:
                    yield from [row] * self._samples


def set_epoch(loader: Any, epoch: int) -> None:
    """Choose the epoch of the sampler inside a loader, however many samplers accelerate has laid around it.

    Where several ranks resume in the middle of an epoch, that is one more than transformers 5 reaches through.
    """
    inside = loader
    while inside is not None:
        sampler = getattr(inside, "sampler", None)
        if isinstance(sampler, EpochSampler):
            sampler.set_epoch(epoch)
        inside = getattr(inside, "batch_sampler", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in a job's data: what training goes on with after a step."""

    epoch: int
    rows_done: int
    """Rows of the epoch's order that the steps before have taken."""
    order_sha256: str
    """Of the epoch's whole order, as numbers of rows."""
    data_sha256: str
    """Of the files that the rows come from."""


class DataCourse:
    """The way of one job through its data. Any attempt finds the same place after the same step."""

    def __init__(self, sampler: EpochSampler, *, job: TrainerJob) -> None:
        """Take a sampler that nobody else uses, since its epoch is moved."""
        self._sampler = sampler
        self._data_sha256 = _data_sha256(job)
        self._order: tuple[int, list[int]] | None = None

    def at(self, step: int) -> Cursor:
        """Give the place after `step` optimizer steps."""
        per_step = self._sampler.rows_per_step
        steps_per_epoch = max(-(-len(self._order_of(0)) // per_step), 1)
        epoch, steps = divmod(step, steps_per_epoch)
        order = self._order_of(epoch)
        return Cursor(
            epoch=epoch,
            rows_done=steps * per_step,
            order_sha256=hashlib.sha256(",".join(map(str, order)).encode()).hexdigest(),
            data_sha256=self._data_sha256,
        )

    def rows_due(self, step: int) -> list[int]:
        """Give the rows that the step after `step` takes, by their numbers."""
        per_step = self._sampler.rows_per_step
        epoch, steps = divmod(step, max(-(-len(self._order_of(0)) // per_step), 1))
        return self._order_of(epoch)[steps * per_step : (steps + 1) * per_step]

    def _order_of(self, epoch: int) -> list[int]:
        if self._order is None or self._order[0] != epoch:
            self._sampler.set_epoch(epoch)
            self._order = (epoch, self._sampler.order())
        return self._order[1]


def _data_sha256(job: TrainerJob) -> str:
    paths = [job.dataset_path, *(path for _, path in sorted(job.split_paths.items()))]
    return hashlib.sha256("".join(file_sha256(Path(path)) for path in paths).encode()).hexdigest()
