"""Own which engine carries which version: a request leases one for as long as it runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rlt_core.tokens import SequenceCodec
from rlt_service.engine.protocol import Engine
from rlt_service.engine_host import EngineHost
from rlt_service.leases import Leases
from rlt_service.served import ServedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The engines of a process; today one, which carries every version of its base."""

    host: EngineHost
    leases: Leases

    @asynccontextmanager
    async def lease(self, version: ServedVersion) -> AsyncGenerator[Engine]:
        """Hold the engine that carries `version` until the block ends; raises EngineUnavailableError."""
        with self.leases.held(version.version):
            yield self.host.ready()

    def codec_of(self, fingerprint: str) -> SequenceCodec | None:
        """Give the tokenizer of that name, where an engine of this process has it; raises EngineUnavailableError."""
        codec = self.host.ready().codec
        return codec if codec.fingerprint == fingerprint else None
