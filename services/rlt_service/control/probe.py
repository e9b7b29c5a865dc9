"""Own what the control room asks of an engine before a version may serve."""

import asyncio
from typing import Protocol

from rlt_service.store.registry import Registry, ResolvedVersion


class Prober(Protocol):
    """Whatever can prove a version: the engines of this process."""

    async def load(self, version: ResolvedVersion) -> None:
        """Load it and see finite log-probs; the untrained base needs none.

        Raises InvalidAdapterError, InvalidWeightsError, EngineUnavailableError.
        """
        ...


async def prove(version: ResolvedVersion, *, registry: Registry, prober: Prober) -> None:
    """See that a version can serve, from disk and in the engine; the untrained base needs no proof.

    Raises InvalidAdapterError, InvalidWeightsError, EngineUnavailableError. An engine that has the version in memory
    does not look at its files again, and the next start would.
    """
    if version.adapter is None and version.full is None:
        return
    await asyncio.to_thread(registry.check_files, version)
    await prober.load(version)
