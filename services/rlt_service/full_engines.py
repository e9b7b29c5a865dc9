"""Own the engines of fully trained versions: each its own, loaded beside the bases when first needed, so many at once.

Beside, not in place of each other: every version stays callable, and no answer can come from two (decision 0011). The
policies of a job in training alone follow one another in one engine, in place (decision 0033).
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from rlt_core.errors import EngineUnavailableError, InvalidWeightsError, ModelNotFoundError
from rlt_core.schemas.base import ROLLOUT_PATTERN, split_version
from rlt_service.engine.protocol import Engine, FullRef, Weights
from rlt_service.engine_host import EngineHost

LOGGER = logging.getLogger(__name__)

PATIENCE_S = 120.0
"""How long a request waits for a place and for the start of an engine, which takes half a minute."""
RETRY_AFTER_S = 10.0
FAILURE_KEPT_S = 30.0
"""So long a version whose engine did not start is answered from memory, before it is tried again."""

Key = tuple[str, str]
"""Base and hash: the same weights under two names are one engine's."""


@dataclass(slots=True, kw_only=True)
class _Place:
    """One of the engines: who it is for, its life, and how many requests hold it."""

    full: FullRef
    host: EngineHost
    opening: asyncio.Task[None]
    users: int = 0
    torn: Exception | None = None
    """Why it could not take up its job's next policy; its engine was ended then."""

    @property
    def gives_way(self) -> bool:
        """Whether it may be unloaded for another."""
        return not self.users and self.opening.done()


