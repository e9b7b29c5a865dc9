"""Own what the control room asks of an engine before a version may serve."""

import asyncio
from typing import Protocol

from rlt_service.engine.protocol import AdapterRef
from rlt_service.store.registry import Registry, ResolvedVersion


class Prober(Protocol):
    """Whatever can prove an adapter: the engine of this process."""

    async def load(self, adapter: AdapterRef) -> None:
        """Load it and see finite log-probs; raises InvalidAdapterError, EngineUnavailableError."""
        ...


async def prove(version: ResolvedVersion, *, registry: Registry, prober: Prober) -> None:
    """See that a version can serve, from disk and in the engine; raises InvalidAdapterError, EngineUnavailableError.

    An engine that has the version in memory does not look at its files again, and the next start would.
    """
    if version.adapter is None:
        return
    await asyncio.to_thread(registry.check_files, version)
    await prober.load(AdapterRef(version=version.version, path=version.adapter.path, sha256=version.adapter.sha256))
