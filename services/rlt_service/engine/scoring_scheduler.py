"""How much of the prefix cache a scored sequence may read: up to the state that its first wanted log-prob needs.

Leans on the inside of vLLM 0.32: `Scheduler._get_local_prefix_cache_hit`. Left alone, vLLM reads every cached block,
also those of wanted positions, which then have no logits (it skips the cache for prompt log-probs for that reason);
such a sequence would have to be scored a second time, without the cache.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from vllm.v1.core.kv_cache_manager import KVCacheBlocks
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from rlt_service.engine.generation_first import GenerationFirst
from rlt_service.engine.prompt_rows import scoring_parameters


class CacheUpToStart(Scheduler):
    """Mixin over a scheduler: our scoring requests read cached blocks before `start - 1` only, all others as ever."""

    def _get_local_prefix_cache_hit(self, request: Request) -> tuple[KVCacheBlocks, int, int, bool]:
        sampling, manager = request.sampling_params, self.kv_cache_manager
        parameters = None if sampling is None else scoring_parameters(sampling.extra_args)
        if parameters is None or not manager.prefix_cache_lookup_enabled(request):
            return super()._get_local_prefix_cache_hit(request)
        # The log-prob at `start` comes from the hidden state at `start - 1`, so that one must be computed.
        readable = min(request.num_tokens, parameters.start) - 1
        blocks, computed, _ = manager.coordinator.find_longest_cache_hit(request.block_hashes, readable)
        return manager.create_kv_cache_blocks(blocks), computed, 0, False


class ScoringScheduler(CacheUpToStart, GenerationFirst):
    """For CPUs, where vLLM schedules a step when the one before it is done, and a full one takes seconds."""


class AsyncScoringScheduler(CacheUpToStart, AsyncScheduler):
    """For GPUs, where vLLM schedules ahead. Not run on a GPU yet; the check at the engine's start proves it."""
