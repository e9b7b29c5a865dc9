"""The product's trainer behind a gate: what RLT_TRAINER_COMMAND names while `make bench-train` runs."""

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.train.gate import FOLDER_VARIABLE, StepGate
from rlt_core.schemas.trainer import ResultEvent
from rlt_train.__main__ import run
from rlt_train.context import JobContext
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.kinds import KINDS
from rlt_train.rl import run_rl


class GatedTrainer(RltGrpoTrainer):
    """Takes a step when it is told to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(StepGate(Path(os.environ[FOLDER_VARIABLE])))


def run_gated(context: JobContext) -> ResultEvent:
    """Run an `rl` job step by step, as it is its turn."""
    return run_rl(context, trainer_class=GatedTrainer)


if __name__ == "__main__":
    KINDS["rl"] = run_gated
    sys.exit(run())
