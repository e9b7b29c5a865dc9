"""The LoRA versions that a vLLM engine was asked for: checked once, each under a name and an id of its own."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count

from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

from rlt_core.artifacts import ADAPTER_FILES
from rlt_core.errors import EngineUnavailableError, InvalidAdapterError, ScoringError
from rlt_service.engine.adapters import AdapterRules, validate_adapter
from rlt_service.engine.protocol import AdapterRef


class VllmAdapters:
    """Hands out LoRARequests; vLLM itself loads again what it has put aside."""

    def __init__(self, llm: AsyncLLM, *, rules: AdapterRules) -> None:
        self._llm = llm
        self._rules = rules
        self._known: dict[str, tuple[AdapterRef, LoRARequest]] = {}
        self._ids = count(1)
        self._lock = asyncio.Lock()

    @property
    def versions(self) -> tuple[str, ...]:
        """Name the versions asked for so far."""
        return tuple(self._known)

    async def request_for(self, adapter: AdapterRef) -> LoRARequest:
        """Return the version's request; at its first use check its files and load it.

        Raises InvalidAdapterError, also for a version whose hash changed or whose files are gone: a load that fails
        inside a step would end the engine.
        """
        async with self._lock:
            if adapter.version not in self._known:
                await asyncio.to_thread(validate_adapter, adapter, rules=self._rules)
                self._known[adapter.version] = (adapter, await self._load(adapter))
        known, request = self._known[adapter.version]
        if known.sha256 != adapter.sha256:
            raise InvalidAdapterError(
                f"Version {adapter.version} was loaded with sha256 {known.sha256}, now it is said to be "
                f"{adapter.sha256}. A version never changes: publish a new one."
            )
        if not all((known.path / name).is_file() for name in ADAPTER_FILES):
            raise InvalidAdapterError(f"The files of {adapter.version} at {known.path} are gone. Publish it again.")
        return request

    @contextmanager
    def forgetting_on_failure(self, adapter: AdapterRef) -> Generator[None]:
        """Forget a version whose probe failed, and say so as InvalidAdapterError."""
        try:
            yield
        except ScoringError as error:
            self._known.pop(adapter.version, None)
            raise InvalidAdapterError(
                f"Adapter {adapter.version} does not answer with finite log-probs ({error}). The training diverged: "
                "publish an earlier step."
            ) from error

    async def _load(self, adapter: AdapterRef) -> LoRARequest:
        request = LoRARequest(
            lora_name=adapter.version, lora_int_id=next(self._ids), lora_path=str(adapter.path.resolve())
        )
        try:
            await self._llm.add_lora(request)
        except Exception as error:  # the worker's error arrives as a bare Exception with its text
            if self._llm.errored:
                raise EngineUnavailableError(f"The engine failed while loading {adapter.version}: {error}") from error
            raise InvalidAdapterError(
                f"vLLM cannot load adapter {adapter.version} at {adapter.path}: {error}. Train it on this base with "
                "plain LoRA."
            ) from error
        return request
