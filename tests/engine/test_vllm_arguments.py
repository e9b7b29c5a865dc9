"""What vLLM is told about an engine, to the last argument; of GPUs held against vLLM's names alone, never run."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rlt_service.engine.vllm_arguments import EngineOptions, engine_arguments
from rlt_service.engine_layout import EngineLayout

COMMON: dict[str, Any] = {
    "model": "/models/algebra",
    "tokenizer": "/models/base",
    "dtype": "bfloat16",
    "max_model_len": 2049,
    "max_num_batched_tokens": None,
    "seed": 7,
    "enable_prefix_caching": True,
    "block_size": 32,
    "logprobs_mode": "processed_logprobs",
    "enable_lora": True,
    "max_loras": 4,
    "max_cpu_loras": 16,
    "max_lora_rank": 64,
    "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "additional_config": {"rlt_exact_math": True},
    "disable_log_stats": True,
    "enable_log_requests": False,
    "trust_remote_code": False,
}
GPU: dict[str, Any] = {
    "enforce_eager": False,
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "data_parallel_backend": "mp",
    "distributed_executor_backend": "mp",
    "worker_cls": "rlt_service.engine.scoring_worker.GPUScoringWorker",
    "scheduler_cls": "rlt_service.engine.scoring_scheduler.AsyncScoringScheduler",
}
NOT_AHEAD: dict[str, Any] = {
    "scheduler_cls": "rlt_service.engine.scoring_scheduler.CacheUpToStart",
    "async_scheduling": False,
}
RAY: dict[str, Any] = {"distributed_executor_backend": "ray"}


def told(*, on_cpu: bool, **layout: Any) -> dict[str, Any]:
    options = EngineOptions(
        home=Path("/state"),
        model=Path("/models/algebra"),
        tokenizer=Path("/models/base"),
        dtype="bfloat16",
        max_sequence=2048,
        max_batched_tokens=None,
        max_loras=4,
        max_loaded=16,
        max_lora_rank=33,
        kv_cache_bytes=2**30,
        exact_math=True,
        banned_ids=(),
        layout=EngineLayout.model_validate(layout),
    )
    return engine_arguments(options, on_cpu=on_cpu, seed=7)


def test_an_engine_on_cpus_is_told_this_and_nothing_of_gpus() -> None:
    assert told(on_cpu=True) == {
        **COMMON,
        "enforce_eager": True,
        "kv_cache_memory_bytes": 2**30,
        "worker_cls": "rlt_service.engine.scoring_worker.CPUScoringWorker",
        "scheduler_cls": "rlt_service.engine.scoring_scheduler.ScoringScheduler",
    }


@pytest.mark.parametrize(
    ("layout", "given"),
    [
        ({}, {}),
        ({"tensor_parallel_size": 4}, {"tensor_parallel_size": 4}),
        ({"gpu_memory_utilization": 0.45, "device_ids": [3]}, {"gpu_memory_utilization": 0.45, "device_ids": [3]}),
        ({"data_parallel_size": 2}, {"data_parallel_size": 2}),
        ({"pipeline_parallel_size": 2}, {"pipeline_parallel_size": 2, **NOT_AHEAD}),
        (RAY | {"tensor_parallel_size": 16}, {**RAY, "tensor_parallel_size": 16, **NOT_AHEAD}),
        (
            RAY | {"data_parallel_size": 2},
            {**RAY, "data_parallel_size": 2, "data_parallel_backend": "ray", **NOT_AHEAD},
        ),
    ],
)
def test_an_engine_on_gpus_is_told_its_layout(layout: dict[str, Any], given: dict[str, Any]) -> None:
    assert told(on_cpu=False, **layout) == {**COMMON, **GPU, **given}


def test_every_argument_is_one_that_vllm_knows() -> None:
    """Its source is read and not run: that takes seconds."""
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vllm is not installed")
    source = (Path(found.origin).parent / "engine" / "arg_utils.py").read_text(encoding="utf-8")
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    known = {
        field.target.id
        for name in ("EngineArgs", "AsyncEngineArgs")
        for field in classes[name].body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    whole = {"gpu_memory_utilization": 0.5, "device_ids": [0, 1], "pipeline_parallel_size": 2}
    assert {*told(on_cpu=True), *told(on_cpu=False, **whole)} - known == set()
