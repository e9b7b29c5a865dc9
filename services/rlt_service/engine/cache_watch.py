"""Own how full vLLM's room for keys and values is, as its scheduler says after each step.

vLLM counts all of its own figures or none (`log_stats`), and counting costs a little of each step, so that it does so
where RLT_ENGINE_STATS asks for it.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from typing import Any

from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import SchedulerStats


class CacheWatch:
    """The newest share of each of the engine's cores; the fullest counts."""

    def __init__(self) -> None:
        self._shares: dict[int, float] = {}

    @property
    def use(self) -> float | None:
        """Share that is taken, 0 to 1, as of the last step; None before the first."""
        return max(self._shares.values(), default=None)

    def note(self, core: int, share: float) -> None:
        """Remember what a core said."""
        self._shares[core] = share

    def listener(self, vllm_config: VllmConfig, engine_index: int = 0) -> "_Listener":
        """Make what vLLM tells its figures to, one a core."""
        return _Listener(vllm_config, engine_index, watch=self)


class _Listener(StatLoggerBase):
    def __init__(self, vllm_config: VllmConfig, engine_index: int = 0, *, watch: CacheWatch) -> None:
        self._core = engine_index
        self._watch = watch

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._watch.note(self._core, scheduler_stats.kv_cache_usage)

    def log_engine_initialized(self) -> None:
        """Say nothing: this has no log."""
