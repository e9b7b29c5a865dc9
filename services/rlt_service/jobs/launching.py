"""Own how a trainer of several processes is started: accelerate's configuration, and its launcher before the command.

Read in accelerate 1.15: MULTI_GPU is its word for torch's elastic launcher, also where no process has a GPU; FSDP and
DeepSpeed it sets up on GPUs only. Number and kind of everything else is the trainer's (precision, batches, clipping).
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import AnySpec
from rlt_core.schemas.training import Parallel, ParallelStrategy

CONFIG_NAME = "accelerate.json"

_STRATEGIES: dict[ParallelStrategy, dict[str, Any]] = {
    "ddp": {"distributed_type": "MULTI_GPU"},
    "fsdp": {
        "distributed_type": "FSDP",
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": True,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_state_dict_type": "FULL_STATE_DICT",
            "fsdp_offload_params": False,
            # Each rank reads the base from the same folder; the other way starts ranks on weights that are not there.
            "fsdp_cpu_ram_efficient_loading": False,
            # The spec's gradient_checkpointing is the trainer's own.
            "fsdp_activation_checkpointing": False,
        },
    },
    "deepspeed_zero3": {
        "distributed_type": "DEEPSPEED",
        "deepspeed_config": {
            "zero_stage": 3,
            "zero3_init_flag": True,
            "zero3_save_16bit_model": True,
            "offload_optimizer_device": "none",
            "offload_param_device": "none",
        },
    },
}


def accelerate_config(parallel: Parallel) -> dict[str, Any]:
    """Give accelerate's configuration of a job's processes, all on this machine."""
    return {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "dynamo_backend": "NO",
        "machine_rank": 0,
        "main_process_port": 0,  # a free one: several workers may share the machine
        "main_training_function": "main",
        "mixed_precision": "no",  # the trainer asks for bfloat16 where there are GPUs
        "num_machines": 1,
        "num_processes": parallel.processes,
        "use_cpu": False,  # the trainer looks by itself
        **_STRATEGIES[parallel.strategy],
    }


def parallel_of(spec: AnySpec) -> Parallel:
    """Give a job's processes; a kind that asks services alone is one."""
    return Parallel() if isinstance(spec, CollectSpec | EvaluateSpec) else spec.parallel


def launched(command: Sequence[str], *, parallel: Parallel, folder: Path) -> list[str]:
    """Put accelerate's launcher before a trainer's command, its configuration in the attempt's folder; OSError.

    The command of a single process stays as it is.
    """
    if parallel.processes == 1:
        return list(command)
    path = folder / CONFIG_NAME
    text = json.dumps(accelerate_config(parallel), indent=2, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(path), "--no_python"]
    return [*launcher, *command]


def check_launchable(parallel: Parallel) -> None:
    """Raise ConfigurationError where this worker lacks a package: accelerate would fail without an event."""
    if parallel.processes == 1:
        return
    needed = ("accelerate", "deepspeed") if parallel.strategy == "deepspeed_zero3" else ("accelerate",)
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(
                f"parallel asks for {parallel.strategy}, and {package} is not installed on this worker: install it, or "
                "let the job run on another worker"
            )
