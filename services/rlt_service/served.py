"""Own what a request may ask of the engine: texts within limits, a version of a base that an engine holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rlt_core.errors import InvalidRequestError, ModelNotFoundError
from rlt_core.schemas.base import Role, VersionRef
from rlt_service.engine.protocol import AdapterRef, FullRef, Weights
from rlt_service.store.registry import Registry, ResolvedVersion
from rlt_service.store.resolution import ShadowPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """The one version that makes all of an answer; with neither adapter nor full weights, the untrained base."""

    version: str
    base_model: str
    adapter: AdapterRef | None
    full: FullRef | None = None
    made_for: Role | None = None
    """The role that a trained version was made for."""
    shadow: ShadowPlan | None = None
    """Who answers beside it, where an alias was asked that carries a shadow."""
    moved_at: datetime | None = None
    """When the alias that was asked began to point here; None where a version was named."""

    @property
    def ref(self) -> VersionRef:
        """What the answer says of it."""
        return VersionRef(version=self.version, base_model=self.base_model)

    @property
    def weights(self) -> Weights:
        """What an engine has to hold to carry it."""
        return Weights(base_model=self.base_model, full=self.full)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Resolves names for engines that hold these bases, the teacher's first, and speak one format."""

    registry: Registry
    base_models: Sequence[str]
    format: str

    def resolve(self, role: Role, name: str) -> ServedVersion:
        """Find what `name` means now.

        Raises ModelNotFoundError, also for a version of another base; InvalidRequestError for one of another format.
        """
        found = self.registry.resolve(role, name)
        if found.base_model not in self.base_models:
            held = " and ".join(repr(base_model) for base_model in self.base_models)
            raise ModelNotFoundError(
                f"{found.version} is of the base {found.base_model!r}, this server holds {held}: name another {role}, "
                f"or start a server with RLT_BASE_MODEL={found.base_model}",
                param=f"/{role}",
            )
        if found.format != self.format:
            raise InvalidRequestError(
                f"{found.version} is of the format {found.format!r}, this server speaks {self.format!r}: name another "
                f"{role}, or start a server with RLT_FORMAT={found.format}",
                param=f"/{role}",
            )
        self.registry.fetch(found)
        return served_version(found)


def served_version(found: ResolvedVersion) -> ServedVersion:
    """Say of a resolved version what an engine needs to know."""
    adapter, full = found.adapter, found.full
    return ServedVersion(
        version=found.version,
        base_model=found.base_model,
        adapter=adapter and AdapterRef(version=found.version, path=adapter.path, sha256=adapter.sha256),
        full=full and FullRef(version=found.version, path=full.path, sha256=full.sha256),
        made_for=found.made_for,
        shadow=found.shadow,
        moved_at=found.moved_at,
    )


def check_text(text: str, *, param: str, max_characters: int) -> None:
    """Raise InvalidRequestError for text that is blank, or longer than is worth tokenising."""
    if not text.strip():
        raise InvalidRequestError(f"{param[1:]} is empty: it needs at least one visible character", param=param)
    check_length(text, param=param, max_characters=max_characters)


def check_length(text: str, *, param: str, max_characters: int) -> None:
    """Raise InvalidRequestError for text that is longer than is worth tokenising."""
    if len(text) > max_characters:
        raise InvalidRequestError(
            f"{param[1:]} has {len(text)} characters, this server takes {max_characters}: shorten it", param=param
        )
