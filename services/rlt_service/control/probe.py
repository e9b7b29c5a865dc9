"""Own what the control room asks of an engine before a version may serve."""

from typing import Protocol

from rlt_service.store.registry import ResolvedVersion


class Prober(Protocol):
    """Whatever can prove a version: the engines of this process."""

    async def load(self, version: ResolvedVersion) -> None:
        """Load it and see finite log-probs; the untrained base needs none.

        Raises InvalidAdapterError, InvalidWeightsError, EngineUnavailableError.
        """
        ...
