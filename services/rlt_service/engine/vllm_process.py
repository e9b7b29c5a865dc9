"""Start vLLM's AsyncLLM for this machine and see all of its processes end. No requests here."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
import random
from contextlib import suppress

import psutil
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM

from rlt_core.errors import ConfigurationError
from rlt_service.engine.cache_watch import CacheWatch
from rlt_service.engine.patient_executor import PatientExecutor
from rlt_service.engine.vllm_arguments import EngineOptions, engine_arguments
from rlt_service.engine.vllm_start import Start
from rlt_service.engine.vllm_workers import ask_workers

_EXIT_S = 10.0
_V2_BANNED_IDS = 1024  # vLLM 0.32, v1/worker/gpu/sample/logit_bias.py: a request with more ends the whole engine


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
            "what it needs, on GPUs also RLT_TEACHER_ENGINE and RLT_STUDENT_ENGINE."
        ) from error


async def read_process_ids(llm: AsyncLLM) -> tuple[psutil.Process, ...]:
    """Name the engine's processes on this host: its cores and its workers."""
    answers = await ask_workers(llm, "process_ids")
    pids = {pid for core in answers for worker in core for pid in worker}
    return tuple(psutil.Process(pid) for pid in sorted(pids))


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
    given = engine_arguments(options, on_cpu=on_cpu, seed=random.SystemRandom().getrandbits(31))
    if on_cpu:
        given["distributed_executor_backend"] = PatientExecutor
    return AsyncEngineArgs(**given)
