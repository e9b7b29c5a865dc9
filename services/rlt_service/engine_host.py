"""Own the engine's life in a serving process: made and started beside the server, not before it; ended with it."""

import asyncio
import logging
import time
from collections.abc import Callable

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.server import Check
from rlt_service.engine.protocol import Engine
from rlt_service.store.registry import ResolvedVersion

LOGGER = logging.getLogger(__name__)

START_RETRY_AFTER_S = 10.0
"""A start takes half a minute."""

START_TIMEOUT_S = 1800.0
"""A start that hangs is given up; the longest reads tens of gigabytes."""

WATCH_S = 0.5
"""Between two looks at whether the engine lives."""

RESTART_AFTER_S = (1.0, 5.0, 30.0)
"""Wait before the first, second and every later restart in a row of an engine that died."""

LIVED_S = 600.0
"""An engine that ran so long was sound: its death begins a new row of restarts."""


class EngineHost:
    """Starts the engine in the background, so that /healthz and /readyz answer meanwhile."""

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        *,
        name: str = "the engine",
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """Take the way to make an engine (it imports for seconds); `on_failure` hears why it did not start."""
        self._make_engine = make_engine
        self.name = name
        """For messages."""
        self._on_failure = on_failure
        self._engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault = "has not been started"
        self.restarts = 0
        """Times that the engine died and was started again."""
        self._in_a_row = 0
        self._first_start = asyncio.Event()
        self.failure: Exception | None = None
        """Why the engine did not start the first time; it then stays away."""

    def start(self) -> None:
        """Begin to start the engine; returns at once."""
        self._fault = "is starting"
        self._task = asyncio.create_task(self._keep_running())

    def ready(self) -> Engine:
        """Give the engine; raises EngineUnavailableError until it has started."""
        if self._fault or self._engine is None:
            raise EngineUnavailableError(
                f"{self.name} {self._fault}; try again shortly", retry_after_s=START_RETRY_AFTER_S
            )
        return self._engine

    async def first_start(self) -> None:
        """Wait until the first start has ended, well or not."""
        await self._first_start.wait()

    async def check(self) -> Check:
        """Say whether the engine answers."""
        if self._fault or self._engine is None:
            return Check(ok=False, detail=f"{self.name} {self._fault}")
        health = await self._engine.health()
        return Check(ok=health.alive, detail=health.detail)

    async def stop(self, *, grace_s: float) -> None:
        """Let requests in flight finish up to the grace, then end every process of the engine; it has a deadline."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._engine is not None:
            if not self._fault:
                await self._engine.drain(timeout_s=grace_s)
            await self._engine.stop()
        self._fault = "has stopped"
        self._first_start.set()

    async def _keep_running(self) -> None:
        """Start the engine, and again with growing waits whenever it has died; end where it never starts."""
        try:
            await self._start()
        except Exception as error:  # the task's boundary: whatever it is, /readyz and the log must say it
            LOGGER.exception("%s did not start", self.name)
            self._fault, self.failure = _not_started(error), error
            if self._on_failure is not None:
                self._on_failure(error)
            return
        finally:
            self._first_start.set()
        while True:
            started_s = time.monotonic()
            self._fault = f"is being started again: it {await self._death()}"
            if time.monotonic() - started_s >= LIVED_S:
                self._in_a_row = 0
            LOGGER.error("%s %s", self.name, self._fault)
            await self._start_again()

    async def _start_again(self) -> None:
        """Start what once ran, as often as it takes: a machine short of memory now may have some later."""
        while True:
            await self._end()
            await asyncio.sleep(RESTART_AFTER_S[min(self._in_a_row, len(RESTART_AFTER_S) - 1)])
            self.restarts += 1
            self._in_a_row += 1
            try:
                await self._start()
            except Exception as error:  # the task's boundary
                LOGGER.exception("%s did not start again", self.name)
                self._fault = f"is being started again: it {_not_started(error)}"
            else:
                return

    async def _end(self) -> None:
        if self._engine is None:
            return
        try:
            await self._engine.stop()
        except Exception:  # the task's boundary: what could not be ended must not keep the next from starting
            LOGGER.exception("%s did not stop as it should", self.name)

    async def _start(self) -> None:
        self._engine = await asyncio.to_thread(self._make_engine)
        async with asyncio.timeout(START_TIMEOUT_S):
            await self._engine.start()
        self._fault = ""
        LOGGER.info("%s is ready", self.name)

    async def _death(self) -> str:
        """Wait until the engine is no longer alive, and say what it died of."""
        assert self._engine is not None
        while (health := await self._engine.health()).alive:
            await asyncio.sleep(WATCH_S)
        return health.detail


def _not_started(error: Exception) -> str:
    return f"did not start: {str(error) or type(error).__name__}"


class NoEngine:
    """The prober of a process without an engine: it proves nothing, so it passes nothing but the untrained base."""

    async def load(self, version: ResolvedVersion) -> None:
        """Refuse; raises EngineUnavailableError."""
        if version.adapter is None and version.full is None:
            return
        raise EngineUnavailableError(
            f"this process has no engine that could prove {version.version}: ask a process that also plays teacher or "
            "student"
        )
