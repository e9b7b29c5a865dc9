"""The use cases of /score and /explain on engines that a test names, without an app: each version on its own engine."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rlt_core.schemas.base import Role
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Engine, EngineInfo, SequenceScoreRequest, SequenceScoreResult
from rlt_service.in_hand import InHand
from rlt_service.metrics import Metrics
from rlt_service.served import ServedVersion
from rlt_service.settings import Settings
from rlt_service.student.score import Scorer
from rlt_service.teacher.explain import Explainer
from rlt_service.teacher.shadow import ShadowTraffic
from tests.support.shadows import Kept


class OneEach:
    """Engines by the version that each carries; counts the leases that are held."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self.held = 0

    def some_ready(self) -> None:
        """Every engine has started."""

    def info_of(self, version: ServedVersion) -> EngineInfo:
        return self._engines[version.version].info

    @asynccontextmanager
    async def lease(self, version: ServedVersion) -> AsyncGenerator[Engine]:
        self.held += 1
        try:
            yield self._engines[version.version]
        finally:
            self.held -= 1

    @asynccontextmanager
    async def lease_pair(
        self, student: ServedVersion, teacher: ServedVersion | None
    ) -> AsyncGenerator[tuple[Engine, Engine]]:
        async with self.lease(student) as engine:
            if teacher is None:
                yield engine, engine
                return
            async with self.lease(teacher) as beside:
                yield engine, beside

    def codec_of(self, fingerprint: str) -> SequenceCodec | None:
        codecs = [engine.codec for engine in self._engines.values()]
        return next((codec for codec in codecs if codec.fingerprint == fingerprint), None)


class AsNamed:
    """Versions that are what they are called, all untrained."""

    def __init__(self, *, default: str) -> None:
        self._default = default

    def resolve(self, role: Role, name: str) -> ServedVersion:
        version = self._default if name == "default" else name
        return ServedVersion(version=version, base_model="fake", adapter=None)


class Recording(FakeEngine):
    """Keeps the batches that it was asked to score."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        super().__init__(options)
        self.batches: list[list[SequenceScoreRequest]] = []

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        self.batches.append(list(requests))
        return await super().score(requests)


def make_scorer(engines: Any, *, default: str = "none@0") -> Scorer:
    """Make the use case of /score on `engines` (OneEach); `default` is the version that the alias means."""
    versions: Any = AsNamed(default=default)
    return Scorer(
        settings=Settings(),
        versions=versions,
        engines=engines,
        in_hand=InHand(max_requests=100, max_tokens=1_000_000),
        metrics=Metrics(),
    )


def make_explainer(engines: Any, *, default: str) -> Explainer:
    """Make the use case of /explain on `engines` (OneEach)."""
    scorer = make_scorer(engines, default=default)
    return Explainer(
        settings=scorer.settings,
        versions=scorer.versions,
        engines=scorer.engines,
        in_hand=scorer.in_hand,
        scorer=scorer,
        shadow=ShadowTraffic(Kept(), in_hand=scorer.in_hand),
    )
