"""Own the writers of metrics beside the job's own: TensorBoard, Weights & Biases, Trackio, by transformers' callbacks.

None is installed with the project; each has an extra of its own. What is written is what the job tells, under the same
names. Keys and addresses are the environment's of the worker (WANDB_API_KEY, WANDB_MODE=offline, TRACKIO_SPACE_ID).
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import MetricsWriter

PREFIX = "rlt/"
"""Of the names that our metrics have among TRL's."""


def writer_arguments(writers: Sequence[MetricsWriter], *, folder: Path, name: str) -> dict[str, Any]:
    """Give transformers' arguments for the writers; raises ConfigurationError for one that is not installed here."""
    for writer in writers:
        if importlib.util.find_spec(writer) is None:
            raise ConfigurationError(
                f"report_to names {writer}, which is not installed on this worker: pip install 'rlt[{writer}]', or "
                "leave it out (GET /v1/jobs/{id}/metrics has all of it)"
            )
    if not writers:
        return {"report_to": "none"}
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    os.environ.setdefault("WANDB_DIR", str(folder))
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
    return {"report_to": list(writers), "run_name": name}


def among_logs(metrics: dict[str, float]) -> dict[str, float]:
    """Name our metrics as they stand among TRL's logs of a step."""
    return {f"{PREFIX}{name}": value for name, value in metrics.items()}


def from_logs(logs: dict[str, Any]) -> dict[str, float]:
    """Find our metrics among TRL's logs of a step."""
    return {name.removeprefix(PREFIX): float(value) for name, value in logs.items() if name.startswith(PREFIX)}
