"""Own how a transformers trainer goes on from one of our checkpoints, bit for bit on the same number of CPU threads.

Leans on the inside of transformers 5: `Trainer.train(resume_from_checkpoint=...)` restores its own state and skips the
batches of the epoch that were done, by the overridden methods here. Its own reader would take the folder `adapter` for
a second adapter of that name and train on from fresh weights. Its samplers draw each epoch's order from what the
epochs before have left of a generator, which a fresh process does not have: those here know the epoch's number.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from rlt_train.checkpoints import ADAPTER_FOLDER, STATE, restore_random_states
from rlt_train.models import ADAPTER, trained_policy


class FromOurCheckpoints:
    """Mixin over a transformers trainer: reads checkpoints as `checkpoints.py` writes them."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter(trained_policy(self), Path(resume_from_checkpoint))  # pyright: ignore[reportArgumentType]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        trainer: Any = self
        states = _read(checkpoint)
        trainer.optimizer.load_state_dict(states["optimizer"])
        trainer.lr_scheduler.load_state_dict(states["schedule"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random_states(_read(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """There is none: bfloat16 needs no scaling of the loss."""


def load_adapter(policy: PeftModel, checkpoint: Path) -> None:
    """Give the adapter that is trained the weights of a checkpoint."""
    weights = load_file(checkpoint / ADAPTER_FOLDER / "adapter_model.safetensors")
    set_peft_model_state_dict(policy, weights, adapter_name=ADAPTER)


def _read(checkpoint: str) -> dict[str, Any]:
    return torch.load(Path(checkpoint) / STATE, map_location="cpu", weights_only=True)


class EpochSampler(Sampler[int]):
    """An order of rows that follows from seed and epoch alone."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the trainer calls it."""
        self._epoch = epoch

    def generator(self) -> torch.Generator:
        """Make the generator of this epoch."""
        return torch.Generator().manual_seed((self._seed * 1_000_003 + self._epoch) % 2**63)


class ByLength(EpochSampler):
    """Rows at random, those of like length in one batch."""

    def __init__(self, lengths: Sequence[int], *, batch: int, seed: int) -> None:
        super().__init__(seed=seed)
        self._lengths = list(lengths)
        self._batch = batch

    def __len__(self) -> int:  # noqa: D105 - as any Sampler's
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:  # noqa: D105 - as any Sampler's
        if self._batch == 1:
            return iter(torch.randperm(len(self._lengths), generator=self.generator()).tolist())
        return iter(LengthGroupedSampler(self._batch, lengths=self._lengths, generator=self.generator()))


class InGroups(EpochSampler):
    """Rows at random in chunks of `chunk`; each chunk `times` times, in it each row `samples` times in a row.

    The order that TRL's GRPO wants. Rows that fill no chunk are left out of the epoch.
    """

    def __init__(self, rows: int, *, chunk: int, samples: int, times: int, seed: int) -> None:
        super().__init__(seed=seed)
        self._rows = rows
        self._chunk = chunk
        self._samples = samples
        self._times = times

    def __len__(self) -> int:  # noqa: D105 - as any Sampler's
        return self._rows // self._chunk * self._chunk * self._samples * self._times

    def __iter__(self) -> Iterator[int]:  # noqa: D105 - as any Sampler's
        order: list[int] = torch.randperm(self._rows, generator=self.generator()).tolist()
        whole = len(order) - len(order) % self._chunk
        for first in range(0, whole, self._chunk):
            for _ in range(self._times):
                for row in order[first : first + self._chunk]:
                    yield from [row] * self._samples
