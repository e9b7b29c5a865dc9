"""Start vLLM's AsyncLLM in a thread, one at a time, so that a start that nobody waits for any more leaves nothing."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerFactory

from rlt_service.engine.cache_watch import CacheWatch
from rlt_service.engine.vllm_environment import vllm_environment

_LOOK_S = 0.1

# vLLM reads the process's environment while it starts, and two starts would take each other's away. One at a time, the
# processes that are new belong to the start under way.
_ONE_AT_A_TIME = threading.Lock()


class Start:
    """One start of an engine; a thread does it, because it takes half a minute and cannot be awaited."""

    def __init__(
        self,
        arguments: Callable[[], AsyncEngineArgs],
        *,
        home: Path,
        v1_runner: bool,
        watch: CacheWatch | None = None,
    ) -> None:
        """Take what makes the arguments (vLLM looks at the environment even for these), and what the environment says.

        `home` is the state folder, for vLLM's caches; `v1_runner` asks for its older model runner; `watch` is told how
        full the cache is.
        """
        self._arguments = arguments
        self._home = home
        self._v1_runner = v1_runner
        self._listeners: list[StatLoggerFactory] | None = None if watch is None else [watch.listener]
        self._abandoned = False
        self._processes_before: frozenset[int] | None = None
        """While the start is under way."""

    async def run(self) -> AsyncLLM:
        """Start; raises what vLLM raises. Cancelled, it ends every process that it has begun."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self._abandon(starting)
            raise

    def _start(self) -> AsyncLLM:
        with _ONE_AT_A_TIME:
            if self._abandoned:
                raise RuntimeError("the start was given up before it began")
            self._processes_before = _children()
            try:
                on_cpu = current_platform.is_cpu()
                with vllm_environment(self._home, v1_runner=self._v1_runner, keep_memory=on_cpu):
                    return AsyncLLM.from_engine_args(self._arguments(), stat_loggers=self._listeners)
            finally:
                self._processes_before = None

    async def _abandon(self, starting: "asyncio.Future[AsyncLLM]") -> None:
        """Kill what the thread starts until it gives up: it cannot be told to."""
        self._abandoned = True
        while not starting.done():
            before = self._processes_before
            if before is not None:
                for pid in _children() - before:
                    _kill_tree(pid)
            await asyncio.wait([starting], timeout=_LOOK_S)
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().shutdown)


def _children() -> frozenset[int]:
    return frozenset(process.pid for process in multiprocessing.active_children() if process.pid is not None)


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        core = psutil.Process(pid)
        for process in [*core.children(recursive=True), core]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
