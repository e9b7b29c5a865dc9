"""The product's trainer, but that jobs of the sparse arm are rewarded for being right alone (RLT_TRAINER_COMMAND)."""

import sys
from collections.abc import Callable
from dataclasses import replace

from benchmarks.experiment.arms import SPARSE
from benchmarks.experiment.right_alone import BeingRightAlone
from rlt_core.schemas.trainer import ResultEvent
from rlt_train.__main__ import run
from rlt_train.context import JobContext
from rlt_train.kinds import KINDS
from rlt_train.rl import run_rl
from rlt_train.services import Services


def run_arm(context: JobContext) -> ResultEvent:
    """Run an `rl` job as its arm wants it."""
    if SPARSE not in (context.job.spec.name or ""):
        return run_rl(context)
    connect: Callable[[], Services] = context.connect
    return run_rl(replace(context, connect=lambda: BeingRightAlone(connect())))


if __name__ == "__main__":
    KINDS["rl"] = run_arm
    sys.exit(run())
