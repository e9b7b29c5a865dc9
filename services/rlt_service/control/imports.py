"""Own the registration of an adapter or a fully trained model that an operator laid down: proved, then stored."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from rlt_core.artifacts import ADAPTER_CONFIG, kind_of
from rlt_core.errors import InvalidAdapterError, InvalidRequestError, ModelNotFoundError
from rlt_core.schemas.base import Role, new_id
from rlt_core.schemas.teachers import ModelVersion, RegisterVersionRequest
from rlt_service.control.probe import Prober
from rlt_service.control.versions import check_new_name
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.registry import Candidate, Registry, ResolvedVersion, VersionFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Importer:
    """Makes versions of folders below `imports/`."""

    registry: Registry
    artifacts: ArtifactStore
    prober: Prober

    async def register(self, role: Role, name: str, request: RegisterVersionRequest) -> ModelVersion:
        """Store what lies in the folder as the next version of `name`.

        Raises NotFoundError for the folder, ModelNotFoundError for the parent, InvalidRequestError for the name or
        format, InvalidAdapterError or InvalidWeightsError for what no engine can serve; then nothing was stored.
        """
        candidate = await asyncio.to_thread(self._candidate, role, name, request)
        await self.prober.load(_trial(candidate))
        return await asyncio.to_thread(self.registry.register, candidate)

    def _candidate(self, role: Role, name: str, request: RegisterVersionRequest) -> Candidate:
        base = self.registry.base(role)
        check_new_name(self.registry, name, param="/name")
        if request.format not in (None, base.format):
            raise InvalidRequestError(f"this server speaks {base.format}, not {request.format!r}", param="/format")
        if request.parent is not None:
            self._check_parent(request.parent)
        folder = self._folder(request.folder)
        kind = kind_of(folder)
        return Candidate(
            name=name,
            role=role,
            base_model=base.base_model,
            format=base.format,
            folder=folder,
            sha256=self.artifacts.checked_sha256(folder, kind),
            lora_rank=_rank(folder) if kind == "adapter" else None,
            parent=request.parent,
        )

    def _folder(self, name: str) -> Path:
        try:
            return self.artifacts.imports_dir(name)
        except InvalidRequestError as error:
            raise InvalidRequestError(error.detail, param="/folder") from error

    def _check_parent(self, parent: str) -> None:
        try:
            self.registry.get_version(parent)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(error.detail, param="/parent") from error


def _trial(candidate: Candidate) -> ResolvedVersion:
    """Give a candidate a name of its own for each trial: an engine keeps what it knows of a name."""
    files = VersionFiles(path=candidate.folder, sha256=candidate.sha256)
    return ResolvedVersion(
        version=new_id("import"),
        role=candidate.role,
        base_model=candidate.base_model,
        format=candidate.format,
        adapter=files if candidate.kind == "adapter" else None,
        full=files if candidate.kind == "full" else None,
    )


def _rank(folder: Path) -> int:
    try:
        rank = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise InvalidAdapterError(
            f"imports/{folder.name}/{ADAPTER_CONFIG} names no rank ({error!r}): save the adapter again", param="/folder"
        ) from error
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InvalidAdapterError(
            f"imports/{folder.name}/{ADAPTER_CONFIG} names the rank {rank!r}: it must be a whole number above 0",
            param="/folder",
        )
    return rank
