"""Own what a request may ask of the engine: texts within limits, a version of the base that the engine holds."""

from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, ModelNotFoundError
from rlt_core.schemas.base import Role, VersionRef
from rlt_service.engine.protocol import AdapterRef
from rlt_service.store.registry import Registry
from rlt_service.store.resolution import ShadowPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """The one version that makes all of an answer; `adapter` None is the untrained base."""

    version: str
    base_model: str
    adapter: AdapterRef | None
    shadow: ShadowPlan | None = None
    """Who answers beside it, where an alias was asked that carries a shadow."""

    @property
    def ref(self) -> VersionRef:
        """What the answer says of it."""
        return VersionRef(version=self.version, base_model=self.base_model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Resolves names for an engine that holds one base and speaks one format."""

    registry: Registry
    base_model: str
    format: str

    def resolve(self, role: Role, name: str) -> ServedVersion:
        """Find what `name` means now.

        Raises ModelNotFoundError, also for a version of another base; InvalidRequestError for one of another format.
        """
        found = self.registry.resolve(role, name)
        if found.base_model != self.base_model:
            raise ModelNotFoundError(
                f"{found.version} is of the base {found.base_model!r}, this engine holds {self.base_model!r}: name "
                f"another {role}, or start a server with RLT_BASE_MODEL={found.base_model}",
                param=f"/{role}",
            )
        if found.format != self.format:
            raise InvalidRequestError(
                f"{found.version} is of the format {found.format!r}, this engine speaks {self.format!r}: name another "
                f"{role}, or start a server with RLT_FORMAT={found.format}",
                param=f"/{role}",
            )
        files = found.adapter
        adapter = None if files is None else AdapterRef(version=found.version, path=files.path, sha256=files.sha256)
        return ServedVersion(version=found.version, base_model=found.base_model, adapter=adapter, shadow=found.shadow)


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
