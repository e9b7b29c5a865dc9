"""Start vLLM's AsyncLLM for this machine and see all of its processes end. No requests here."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from rlt_core.errors import ConfigurationError
from rlt_service.engine.adapters import LORA_TARGETS
from rlt_service.engine.cache_watch import CacheWatch
from rlt_service.engine.patient_executor import PatientExecutor
from rlt_service.engine.prompt_rows import EXACT_KEY
from rlt_service.engine.vllm_start import Start

_WORKERS = "rlt_service.engine.scoring_worker"
_SCHEDULERS = "rlt_service.engine.scoring_scheduler"
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the ranks that vLLM 0.32 allocates
_BLOCK_TOKENS = 32  # a prefix is shared in whole blocks; 32 is the smallest that vLLM's CPU kernels like
_EXIT_S = 10.0
_V2_BANNED_IDS = 1024  # vLLM 0.32, v1/worker/gpu/sample/logit_bias.py: a request with more ends the whole engine


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


def needs_v1_runner(*, on_cpu: bool, banned_ids: int) -> bool:
    """Tell whether vLLM's V2 model runner cannot do what we need; elsewhere vLLM chooses by the model."""
    return on_cpu or banned_ids > _V2_BANNED_IDS


async def start_llm(options: EngineOptions, *, watch: CacheWatch | None = None) -> AsyncLLM:
    """Start the engine's processes; raises ConfigurationError where vLLM refuses the settings or the machine.

    `watch` is told how full the cache is.
    """
    v1_runner = needs_v1_runner(on_cpu=current_platform.is_cpu(), banned_ids=len(options.banned_ids))
    try:
        start = Start(lambda: _arguments(options), home=options.home, v1_runner=v1_runner, watch=watch)
        return await start.run()
    except (ValueError, RuntimeError, OSError) as error:
        raise ConfigurationError(
            f"vLLM did not start on {options.model} ({options.dtype}, {options.max_sequence} tokens): {error}. "
            "The log above says more; RLT_DTYPE, RLT_MAX_MODEL_LEN, RLT_KV_CACHE_GIB and RLT_MAX_LORAS change "
            "what it needs."
        ) from error


async def read_process_ids(llm: AsyncLLM) -> tuple[psutil.Process, ...]:
    """Name the engine's processes: its core and its workers."""
    pairs: list[tuple[int, int]] = await llm.collective_rpc("process_ids")
    return tuple(psutil.Process(pid) for pid in sorted({pid for pair in pairs for pid in pair}))


async def stop_llm(llm: AsyncLLM, processes: tuple[psutil.Process, ...]) -> None:
    """Shut the engine down and kill what has not gone after `_EXIT_S` seconds."""
    if llm.output_handler is not None:  # else it reports the end that we are about to make as a failure
        llm.output_handler.cancel()
        await asyncio.wait([llm.output_handler])
    await asyncio.to_thread(llm.shutdown)
    await asyncio.to_thread(_await_exit, processes)


def _await_exit(processes: tuple[psutil.Process, ...]) -> None:
    _, remaining = psutil.wait_procs(processes, timeout=_EXIT_S)
    for process in remaining:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(remaining, timeout=_EXIT_S)


def _arguments(options: EngineOptions) -> AsyncEngineArgs:
    on_cpu = current_platform.is_cpu()
    return AsyncEngineArgs(
        model=str(options.model),
        tokenizer=str(options.tokenizer),
        dtype=options.dtype,  # pyright: ignore[reportArgumentType] - a str from a closed set of settings
        # One more than the longest sequence: vLLM insists on generating a token after a scored prompt.
        max_model_len=options.max_sequence + 1,
        max_num_batched_tokens=options.max_batched_tokens,
        seed=random.SystemRandom().getrandbits(31),
        enforce_eager=on_cpu,
        enable_prefix_caching=True,
        block_size=_BLOCK_TOKENS,
        kv_cache_memory_bytes=options.kv_cache_bytes if on_cpu else None,
        logprobs_mode="processed_logprobs",
        enable_lora=True,
        max_loras=options.max_loras,
        max_cpu_loras=options.max_loaded,
        max_lora_rank=next(rank for rank in _LORA_RANKS if rank >= options.max_lora_rank),  # pyright: ignore[reportArgumentType] - as above
        lora_target_modules=list(LORA_TARGETS),
        distributed_executor_backend=PatientExecutor if on_cpu else None,
        worker_cls=f"{_WORKERS}.{'CPUScoringWorker' if on_cpu else 'GPUScoringWorker'}",
        scheduler_cls=f"{_SCHEDULERS}.{'ScoringScheduler' if on_cpu else 'AsyncScoringScheduler'}",
        additional_config={EXACT_KEY: options.exact_math},
        disable_log_stats=True,
        enable_log_requests=False,  # which would write prompts
        trust_remote_code=False,
    )
