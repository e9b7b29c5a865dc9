"""Own what is ours in supervised fine-tuning: our ids and labels as they are, and no logits where no loss is.

Leans on TRL 1.16.0's SFTTrainer: prepared datasets pass through (`skip_prepare_dataset`), and its fused head skips
positions without labels on Triton devices only; elsewhere `compute_loss` here does.
"""

# B sequences, L longest of them (left-padded), K positions from the first label on, V vocabulary.

from collections.abc import Sequence
from functools import partial
from typing import Any

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
from rlt_train.smaller_passes import SmallerPasses, row_passes


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
    """TRL's SFT on sequences of our own encoding."""

    def __init__(self, *args: Any, stop: StopFlag, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop = stop

    @property
    def policy(self) -> Policy:
        """What is trained."""
        return trained_model(self)

    def _get_train_sampler(self, train_dataset: Any = None) -> ByLength:
        rows: Any = train_dataset or self.train_dataset
        arguments = self.args
        batch = arguments.train_batch_size * arguments.gradient_accumulation_steps
        return ByLength([len(ids) for ids in rows["input_ids"]], batch=batch, seed=arguments.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens of the whole optimizer step."""
        whole = self.pass_rows is None
        if return_outputs or (whole and inputs["input_ids"].device.type != "cpu"):
            self._stop.check()
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labelled = (inputs["labels"] != IGNORED).sum()
        losses: list[Tensor] = []
        right: list[Tensor] = []
        for rows in row_passes(len(inputs["labels"]), most=self.pass_rows):
            self._stop.check()
            part = inputs if whole else without_padding({name: inputs[name][rows] for name in _READ})
            loss, hits = self.one_pass(partial(_summed_loss, model, part))
            losses.append(loss)
            right.append(hits)
        self._metrics["train"]["mean_token_accuracy"].append((sum(right[1:], right[0]) / labelled).item())
        self._metrics["train"]["tokens"].append(float(inputs["attention_mask"].sum().item()))
        return sum(losses[1:], losses[0]) / (labelled if num_items_in_batch is None else num_items_in_batch)


_READ = ("input_ids", "attention_mask", "position_ids", "labels")


def without_padding(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut off the columns on the left that are padding in every row."""
    first = int(batch["attention_mask"].any(0).nonzero()[0].item())
    return {name: values[:, first:] for name, values in batch.items()}


def _summed_loss(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Sum the negative log-likelihood of the labelled tokens, and count those that were the likeliest (no gradient)."""
    labels_BL = inputs["labels"]
    first = int((labels_BL != IGNORED).any(0).nonzero()[0].item())
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
