"""Own how fast the steps of a training are that samples nothing: seconds and tokens of each."""

import time
from collections.abc import Callable

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StepSpeed(TrainerCallback):
    """Measures each optimizer step from its first pass to its end. Of several ranks all count their own tokens."""

    def __init__(self, *, of_all: Callable[[int], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`of_all` adds up what the ranks have; all of them call it."""
        self._of_all = of_all
        self._clock = clock
        self._began_s = 0.0
        self._tokens = 0
        self._latest: dict[str, float] = {}
        self.trained_tokens = 0
        """Of all steps of this process's life and all ranks, padding left out."""

    def count(self, tokens: int) -> None:
        """Add tokens, padding left out, that this process took through the model."""
        self._tokens += tokens

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Start anew."""
        self._began_s, self._tokens = self._clock(), 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Sum up the step, before anything is measured or saved."""
        took_s, tokens = self._clock() - self._began_s, self._of_all(self._tokens)
        self.trained_tokens += tokens
        self._latest = {"train_s": took_s, "tokens_per_s": tokens / took_s if took_s > 0.0 else 0.0}

    def take_metrics(self) -> dict[str, float]:
        """Give those of the step that has just ended."""
        found, self._latest = self._latest, {}
        return found
