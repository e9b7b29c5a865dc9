"""`client.teachers` and `client.students`: names, their immutable versions, and where these come from."""

from typing import TYPE_CHECKING

from rlt_client._calls import Call, Listing, by_last_id, get, path_of, write
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking, call, every
from rlt_core.schemas.base import Page, Role, split_version
from rlt_core.schemas.teachers import Lineage, ModelVersion, NamedModel, VersionDeleted

if TYPE_CHECKING:
    from rlt_client._api import Api
    from rlt_client._async_api import AsyncApi


class ModelCalls:
    """What was made for one role; a version is named `name@number`."""

    _root: str

    @call
    def list(self, *, limit: int | None = None, after: str | None = None) -> Call[Page[NamedModel]]:
        """List names, newest first: one page. `iter` gives all."""
        return get(path_of(self._root), into=Page[NamedModel], params={"limit": limit, "after": after})

    @every
    def iter(self) -> Listing[NamedModel]:
        """Give every name, newest first."""
        return by_last_id(get(path_of(self._root), into=Page[NamedModel]))

    @call
    def versions(self, name: str, *, limit: int | None = None, after: str | None = None) -> Call[Page[ModelVersion]]:
        """List the versions of a name, newest first: one page. `iter_versions` gives all."""
        params = {"limit": limit, "after": after}
        return get(path_of(self._root, name, "versions"), into=Page[ModelVersion], params=params)

    @every
    def iter_versions(self, name: str) -> Listing[ModelVersion]:
        """Give every version of a name, newest first."""
        return by_last_id(get(path_of(self._root, name, "versions"), into=Page[ModelVersion]))

    @call
    def get(self, version: str) -> Call[ModelVersion]:
        """Read one version (`algebra@3`)."""
        return get(self._path(version), into=ModelVersion)

    @call
    def lineage(self, version: str) -> Call[Lineage]:
        """Say what a version (`algebra@3`) was made from and what became of it."""
        return get(self._path(version) + "/lineage", into=Lineage)

    @call
    def delete(self, version: str) -> Call[VersionDeleted]:
        """Delete one version (`algebra@3`) for good; raises ConflictError with code `version_in_use` while it is."""
        return write("DELETE", self._path(version), into=VersionDeleted)

    @call
    def register(
        self,
        name: str,
        *,
        folder: str,
        parent: str | None = None,
        format: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ModelVersion]:
        """Make what lies in `imports/<folder>` under the server's artifact root (adapter or whole model) a version."""
        fields = {"folder": folder, "parent": parent, "format": format}
        body = {field: value for field, value in fields.items() if value is not None}
        path = path_of(self._root, name, "versions")
        return write("POST", path, into=ModelVersion, body=body, idempotency_key=idempotency_key)

    def _path(self, version: str) -> str:
        try:
            name, number = split_version(version)
        except ValueError as error:
            raise APIError(f"{error}: name one version, such as `algebra@3`", param="version") from error
        return path_of(self._root, name, "versions", number)


class Models(ModelCalls, Blocking):
    """What was made for one role; a version is named `name@number`."""

    def __init__(self, api: "Api", *, role: Role) -> None:
        super().__init__(api)
        self._root = f"{role}s"


class AsyncModels(ModelCalls, Awaiting):
    """What was made for one role, awaited."""

    def __init__(self, api: "AsyncApi", *, role: Role) -> None:
        super().__init__(api)
        self._root = f"{role}s"
