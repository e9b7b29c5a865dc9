"""Own the choice among a run's policies: measured on the `select` questions now and then, the best one is the result.

The questions and seeds are the same every time, so that policies are compared in pairs, and are used for nothing else:
gate and report have questions of their own. `rl` goes by the reward, `rlvr` by the accuracy, a warm-up by the loss.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NotRequired, Protocol, TypedDict, Unpack

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlt_core.comparison import summarise
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.teachers import EvaluationRow
from rlt_train.context import JobContext
from rlt_train.models import Policy, policy_tensors, put_tensors


class Measure(Protocol):
    """Lets the newest policy answer questions."""

    def __call__(self, rows: Sequence[DatasetRow]) -> list[EvaluationRow]:
        """Give one judged answer a question."""
        ...


class How(TypedDict):
    """When to measure, and what to make of it."""

    every: int
    patience: int
    context: JobContext
    clock: NotRequired[Callable[[], float]]


class Choice(TrainerCallback):
    """Measures every `every` steps and at the end; keeps the best policy, and may end training early.

    Of several ranks all measure, and must find the same numbers.
    """

    measure_name: str
    """The number among those found that decides."""
    sign = 1.0
    """-1 where less is better."""

    def __init__(
        self,
        policy: Policy,
        *,
        questions: int,
        every: int,
        patience: int,
        context: JobContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience` is how many measurements in a row without a new best end training; 0 never does."""
        self._policy = policy
        self._questions = questions
        self._every = every
        self._patience = patience
        self._context = context
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._since = 0
        self._best = self.sign * float("-inf")
        self._weights: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.spent_s = 0.0

    @abstractmethod
    def find(self) -> dict[str, float]:
        """Measure the policy as it is now."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Measure if the step that has ended, and was published, is due for it."""
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._look(state.global_step)
            if self.is_over:
                self._context.events.log(
                    f"stops early after step {state.global_step}: {self._since} measurements since step "
                    f"{self.best_step} were no better than its {self._best:.4f}"
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
        put_tensors(self._policy, self._weights)
        self._context.events.log(
            f"the result is the policy of step {self.best_step}, whose {self.measure_name} on {self._questions} select "
            f"questions was the best: {self._best:.4f}"
        )
        return True

    def state(self) -> dict[str, Any]:
        """Give the choice so far, for a checkpoint."""
        return {"step": self.best_step, "best": self._best, "since": self._since, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the choice of a checkpoint."""
        self.best_step, self._best = state["step"], state["best"]
        self._since, self._weights = state["since"], state["weights"]

    def _look(self, step: int) -> None:
        began_s = self._clock()
        found = self.find()
        self._latest = {f"select_{name}": value for name, value in found.items()}
        value = found[self.measure_name]
        if self.sign * value > self.sign * self._best:
            self._weights = {name: tensor.clone() for name, tensor in policy_tensors(self._policy).items()}
            self.best_step, self._best, self._since = step, value, 0
        else:
            self._since += 1
        self.spent_s += self._clock() - began_s


class Selection(Choice):
    """The choice of `rl`: the policy answers the questions, and its reward decides."""

    measure_name = "reward"

    def __init__(self, policy: Policy, *, rows: Sequence[DatasetRow], measure: Measure, **how: Unpack[How]) -> None:
        super().__init__(policy, questions=len(rows), **how)
        self._rows = tuple(rows)
        self._measure = measure

    def find(self) -> dict[str, float]:
        """Let the policy answer, and give the means."""
        return summarise(self._measure(self._rows))


class AccuracySelection(Choice):
    """The choice of `rlvr`: the policy answers the questions, and the share that it has right decides."""

    measure_name = "accuracy"

    def __init__(
        self, policy: Policy, *, questions: int, measure: Callable[[], dict[str, float]], **how: Unpack[How]
    ) -> None:
        super().__init__(policy, questions=questions, **how)
        self._measure = measure

    def find(self) -> dict[str, float]:
        """Let the policy answer, and give the means."""
        return self._measure()


class LossSelection(Choice):
    """The choice of a warm-up: the loss on the questions' traces decides."""

    measure_name = "loss"
    sign = -1.0

    def __init__(self, policy: Policy, *, questions: int, measure: Callable[[], float], **how: Unpack[How]) -> None:
        super().__init__(policy, questions=questions, **how)
        self._measure = measure

    def find(self) -> dict[str, float]:
        """Give the loss."""
        return {"loss": self._measure()}
