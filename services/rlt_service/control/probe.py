"""Own what the control room asks of an engine before a version may serve."""

from typing import Protocol

from rlt_service.engine.protocol import AdapterRef


class Prober(Protocol):
    """Whatever can prove an adapter: the engine of this process."""

    async def load(self, adapter: AdapterRef) -> None:
        """Load it and see finite log-probs; raises InvalidAdapterError, EngineUnavailableError."""
        ...
