"""How full vLLM's cache is comes from what it tells its loggers, by its own adapter and types; no engine runs."""

from typing import Any

from vllm.v1.metrics.loggers import PerEngineStatLoggerAdapter
from vllm.v1.metrics.stats import SchedulerStats

from rlt_service.engine.cache_watch import CacheWatch


def test_the_fullest_core_counts_as_of_its_last_step() -> None:
    watch, config = CacheWatch(), dict[str, Any]()
    loggers: Any = PerEngineStatLoggerAdapter(config, [0, 1], watch.listener)  # pyright: ignore[reportArgumentType] - its configuration is not looked at
    loggers.log_engine_initialized()
    assert watch.use is None
    loggers.record(SchedulerStats(kv_cache_usage=0.75), None, mm_cache_stats=None, engine_idx=0)
    loggers.record(SchedulerStats(kv_cache_usage=0.5), None, mm_cache_stats=None, engine_idx=1)
    assert watch.use == 0.75
    loggers.record(None, None, mm_cache_stats=None, engine_idx=0)
    loggers.record(SchedulerStats(kv_cache_usage=0.25), None, mm_cache_stats=None, engine_idx=0)
    assert watch.use == 0.5
