"""Own the turn of a trainer: it waits before each step until it is its turn, and says how long the step took.

A gate is a folder. `go-K` lets the K-th step begin; `done-K` holds what the trainer measured of it, as JSON.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

POLL_S = 0.05
LOOK_S = 5.0
"""How often a trainer is asked for whether it lives: ours through its server, which has work to do."""
FOLDER_VARIABLE = "RLT_BENCH_GATE"


class StepGate(TrainerCallback):
    """Holds a transformers trainer before each of its steps, and measures them from then on."""

    def __init__(self, folder: Path, *, parts: Callable[[], dict[str, float]] = dict) -> None:
        """`parts` gives, when a step has ended, the seconds of some of its parts; the rest is training."""
        self._folder = folder
        self._parts = parts
        self._began_s = 0.0
        self._ended = 0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Wait for this step's turn."""
        while not (self._folder / f"go-{state.global_step + 1}").exists():
            time.sleep(POLL_S)
        self._began_s = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Tell of the step that has ended; its log comes last of it, and a closing summary is of none."""
        if logs is None or "loss" not in logs or state.global_step == self._ended:
            return
        self._ended = state.global_step
        seconds, parts = time.monotonic() - self._began_s, self._parts()
        rest = {"train_s": seconds - sum(parts.values())} if parts else {}
        length = logs.get("completions/mean_length")
        self.tell(state.global_step, {"seconds": seconds, "length": length, **parts, **rest})

    def tell(self, step: int, found: dict[str, Any]) -> None:
        """Write what was measured, whole or not at all."""
        part = self._folder / f".done-{step}"
        part.write_text(json.dumps(found), encoding="utf-8")
        os.replace(part, self._folder / f"done-{step}")


def take_turn(folder: Path, *, step: int, alive: Callable[[], bool], timeout_s: float) -> dict[str, Any]:
    """Let a trainer take its `step`, and give what it told; raises RuntimeError where it ends or takes too long."""
    (folder / f"go-{step}").touch()
    began_s = looked_s = time.monotonic()
    done = folder / f"done-{step}"
    while not done.exists():
        now_s = time.monotonic()
        if now_s - looked_s > LOOK_S:
            looked_s = now_s
            if (not alive() and not done.exists()) or now_s - began_s > timeout_s:
                raise RuntimeError(f"the trainer of {folder.name} has not told of step {step}: look at its log")
        time.sleep(POLL_S)
    found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return found