class FullEngines:
    """At most `most` engines; beyond them the one that has been idle longest gives way, never one in use."""

    def __init__(self, make_engine: Callable[[Weights], Engine], *, most: int, patience_s: float = PATIENCE_S) -> None:
        self._make_engine = make_engine
        self._most = most
        self._patience_s = patience_s
        self._places: dict[Key, _Place] = {}
        """The one used last at the end."""
        self._failures: dict[tuple[Key, Path], tuple[float, Exception]] = {}
        """Of engines that did not start: until when that is remembered, and why."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopped = False

    @property
    def held(self) -> Sequence[tuple[FullRef, EngineHost]]:
        """Name the versions that have an engine, with its life."""
        return [(place.full, place.host) for place in self._places.values()]

    @asynccontextmanager
    async def lease(self, base_model: str, full: FullRef) -> AsyncGenerator[Engine]:
        """Hold the version's engine until the block ends; it is started where it does not run.

        A policy takes the place of the one before it, once nobody holds that. Raises InvalidWeightsError for files that
        cannot serve, EngineUnavailableError where there is no place or the engine does not start in time,
        ModelNotFoundError for a policy that its job's engine has gone on from.
        """
        key = (base_model, full.sha256)
        try:
            async with asyncio.timeout(self._patience_s):
                place = await self._place(key, full)
        except TimeoutError:
            in_use = ", ".join(place.full.version for place in self._places.values())
            raise EngineUnavailableError(
                f"all {self._most} engines for fully trained versions are in use ({in_use}): try again shortly, or "
                "raise RLT_MAX_FULL_ENGINES",
                retry_after_s=RETRY_AFTER_S,
            ) from None
        try:
            await self._opened(place)
            yield self._engine(key, place)
        finally:
            place.users -= 1
            self._notify()

    async def stop(self, *, grace_s: float) -> None:
        """Let requests in flight finish up to the grace, then end every engine."""
        self._stopped = True
        places = list(self._places.values())
        await asyncio.gather(*[place.host.stop(grace_s=grace_s) for place in places], *self._leaving)
        await asyncio.gather(*[place.opening for place in places])

    async def _place(self, key: Key, full: FullRef) -> _Place:
        """Find or make the version's place, and count one more user of it."""
        while True:
            self._raise_known_failure(key, full)
            place = self._places.pop(key, None)
            if place is None and (before := self._before(full)) is not None:
                if self._places[before].gives_way:
                    place = self._moved_on(before, key, full)
            elif place is None and len(self._places) < self._most:
                place = self._opened_for(key, full, instead_of=None)
            elif place is None and (idle := self._idle()) is not None:
                place = self._opened_for(key, full, instead_of=self._places.pop(idle))
            if place is not None:
                place.users += 1
                # The last name that it was asked for by: a trial's folder may be gone when it has to start again.
                place.full, place.host.name = full, _name_of(full)
                self._places[key] = place
                return place
            await self._changed.wait()

    def _before(self, full: FullRef) -> Key | None:
        """Find the place that another policy of the same job has; ModelNotFoundError where that is a later one."""
        if (job := _job_of(full)) is None:
            return None
        found = next((key for key, place in self._places.items() if _job_of(place.full) == job), None)
        if found is not None and _order(self._places[found].full) > _order(full):
            raise ModelNotFoundError(
                f"{full.version} is no longer loaded: the engine of its job has gone on to "
                f"{self._places[found].full.version}, and takes up no earlier policy"
            )
        return found

    def _moved_on(self, before: Key, key: Key, full: FullRef) -> _Place:
        place = self._places.pop(before)
        # From here on an engine that dies starts again with the new weights.
        place.full = full
        place.opening = asyncio.create_task(self._take_up(key, place))
        return place

    async def _take_up(self, key: Key, place: _Place) -> None:
        """Have a running engine read a policy in place; where that fails it is ended, and the next lease starts one."""
        try:
            await place.host.ready().take_up(place.full)
        except Exception as error:  # the task's boundary: whatever it is, weights may be there in part
            LOGGER.exception("%s could not take up %s", place.host.name, place.full.version)
            place.torn = error
            await _leave(place)
            if self._places.get(key) is place:
                del self._places[key]
        self._notify()

    def _idle(self) -> Key | None:
        return next((key for key, place in self._places.items() if place.gives_way), None)

    def _notify(self) -> None:
        """Let all who wait for a place look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _opened_for(self, key: Key, full: FullRef, *, instead_of: _Place | None) -> _Place:
        def make() -> Engine:
            return self._make_engine(Weights(base_model=key[0], full=place.full))

        host = EngineHost(make, name=_name_of(full))
        place = _Place(full=full, host=host, opening=asyncio.create_task(self._open(host, instead_of)))
        return place

    async def _open(self, host: EngineHost, former: _Place | None) -> None:
        """Start an engine, after the one that it takes the place of has gone: memory never holds one more."""
        if former is not None:
            LOGGER.info("unloading %s", former.full.version)
            leaving = asyncio.create_task(_leave(former))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await leaving
        if not self._stopped:
            host.start()
            await host.first_start()
            self._notify()

    async def _opened(self, place: _Place) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                # Shielded: others wait for the same start, and the next request will want it.
                await asyncio.shield(place.opening)
        except TimeoutError:
            raise EngineUnavailableError(
                f"the engine of {place.full.version} is still starting; try again shortly", retry_after_s=RETRY_AFTER_S
            ) from None

    def _engine(self, key: Key, place: _Place) -> Engine:
        """Give the running engine; forget a place whose engine did not start, but not at once why."""
        if place.torn is not None:
            raise _told(place.full, place.torn)
        failure = place.host.failure
        if failure is None:
            return place.host.ready()
        if self._places.get(key) is place:
            del self._places[key]
            self._failures[key, place.full.path] = (monotonic() + FAILURE_KEPT_S, failure)
            self._notify()
        raise _told(place.full, failure)

    def _raise_known_failure(self, key: Key, full: FullRef) -> None:
        now_s = monotonic()
        self._failures = {known: kept for known, kept in self._failures.items() if kept[0] > now_s}
        if (key, full.path) in self._failures:  # of the same weights elsewhere, with other files beside them, nothing
            raise _told(full, self._failures[key, full.path][1])


def _name_of(full: FullRef) -> str:
    return f"the engine of {full.version}"


def _job_of(full: FullRef) -> str | None:
    """Name the job whose policy it is; None for a version."""
    return full.version.partition(".")[0] if re.fullmatch(ROLLOUT_PATTERN, full.version) else None


def _order(full: FullRef) -> tuple[int, int]:
    """Give attempt and step of a policy."""
    owner, step = split_version(full.version)
    return int(owner.partition(".")[2]), step


async def _leave(place: _Place) -> None:
    try:
        await place.host.stop(grace_s=0.0)
    except Exception:  # the task's boundary: another version waits for the place
        LOGGER.exception("the engine of %s did not stop as it should", place.full.version)


def _told(full: FullRef, failure: Exception) -> Exception:
    """Say of a failed start what the callers of that version are told; the bases go on serving."""
    if isinstance(failure, InvalidWeightsError):
        return InvalidWeightsError(failure.detail)
    return EngineUnavailableError(
        f"the engine of {full.version} did not start: {failure}", retry_after_s=FAILURE_KEPT_S
    )
