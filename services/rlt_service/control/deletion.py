"""Own the deletion that a caller asks for: refused while requests run on the version, or the store needs it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rlt_core.errors import VersionInUseError
from rlt_core.schemas.base import Role
from rlt_core.schemas.teachers import VersionDeleted
from rlt_service.store.deletion import Deletion
from rlt_service.store.registry import Registry
from rlt_service.store.version_uses import VersionUses

LOOK_S = 3.0
"""A process that does not beat for so long, three times its period, has ended."""


class InFlight(Protocol):
    """Whatever knows the requests of this process."""

    def in_flight(self, version: str) -> int:
        """Give how many requests run on a version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleter:
    """Deletes versions."""

    registry: Registry
    deletion: Deletion
    requests: InFlight
    uses: VersionUses
    process: str
    """This one, in what the others are told."""
    sleep: Callable[[float], None] = time.sleep

    def delete(self, version: str, *, role: Role = "teacher") -> VersionDeleted:
        """Delete `name@number`; raises ModelNotFoundError, VersionInUseError, ConflictError."""
        name = self.registry.get_version(version, role=role).version
        if running := self.requests.in_flight(name):
            raise _in_use(name, f"{running} requests run on it")
        if processes := self._others(name):
            raise _in_use(name, f"requests of {processes} other processes run on it")
        return VersionDeleted(version=self.deletion.delete(name))

    def _others(self, name: str) -> int:
        """Count the other processes that run requests on a version; those that have ended are forgotten."""
        before = self.uses.beats(name, besides=self.process)
        if not before:
            return 0
        self.sleep(LOOK_S)
        now = self.uses.beats(name, besides=self.process)
        if still := [process for process, beat in now.items() if before.get(process) == beat]:
            self.uses.forget(still)
        return len(now) - len(still)


def _in_use(name: str, who: str) -> VersionInUseError:
    return VersionInUseError(f"{name} is in use: {who}. Try again when they are done.", extra={"used_by": [who]})
