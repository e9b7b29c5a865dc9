"""The LoRA versions in a vLLM engine: loaded when a request names one, kept while one does, unloaded by us alone.

Leans on vLLM 0.32 (`lora/worker_manager.py`, `lora/model_manager.py`): an adapter stays in the worker's memory until
it is removed, or until one more than `max_cpu_loras` are there; into the `max_loras` slots of a batch it is copied from
that memory. As long as we keep to `max_cpu_loras`, vLLM never reads an adapter's files again: a load that fails inside
a step would end the engine, and a rollout adapter's files may be gone.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Protocol

from vllm.lora.request import LoRARequest

from rlt_core.artifacts import as_told
from rlt_core.errors import EngineUnavailableError, InvalidAdapterError
from rlt_service.engine.adapters import AdapterRules, validate_adapter
from rlt_service.engine.protocol import AdapterRef
from rlt_service.engine.pulse import Pulse

RETRY_AFTER_S = 5.0


class LoraWorker(Protocol):
    """What is needed of AsyncLLM here."""

    @property
    def errored(self) -> bool:
        """Whether the engine is dead."""
        ...

    async def add_lora(self, lora_request: LoRARequest) -> bool:
        """Load an adapter."""
        ...

    async def remove_lora(self, lora_id: int) -> bool:
        """Forget an adapter."""
        ...


class VllmAdapters:
    """At most `most` adapters at once; beyond them the one that has been idle longest gives way, never one in use."""

    def __init__(self, llm: LoraWorker, *, rules: AdapterRules, most: int, pulse: Pulse, patience_s: float) -> None:
        """Take how long a request waits for room, in seconds; the deadlines of the engine itself are the pulse's."""
        self._llm = llm
        self._rules = rules
        self._most = most
        self._pulse = pulse
        self._patience_s = patience_s
        self._loaded: dict[str, LoRARequest] = {}
        """By version, the one used last at the end."""
        self._hashes: dict[str, str] = {}
        """Of every version ever loaded: its cached prefixes outlive it."""
        self._users: Counter[str] = Counter()
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._ids = count(1)
        self._lock = asyncio.Lock()
        self._let_go = asyncio.Event()

    @property
    def versions(self) -> tuple[str, ...]:
        """Name the versions that are loaded."""
        return tuple(self._loaded)

    @asynccontextmanager
    async def held(self, adapter: AdapterRef | None) -> AsyncGenerator[LoRARequest | None]:
        """Keep a version loaded until the block ends; at its first use its files are checked.

        Raises InvalidAdapterError, also for a version whose hash changed; EngineUnavailableError where nothing can
        give way in time.
        """
        if adapter is None:
            yield None
            return
        # Counted before anything is awaited: what a request waits for must not be unloaded for another one.
        self._users[adapter.version] += 1
        try:
            yield await self._request_for(adapter)
        finally:
            self._users[adapter.version] -= 1
            if not self._users[adapter.version]:
                del self._users[adapter.version]
                self._let_go.set()

    async def forget(self, adapter: AdapterRef) -> None:
        """Unload a version that did not prove itself, unless someone uses it."""
        async with self._lock:
            if adapter.version in self._loaded and not self._users[adapter.version]:
                await self._unload(adapter.version)

    async def stop(self) -> None:
        """End the loads that are under way; the engine stops."""
        loads = list(self._loads.values())
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    async def _request_for(self, adapter: AdapterRef) -> LoRARequest:
        known = self._hashes.get(adapter.version, adapter.sha256)
        if known != adapter.sha256:
            raise InvalidAdapterError(
                f"Version {adapter.version} was loaded with sha256 {known}, now it is said to be {adapter.sha256}. A "
                "version never changes: publish a new one."
            )
        while adapter.version not in self._loaded:
            # Shielded: a caller that goes away must not leave an adapter in the engine that is not counted here.
            try:
                await asyncio.shield(self._loading(adapter))
            except asyncio.CancelledError:
                caller = asyncio.current_task()
                if caller is not None and caller.cancelling():
                    raise
                raise EngineUnavailableError(
                    f"The engine stopped while it loaded {adapter.version}; send the request again.",
                    retry_after_s=RETRY_AFTER_S,
                ) from None
        request = self._loaded.pop(adapter.version)
        self._loaded[adapter.version] = request
        return request

    def _loading(self, adapter: AdapterRef) -> "asyncio.Task[None]":
        """Give the one load of a version that is under way, for all who wait for it."""
        task = self._loads.get(adapter.version)
        if task is None:
            task = asyncio.create_task(self._load(adapter))
            self._loads[adapter.version] = task
            task.add_done_callback(lambda done: self._loaded_or_not(adapter.version, done))
        return task

    def _loaded_or_not(self, version: str, done: "asyncio.Task[None]") -> None:
        self._loads.pop(version, None)
        if not done.cancelled():
            done.exception()  # whoever waits hears of it; nobody may be waiting any more

    async def _load(self, adapter: AdapterRef) -> None:
        until_s = asyncio.get_running_loop().time() + self._patience_s
        await asyncio.to_thread(validate_adapter, adapter, rules=self._rules)
        async with self._lock:
            await self._make_room(until_s=until_s)
            request = LoRARequest(
                lora_name=adapter.version, lora_int_id=next(self._ids), lora_path=str(adapter.path.resolve())
            )
            try:
                await self._pulse.within(f"load {adapter.version}", self._llm.add_lora(request))
            except EngineUnavailableError:
                raise
            except Exception as error:  # the worker's error arrives as a bare Exception with its text
                if self._llm.errored:
                    raise EngineUnavailableError(
                        f"The engine failed while loading {adapter.version}: {error}"
                    ) from error
                said = f"vLLM cannot load adapter {adapter.version} at {adapter.path}: {error}. Train it on this base "
                raise InvalidAdapterError(as_told(f"{said}with plain LoRA.", adapter.path)) from error
            self._loaded[adapter.version] = request
            self._hashes[adapter.version] = adapter.sha256

    async def _make_room(self, *, until_s: float) -> None:
        while len(self._loaded) >= self._most:
            idle = self._idle()
            if idle is not None:
                await self._unload(idle)
                continue
            self._let_go.clear()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._let_go.wait()
            except TimeoutError:
                raise EngineUnavailableError(
                    f"All {self._most} adapters that the engine keeps loaded are in use; try again shortly, or raise "
                    "RLT_MAX_LOADED_ADAPTERS.",
                    retry_after_s=RETRY_AFTER_S,
                ) from None

    def _idle(self) -> str | None:
        return next((version for version in self._loaded if not self._users[version]), None)

    async def _unload(self, version: str) -> None:
        # Out of the list first: from here on a request for it waits for a load of its own.
        request = self._loaded.pop(version)
        try:
            await self._pulse.within(f"unload {version}", self._llm.remove_lora(request.lora_int_id))
        except EngineUnavailableError:
            raise
        except Exception as error:  # what vLLM raises when its core has died
            raise EngineUnavailableError(
                f"The engine failed while unloading {version}: {error}", retry_after_s=RETRY_AFTER_S
            ) from error
