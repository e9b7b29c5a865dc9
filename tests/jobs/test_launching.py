"""The configuration of accelerate that a job's processes are started with, as accelerate itself reads it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import Parallel, ParallelStrategy
from rlt_service.jobs.launching import check_launchable, launched

COMMAND = ("python", "-m", "rlt_train")


def environment(strategy: ParallelStrategy, folder: Path) -> tuple[Any, Mapping[str, str]]:
    """Give what accelerate makes of the launcher's arguments, and the variables that it would start ranks with."""
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    command = launched(COMMAND, parallel=Parallel(processes=2, strategy=strategy), folder=folder)
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    arguments = launch.launch_command_parser().parse_args([*command[3:], "--job", "job.json"])
    arguments, _, _ = launch._validate_launch_command(arguments)
    assert (arguments.training_script, arguments.training_script_args) == (
        "python",
        ["-m", "rlt_train", "--job", "job.json"],
    )
    if not arguments.use_deepspeed:
        return arguments, prepare_multi_gpu_env(arguments)
    arguments.deepspeed_fields_from_accelerate_config = "mixed_precision"  # as launch_command does
    return arguments, prepare_deepspeed_cmd_env(arguments)[1]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed_zero3"])
def test_all_strategies_start_two_processes_of_this_machine_on_a_free_port(
    strategy: ParallelStrategy, tmp_path: Path
) -> None:
    arguments, variables = environment(strategy, tmp_path)
    assert (arguments.nproc_per_node, arguments.num_machines, arguments.no_python) == ("2", 1, True)
    assert int(arguments.master_port) > 0
    assert variables["ACCELERATE_MIXED_PRECISION"] == "no"
    assert (arguments.multi_gpu, arguments.use_fsdp, arguments.use_deepspeed) == (
        strategy == "ddp",
        strategy == "fsdp",
        strategy == "deepspeed_zero3",
    )


def test_fsdp_shards_each_layer_by_its_second_version(tmp_path: Path) -> None:
    _, variables = environment("fsdp", tmp_path)
    wanted = {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "FSDP_OFFLOAD_PARAMS": "false",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
        "FSDP_ACTIVATION_CHECKPOINTING": "false",
    }
    assert {name: variables.get(name) for name in wanted} == wanted


def test_zero3_shards_weights_too_and_leaves_batches_and_clipping_to_the_trainer(tmp_path: Path) -> None:
    _, variables = environment("deepspeed_zero3", tmp_path)
    wanted = {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
        "ACCELERATE_DEEPSPEED_ZERO3_INIT": "true",
        "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none",
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    }
    assert {name: variables.get(name) for name in wanted} == wanted
    assert "ACCELERATE_GRADIENT_ACCUMULATION_STEPS" not in variables
    assert "ACCELERATE_GRADIENT_CLIPPING" not in variables


def test_a_single_process_is_started_without_a_launcher(tmp_path: Path) -> None:
    assert launched(COMMAND, parallel=Parallel(), folder=tmp_path) == list(COMMAND)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_deepspeed_says_so_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "deepspeed" else name)
    check_launchable(Parallel(processes=2, strategy="fsdp"))
    with pytest.raises(ConfigurationError, match="deepspeed is not installed"):
        check_launchable(Parallel(processes=2, strategy="deepspeed_zero3"))
