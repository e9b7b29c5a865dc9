"""Own what is ours in supervised fine-tuning: our ids and labels as they are, and no logits where no loss is.

Leans on TRL 1.16.0's SFTTrainer: prepared datasets pass through (`skip_prepare_dataset`), and its fused head skips
positions without labels on Triton devices only; elsewhere `compute_loss` here does.
"""

# B sequences, L longest of them (left-padded), K positions from the first label on, V vocabulary.

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from trl.trainer.sft_trainer import SFTTrainer

from rlt_train.data import IGNORED
from rlt_train.data_order import ByLength
from rlt_train.divergence import StopsWhenDiverging
from rlt_train.lifeline import StopFlag
from rlt_train.models import Policy, trained_model
from rlt_train.resuming import FromOurCheckpoints
from rlt_train.selection import Choice
from rlt_train.smaller_passes import SmallerPasses, row_passes
from rlt_train.speed import StepSpeed
from rlt_train.together import check_stop


def collate_left(examples: Sequence[dict[str, list[int]]], *, pad_token_id: int) -> dict[str, Tensor]:
    """Pad on the left, so that the labelled ends of all sequences stand in the same last columns."""
    width = max(len(example["input_ids"]) for example in examples)
    shape = (len(examples), width)
    batch = {
        "input_ids": torch.full(shape, pad_token_id),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
        "labels": torch.full(shape, IGNORED),
    }
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        batch["input_ids"][row, -length:] = torch.tensor(example["input_ids"])
        batch["attention_mask"][row, -length:] = 1
        batch["labels"][row, -length:] = torch.tensor(example["labels"])
    batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return batch


class RltSftTrainer(SmallerPasses, StopsWhenDiverging, FromOurCheckpoints, SFTTrainer):
    """TRL's SFT on sequences of our own encoding. Several ranks share out each optimizer step's rows."""

    filler: int | None = None
    """The row that bears no loss, the dataset's last, where there are several ranks."""

    def __init__(self, *args: Any, stop: StopFlag, lengths: Sequence[int], **kwargs: Any) -> None:
        """Take the length of each row that bears loss, in tokens: to look at all rows would read them from disk."""
        super().__init__(*args, **kwargs)
        self._stop = stop
        self._lengths = lengths
        self.selection: Choice | None = None
        self.speed = StepSpeed(of_all=self._of_all_ranks)
        self.add_callback(self.speed)

    def _of_all_ranks(self, count: int) -> int:
        return int(cast(Tensor, self.accelerator.reduce(torch.tensor(count, device=self.args.device))).item())

    def select_by(self, selection: Choice) -> None:
        """Let the result be chosen by held-out rows."""
        self.selection = selection
        self.add_callback(selection)

    def has_ended(self) -> bool:
        """Tell whether the choice among policies has ended training early."""
        return self.selection is not None and self.selection.is_over

    def extra_states(self) -> dict[str, Any]:
        """Give the best policy so far too."""
        return super().extra_states() | ({} if self.selection is None else {"selection": self.selection.state()})

    def load_extra_states(self, states: dict[str, Any]) -> None:
        """Take up what `extra_states` gave; which policy was best in another job is its own affair."""
        super().load_extra_states(states)
        if self.selection is not None and not self.branches:
            self.selection.restore(states["selection"])

    def held_out_loss(self, batches: Sequence[dict[str, Tensor]]) -> float:
        """Mean negative log-likelihood of the labelled tokens of rows that are not trained on.

        All ranks read all rows and take the mean of what they found, so that all decide alike.
        """
        model: Any = self.model
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            for batch in batches:
                for rows in row_passes(len(batch["labels"]), most=self.pass_rows):
                    part = {name: values[rows].to(sums.device) for name, values in batch.items()}
                    loss, _ = _summed_loss(model, part)
                    sums[0] += loss
                    sums[1] += (part["labels"] != IGNORED).sum()
        model.train()
        total, labelled = cast(Tensor, self.accelerator.reduce(sums))
        return float(total / labelled)

    @property
    def policy(self) -> Policy:
        """What is trained."""
        return trained_model(self)

    def _get_train_sampler(self, train_dataset: Any = None) -> ByLength:
        arguments = self.args
        together = arguments.train_batch_size * self.accelerator.num_processes
        return ByLength(
            self._lengths,
            batch=together * arguments.gradient_accumulation_steps,
            seed=arguments.seed,
            filler=self.filler,
            multiple=together,
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Take one micro-batch forward and backward, and count its tokens: once, however often it is taken."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        bears_loss = (inputs["labels"] != IGNORED).any(1)  # fillers do not
        self.speed.count(int(inputs["attention_mask"][bears_loss].sum().item()))
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens of the whole optimizer step."""
        check_stop(self._stop)
        whole = self.pass_rows is None
        if return_outputs or (whole and inputs["input_ids"].device.type != "cpu"):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labelled = (inputs["labels"] != IGNORED).sum()
        losses: list[Tensor] = []
        right: list[Tensor] = []
        for rows in row_passes(len(inputs["labels"]), most=self.pass_rows):
            if not whole:
                self._stop.check()
            part = inputs if whole else without_padding({name: inputs[name][rows] for name in _READ})
            loss, hits = self.one_pass(partial(_summed_loss, model, part))
            losses.append(loss)
            right.append(hits)
        counts = torch.stack([sum(right[1:], right[0]), labelled])
        hits_of_all, labelled_of_all = cast(Tensor, self.accelerator.reduce(counts))
        self._metrics["train"]["mean_token_accuracy"].append((hits_of_all / labelled_of_all).item())
        self._metrics["train"]["tokens"].append(float(inputs["attention_mask"].sum().item()))
        total = sum(losses[1:], losses[0])
        if num_items_in_batch is None:
            return total / labelled
        # Items of all ranks, whose gradients and losses are averaged: this is one rank's part of the sum.
        return total / num_items_in_batch * self.accelerator.num_processes

    def may_repeat(self) -> bool:
        """Tell whether this process is alone: ranks that took a micro-batch again would wait for each other."""
        return self.accelerator.num_processes == 1


_READ = ("input_ids", "attention_mask", "position_ids", "labels")


def without_padding(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut off the columns on the left that are padding in every row."""
    first = int(batch["attention_mask"].any(0).nonzero()[0].item())
    return {name: values[:, first:] for name, values in batch.items()}


def _summed_loss(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum the negative log-likelihood of the labelled tokens, and count those that were the likeliest (no gradient)."""
    labels_BL = inputs["labels"]
    labelled_L = (labels_BL != IGNORED).any(0).nonzero()
    # Rows that bear no loss go through the model all the same: the other ranks wait for their gradients.
    first = int(labelled_L[0].item()) if len(labelled_L) else labels_BL.shape[1] - 1
    targets_BK = labels_BL[:, first:]
    # The hidden state before a label predicts it: one position more, and the last one is of no use.
    logits_BKV = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        use_cache=False,
        logits_to_keep=targets_BK.shape[1] + 1,
    ).logits[:, :-1]
    loss = functional.cross_entropy(
        logits_BKV.flatten(0, 1).float(), targets_BK.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    with torch.no_grad():
        hits = ((logits_BKV.argmax(-1) == targets_BK) & (targets_BK != IGNORED)).sum()
    return loss, hits
