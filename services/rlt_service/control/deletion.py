"""Own the deletion that a caller asks for: refused while requests run on the version, or the store needs it."""

from dataclasses import dataclass
from typing import Protocol

from rlt_core.errors import VersionInUseError
from rlt_core.schemas.teachers import VersionDeleted
from rlt_service.store.deletion import Deletion
from rlt_service.store.registry import Registry


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

    def delete(self, version: str) -> VersionDeleted:
        """Delete `name@number`; raises ModelNotFoundError, VersionInUseError, ConflictError."""
        name = self.registry.get_version(version).version
        if running := self.requests.in_flight(name):
            users = [f"{running} requests run on it"]
            raise VersionInUseError(
                f"{name} is in use: {users[0]}. Try again when they are done.", extra={"used_by": users}
            )
        return VersionDeleted(version=self.deletion.delete(name))
