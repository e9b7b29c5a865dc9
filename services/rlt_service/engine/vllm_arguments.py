"""Own what vLLM is told about an engine, down to each argument's name and value. Pure: vLLM is not imported.

Names as vLLM 0.32 has them (`EngineArgs`). What concerns GPUs was **not run** on any.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlt_service.engine.adapters import LORA_TARGETS
from rlt_service.engine.prompt_rows import EXACT_KEY
from rlt_service.engine_layout import EngineLayout

_WORKERS = "rlt_service.engine.scoring_worker"
_SCHEDULERS = "rlt_service.engine.scoring_scheduler"
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the ranks that vLLM 0.32 allocates
_BLOCK_TOKENS = 32  # a prefix is shared in whole blocks; 32 is the smallest that vLLM's CPU kernels like


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What vLLM needs to know; lengths in tokens."""

    home: Path
    """State folder, in which its caches lie."""
    model: Path
    tokenizer: Path
    """The base's folder, also where the weights are others."""
    dtype: str
    max_sequence: int
    max_batched_tokens: int | None
    max_loras: int
    """In one batch."""
    max_loaded: int
    """In memory."""
    max_lora_rank: int
    kv_cache_bytes: int
    exact_math: bool
    """Whether scores on a CPU in float32 are computed as transformers does."""
    banned_ids: tuple[int, ...]
    """What no generation may sample."""
    layout: EngineLayout = field(default_factory=EngineLayout)
    """How it lies on GPUs; on CPUs nobody asks."""


def engine_arguments(options: EngineOptions, *, on_cpu: bool, seed: int) -> dict[str, Any]:
    """Give all that vLLM is told; on CPUs its executor is the caller's to add, since that is a class."""
    return {
        "model": str(options.model),
        "tokenizer": str(options.tokenizer),
        "dtype": options.dtype,
        # One more than the longest sequence: vLLM insists on generating a token after a scored prompt.
        "max_model_len": options.max_sequence + 1,
        "max_num_batched_tokens": options.max_batched_tokens,
        "seed": seed,
        "enforce_eager": on_cpu,
        "enable_prefix_caching": True,
        "block_size": _BLOCK_TOKENS,
        "logprobs_mode": "processed_logprobs",
        "enable_lora": True,
        "max_loras": options.max_loras,
        "max_cpu_loras": options.max_loaded,
        "max_lora_rank": next(rank for rank in _LORA_RANKS if rank >= options.max_lora_rank),
        "lora_target_modules": list(LORA_TARGETS),
        "additional_config": {EXACT_KEY: options.exact_math},
        "disable_log_stats": True,
        "enable_log_requests": False,  # which would write prompts
        "trust_remote_code": False,
    } | (_on_cpu(options) if on_cpu else _on_gpus(options.layout))


def _on_cpu(options: EngineOptions) -> dict[str, Any]:
    return {
        "kv_cache_memory_bytes": options.kv_cache_bytes,
        "worker_cls": f"{_WORKERS}.CPUScoringWorker",
        "scheduler_cls": f"{_SCHEDULERS}.ScoringScheduler",
    }


def _on_gpus(layout: EngineLayout) -> dict[str, Any]:
    """Lay the engine out. The executor is always named: left alone, one GPU's worker is a part of the engine's core.

    Our worker counts on a process of its own: it tells its core by its parent.
    """
    backend = layout.distributed_executor_backend
    # vLLM schedules ahead where its executor can: Ray's cannot, nor is it all there with a pipeline.
    ahead = backend == "mp" and layout.pipeline_parallel_size == 1
    given: dict[str, Any] = {
        "tensor_parallel_size": layout.tensor_parallel_size,
        "pipeline_parallel_size": layout.pipeline_parallel_size,
        "data_parallel_size": layout.data_parallel_size,
        "data_parallel_backend": backend if layout.data_parallel_size > 1 else "mp",
        "distributed_executor_backend": backend,
        "worker_cls": f"{_WORKERS}.GPUScoringWorker",
        "scheduler_cls": f"{_SCHEDULERS}.{'AsyncScoringScheduler' if ahead else 'CacheUpToStart'}",
    }
    if not ahead:
        given["async_scheduling"] = False
    if layout.gpu_memory_utilization is not None:
        given["gpu_memory_utilization"] = layout.gpu_memory_utilization
    if layout.device_ids is not None:
        given["device_ids"] = list(layout.device_ids)
    return given
