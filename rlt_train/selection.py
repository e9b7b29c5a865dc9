"""Own the choice among a run's policies: measured on the `select` questions now and then, the best one is the result.

The questions and seeds are the same every time, so that policies are compared in pairs, and are used for nothing else:
gate and report have questions of their own.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from peft import PeftModel
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_core.comparison import summarise
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.teachers import EvaluationRow
from rlt_train.context import JobContext
from rlt_train.models import ADAPTER


class Measure(Protocol):
    """Lets the newest policy answer questions."""

    def __call__(self, rows: Sequence[DatasetRow]) -> list[EvaluationRow]:
        """Give one judged answer a question."""
        ...


class Selection(TrainerCallback):
    """Measures every `every` steps and at the end; keeps the best policy, and may end training early."""

    def __init__(
        self,
        policy: PeftModel,
        *,
        rows: Sequence[DatasetRow],
        measure: Measure,
        every: int,
        patience: int,
        context: JobContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience` is how many measurements in a row without a new best end training; 0 never does."""
        self._policy = policy
        self._rows = tuple(rows)
        self._measure = measure
        self._every = every
        self._patience = patience
        self._context = context
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._since = 0
        self._reward = float("-inf")
        self._weights: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.spent_s = 0.0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Measure if the step that has ended, and was published, is due for it."""
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._look(state.global_step)
            if self.is_over:
                self._context.events.log(
                    f"stops early after step {state.global_step}: {self._since} measurements since step "
                    f"{self.best_step} were no better than its {self._reward:.4f}"
                )
                control.should_training_stop = True

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return bool(self._patience) and self._since >= self._patience

    def take_metrics(self) -> dict[str, float]:
        """Give what was measured after the step that has just ended; nothing where none was due."""
        found, self._latest = self._latest, {}
        return found

    def restore_best(self, *, last_step: int) -> bool:
        """Give the policy the best weights that were seen; False where those are the last step's already."""
        if self.best_step is None or self.best_step == last_step:
            return False
        set_peft_model_state_dict(self._policy, self._weights, adapter_name=ADAPTER)
        self._context.events.log(
            f"the result is the policy of step {self.best_step}, whose reward on {len(self._rows)} select questions "
            f"was the best: {self._reward:.4f}"
        )
        return True

    def state(self) -> dict[str, Any]:
        """Give the choice so far, for a checkpoint."""
        return {"step": self.best_step, "reward": self._reward, "since": self._since, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the choice of a checkpoint."""
        self.best_step, self._reward = state["step"], state["reward"]
        self._since, self._weights = state["since"], state["weights"]

    def _look(self, step: int) -> None:
        began_s = self._clock()
        found = summarise(self._measure(self._rows))
        self._latest = {f"select_{name}": value for name, value in found.items()}
        if found["reward"] > self._reward:
            tensors = get_peft_model_state_dict(self._policy, adapter_name=ADAPTER, save_embedding_layers=False)
            self._weights = {name: tensor.detach().to("cpu").clone() for name, tensor in tensors.items()}
            self.best_step, self._reward, self._since = step, found["reward"], 0
        else:
            self._since += 1
        self.spent_s += self._clock() - began_s
