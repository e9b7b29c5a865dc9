"""Own what becomes of a step that does not fit into memory: the same step once more, in smaller passes.

A smaller pass runs under torch's checkpointing: it keeps its inputs alone, and is computed again when its gradient is
due, so that one pass at a time fills the memory. The loss is still TRL's over the whole micro-batch, so every kind of
loss stays what it was; only sums are taken in another order. Leans on the inside of transformers 5: all that a
`training_step` leaves behind when it fails is what it has added to gradients and metrics, and both are taken back.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint

from rlt_train.events import EventWriter
from rlt_train.together import alone

T = TypeVar("T")
PASS_ROWS = "pass_rows"
"""Name in a checkpoint's states; it is there only where a run has come to smaller passes."""


class SmallerPasses:
    """Mixin over a TRL trainer whose loss is computed in passes of at most `pass_rows` rows."""

    pass_rows: int | None = None
    """None: as many as a pass may have, nothing computed twice."""
    events: EventWriter | None = None
    _noted: dict[str, int] | None = None

    def bound_passes(self, pass_rows: int | None, *, events: EventWriter) -> None:
        """Begin with passes of so many rows; `events` hears when they become fewer."""
        self.pass_rows = pass_rows
        self.events = events

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Take one micro-batch forward and backward; where it does not fit, take it again in smaller passes."""
        trainer: Any = super()
        gradients = [(weight, _copy(weight)) for weight in model.parameters() if weight.requires_grad]
        self.note_metrics()

        def undo() -> None:
            for weight, gradient in gradients:
                weight.grad = None if gradient is None else gradient.clone()
            self.forget_metrics()

        return self.until_it_fits(lambda: trainer.training_step(model, inputs, num_items_in_batch), undo=undo)

    def until_it_fits(self, compute: Callable[[], T], *, undo: Callable[[], None] = lambda: None) -> T:
        """Compute, and halve the rows of a pass for as long as it does not fit; raises what it raised at one row."""
        while True:
            try:
                return compute()
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not self._halve(error):
                    raise
            # Out here the error is gone, and with it the frames that held on to the pass.
            undo()
            clear_device_cache(garbage_collection=True)

    def one_pass(self, compute: Callable[[], T]) -> T:
        """Compute a pass, under checkpointing where passes had to become smaller and a gradient is wanted."""
        if self.pass_rows is None or not torch.is_grad_enabled():
            return compute()
        found: T = checkpoint(compute, use_reentrant=False)
        return found

    def may_repeat(self) -> bool:
        """Tell whether a micro-batch can be taken again: what it is made of must be at hand."""
        return True

    def note_metrics(self) -> None:
        """Remember how far the metrics of the step have come."""
        metrics = self._step_metrics()
        self._noted = {name: len(values) for name, values in metrics.items()}

    def forget_metrics(self) -> None:
        """Drop what was added since: a micro-batch that is taken again would count twice."""
        metrics = self._step_metrics()
        noted = self._noted or {}
        for name, values in metrics.items():
            del values[noted.get(name, 0) :]

    def extra_states(self) -> dict[str, Any]:
        """Give the size of passes for a checkpoint, where it is not the planned one: a resume rounds alike."""
        trainer: Any = super()
        return trainer.extra_states() | ({} if self.pass_rows is None else {PASS_ROWS: self.pass_rows})

    def load_extra_states(self, states: dict[str, Any]) -> None:
        """Take up the size of passes of a checkpoint, or the one of this attempt where that is smaller.

        Several ranks take none up: a branch may come from a job of one.
        """
        trainer: Any = super()
        trainer.load_extra_states(states)
        kept: int | None = states.get(PASS_ROWS)
        if kept is not None and alone():
            self.pass_rows = min(kept, self.pass_rows or kept)

    def _step_metrics(self) -> dict[str, list[float]]:
        trainer: Any = self
        return trainer._metrics["train"]

    def _halve(self, error: Exception) -> bool:
        trainer: Any = self
        most: int = self.pass_rows or trainer.args.per_device_train_batch_size
        if most <= 1 or not self.may_repeat():
            return False
        self.pass_rows = most // 2
        if self.events is not None:
            self.events.log(
                f"step {trainer.state.global_step + 1} did not fit into memory ({_first_line(error)}): it is taken "
                f"again, from here on in passes of at most {self.pass_rows} rows, each computed again in the backward "
                "pass",
                level="warning",
            )
        return True


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an accelerator, torch's allocator on CPUs or Python itself had no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)


def row_passes(rows: int, *, most: int | None) -> list[slice]:
    """Cut rows into passes of at most `most`."""
    width = rows if most is None else most
    return [slice(first, min(first + width, rows)) for first in range(0, rows, width)]


def _copy(weight: Parameter) -> torch.Tensor | None:
    return None if weight.grad is None else weight.grad.detach().clone()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
