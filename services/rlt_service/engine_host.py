"""Own the engine's life in a serving process: started beside the server, not before it, and ended with it."""

import asyncio
import logging
from collections.abc import Callable

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.server import Check
from rlt_service.engine.protocol import Engine

LOGGER = logging.getLogger(__name__)

START_RETRY_AFTER_S = 10.0
"""A start takes half a minute."""


class EngineHost:
    """Starts the engine in the background, so that /healthz and /readyz answer meanwhile."""

    def __init__(self, engine: Engine, *, on_failure: Callable[[Exception], None] | None = None) -> None:
        """Take an engine that is not started; `on_failure` hears why it did not start."""
        self.engine = engine
        self._on_failure = on_failure
        self._starting: asyncio.Task[None] | None = None
        self._fault = "has not been started"

    def start(self) -> None:
        """Begin to start the engine; returns at once."""
        self._fault = "is starting"
        self._starting = asyncio.create_task(self._start())

    async def started(self) -> None:
        """Wait until the start has come to an end, good or bad."""
        if self._starting is not None:
            await asyncio.wait([self._starting])

    def ready(self) -> Engine:
        """Give the engine; raises EngineUnavailableError until it has started."""
        if self._fault:
            raise EngineUnavailableError(
                f"the engine {self._fault}; /readyz says when it is ready", retry_after_s=START_RETRY_AFTER_S
            )
        return self.engine

    async def check(self) -> Check:
        """Say whether the engine answers."""
        if self._fault:
            return Check(ok=False, detail=f"the engine {self._fault}")
        health = await self.engine.health()
        return Check(ok=health.alive, detail=health.detail)

    async def stop(self, *, grace_s: float) -> None:
        """Let requests in flight finish up to the grace, then end every process of the engine."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if not self._fault:
            await self.engine.drain(timeout_s=grace_s)
        self._fault = "has stopped"
        await self.engine.stop()

    async def _start(self) -> None:
        try:
            await self.engine.start()
        except Exception as error:  # the task's boundary: whatever it is, /readyz and the log must say it
            LOGGER.exception("the engine did not start")
            self._fault = f"did not start: {error}"
            if self._on_failure is not None:
                self._on_failure(error)
        else:
            self._fault = ""
            LOGGER.info("the engine is ready")
