"""Own which engine carries which version: a request leases one for as long as it runs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial

from rlt_core.errors import EngineUnavailableError
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.protocol import Engine, EngineInfo, Weights
from rlt_service.engine_host import EngineHost
from rlt_service.full_engines import FullEngines
from rlt_service.leases import Leases
from rlt_service.served import ServedVersion, served_version
from rlt_service.settings import Settings
from rlt_service.store.registry import ResolvedVersion


class Engines:
    """The engines of a process: one a base, which carries all its adapters, and those of fully trained versions."""

    def __init__(self, hosts: Mapping[str, EngineHost], full: FullEngines, *, leases: Leases) -> None:
        """Take the hosts by base, the teacher's first, and where the requests on each version are counted."""
        self._hosts = hosts
        self._full = full
        self._leases = leases
        self._pairing = asyncio.Lock()

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        bases: Sequence[str],
        leases: Leases,
        make_engine: Callable[[Weights], Engine],
        on_failure: Callable[[Exception], None] | None,
    ) -> "Engines":
        """Make the hosts of `bases`, the teacher's first; `on_failure` hears why one of them did not start."""
        hosts: dict[str, EngineHost] = {}
        for base_model in bases:
            weights = Weights(base_model=base_model)
            name = "the engine" if not hosts else f"the engine of {base_model}"
            hosts[base_model] = EngineHost(partial(make_engine, weights), name=name, on_failure=on_failure)
        return cls(hosts, FullEngines(make_engine, most=settings.max_full_engines), leases=leases)

    @property
    def host(self) -> EngineHost:
        """The engine of the teacher's base, which is the student's too unless that has one of its own."""
        return next(iter(self._hosts.values()))

    @property
    def hosts(self) -> Mapping[str, EngineHost]:
        """The engines that readiness rests on, by base."""
        return self._hosts

    def every_host(self) -> Mapping[str, EngineHost]:
        """Give the engines by what each holds: a base, or a fully trained version."""
        return {**self._hosts, **{full.version: host for full, host in self._full.held}}

    def start(self) -> None:
        """Begin to start the bases' engines; returns at once."""
        for host in self._hosts.values():
            host.start()

    def some_ready(self) -> None:
        """Raise EngineUnavailableError where no engine answers: a starting server says so whatever it is asked."""
        if not self.all_ready():
            self.host.ready()

    def info_of(self, version: ServedVersion) -> EngineInfo | None:
        """Say what the engine of a version is; None for a fully trained one, whose engine may have to start first."""
        return None if version.full is not None else self._host_of(version).ready().info

    def all_ready(self) -> list[tuple[str, Engine]]:
        """Give the engines that answer now, each with what it holds: a base, or a fully trained version."""
        hosts = self.every_host().items()
        return [(name, engine) for name, host in hosts if (engine := _running(host)) is not None]

    @asynccontextmanager
    async def lease(self, version: ServedVersion) -> AsyncGenerator[Engine]:
        """Hold the engine that carries `version` until the block ends.

        Raises EngineUnavailableError, InvalidWeightsError for a fully trained version that cannot be loaded.
        """
        host = self._host_of(version)
        with self._leases.held(version.version):
            async with self._engine_of(version, host) as engine:
                yield engine

    @asynccontextmanager
    async def _engine_of(self, version: ServedVersion, host: EngineHost) -> AsyncGenerator[Engine]:
        if version.full is None:
            yield host.ready()
            return
        async with self._full.lease(version.base_model, version.full) as engine:
            yield engine

    def _host_of(self, version: ServedVersion) -> EngineHost:
        host = self._hosts.get(version.base_model)
        if host is None:
            held = " and ".join(self._hosts)
            raise EngineUnavailableError(
                f"this process holds {held}, not {version.base_model}, the base of {version.version}"
            )
        return host

    @asynccontextmanager
    async def lease_pair(
        self, student: ServedVersion, teacher: ServedVersion | None
    ) -> AsyncGenerator[tuple[Engine, Engine]]:
        """Hold the engines of a student and of the teacher beside it, the student's again where there is none.

        Raises as `lease` does. Where both need a place among the fully trained ones, one pair at a time takes its
        two: pairs that each hold one and wait for another would wait for each other.
        """
        both = teacher is not None and None not in (student.full, teacher.full) and student.weights != teacher.weights
        async with AsyncExitStack() as held:
            # Both are counted before anything is awaited: none may be deleted while the other's engine starts.
            hosts = {version.version: self._host_of(version) for version in (student, teacher) if version is not None}
            for version in hosts:
                held.enter_context(self._leases.held(version))
            async with self._pairing if both else nullcontext():
                engine = await held.enter_async_context(self._engine_of(student, hosts[student.version]))
                beside = engine
                if teacher is not None:
                    beside = await held.enter_async_context(self._engine_of(teacher, hosts[teacher.version]))
            yield engine, beside

    def codec_of(self, fingerprint: str) -> SequenceCodec | None:
        """Give the tokenizer of that name, where an engine of this process has it; raises EngineUnavailableError.

        A fully trained version speaks with its base's tokenizer, so the bases' are all.
        """
        for host in self._hosts.values():
            if (engine := _running(host)) is not None and engine.codec.fingerprint == fingerprint:
                return engine.codec
        for host in self._hosts.values():
            host.ready()  # one that does not run may be the one that has it
        return None

    async def load(self, version: ResolvedVersion) -> None:
        """Prove a version before it may serve; the untrained base needs no proof.

        Raises InvalidAdapterError, InvalidWeightsError, EngineUnavailableError.
        """
        served = served_version(version)
        if served.adapter is None and served.full is None:
            return
        async with self.lease(served) as engine:
            await engine.load(served.adapter)

    async def abort(self) -> None:
        """End what is in flight in every engine now; its callers get EngineUnavailableError."""
        await asyncio.gather(*[engine.drain(timeout_s=0.0) for _, engine in self.all_ready()])

    async def stop(self, *, grace_s: float) -> None:
        """Let requests in flight finish up to the grace, then end every process of every engine."""
        bases = [host.stop(grace_s=grace_s) for host in self._hosts.values()]
        await asyncio.gather(self._full.stop(grace_s=grace_s), *bases)


def _running(host: EngineHost) -> Engine | None:
    try:
        return host.ready()
    except EngineUnavailableError:
        return None
