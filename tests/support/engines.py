"""Fake engines by what they hold, for tests of a pool: which were made, which run, and when they answer."""

import asyncio
from dataclasses import replace
from typing import Any

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Engine, GenerateRequest, GenerateResult, Weights


class GatedEngine(FakeEngine):
    """Starts, generates and stops while its gates are open."""

    def __init__(self, options: FakeOptions) -> None:
        super().__init__(options)
        self.weights = options.weights
        self.may_start = _open_gate()
        self.may_generate = _open_gate()
        self.may_stop = _open_gate()
        self.fails: Exception | None = None
        self.waiting = 0
        self.running = False

    async def start(self) -> None:
        await self.may_start.wait()
        if self.fails is not None:
            raise self.fails
        await super().start()
        self.running = True

    async def stop(self) -> None:
        await self.may_stop.wait()
        await super().stop()
        self.running = False

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.waiting += 1
        await self.may_generate.wait()
        self.waiting -= 1
        return await super().generate(request)


class Workshop:
    """Makes an engine whenever asked, and keeps it in view."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        self._options = options or FakeOptions()
        self.made: list[GatedEngine] = []
        self.shut: set[str] = set()
        """Versions whose engines are made with the gate before their start shut."""
        self.failing: dict[str, Exception] = {}
        self.most_running = 0

    def make(self, weights: Weights) -> GatedEngine:
        engine = GatedEngine(replace(self._options, weights=weights))
        version = "" if weights.full is None else weights.full.version
        if version in self.shut:
            engine.may_start.clear()
        engine.fails = self.failing.get(version)
        self.most_running = max(self.most_running, 1 + sum(made.running for made in self.made))
        self.made.append(engine)
        return engine

    def of(self, version: str) -> GatedEngine:
        """Give the newest engine that was made for a fully trained version."""
        return next(e for e in reversed(self.made) if e.weights.full is not None and e.weights.full.version == version)

    def running(self) -> list[str]:
        """Name the fully trained versions whose engines run."""
        return [e.weights.full.version for e in self.made if e.running and e.weights.full is not None]


class AlreadyRunning:
    """An engine that outlives the app: its start and end are someone else's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:  # noqa: D105 - everything else is the engine's
        return getattr(self._engine, name)

    async def start(self) -> None:
        pass

    async def drain(self, *, timeout_s: float) -> None:
        pass

    async def stop(self) -> None:
        pass


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
