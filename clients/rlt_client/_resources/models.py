"""`client.teachers` and `client.students`: names, their immutable versions, and where these come from."""

from rlt_client._api import Api, path_of
from rlt_client._errors import APIError
from rlt_core.schemas.base import Page, Role, split_version
from rlt_core.schemas.teachers import Lineage, ModelVersion, NamedModel, VersionDeleted


class Models:
    """What was made for one role; a version is named `name@number`."""

    def __init__(self, api: Api, *, role: Role) -> None:
        self._api = api
        self._root = f"{role}s"

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[NamedModel]:
        """List names, newest first."""
        return self._api.get(path_of(self._root), into=Page[NamedModel], params={"limit": limit, "after": after})

    def versions(self, name: str, *, limit: int | None = None, after: str | None = None) -> Page[ModelVersion]:
        """List the versions of a name, newest first."""
        return self._api.get(
            path_of(self._root, name, "versions"), into=Page[ModelVersion], params={"limit": limit, "after": after}
        )

    def get(self, version: str) -> ModelVersion:
        """Read one version (`algebra@3`)."""
        name, number = _split(version)
        return self._api.get(path_of(self._root, name, "versions", number), into=ModelVersion)

    def lineage(self, version: str) -> Lineage:
        """Say what a version (`algebra@3`) was made from and what became of it."""
        name, number = _split(version)
        return self._api.get(path_of(self._root, name, "versions", number, "lineage"), into=Lineage)

    def delete(self, version: str) -> VersionDeleted:
        """Delete one version (`algebra@3`) for good; raises ConflictError with code `version_in_use` while it is."""
        name, number = _split(version)
        return self._api.call("DELETE", path_of(self._root, name, "versions", number), into=VersionDeleted)

    def register(self, name: str, *, folder: str, parent: str | None = None, format: str | None = None) -> ModelVersion:
        """Make what lies in `imports/<folder>` under the server's artifact root (adapter or whole model) a version."""
        fields = {"folder": folder, "parent": parent, "format": format}
        body = {field: value for field, value in fields.items() if value is not None}
        return self._api.post(path_of(self._root, name, "versions"), into=ModelVersion, body=body)


def _split(version: str) -> tuple[str, int]:
    try:
        return split_version(version)
    except ValueError as error:
        raise APIError(f"{error}: name one version, such as `algebra@3`", param="version") from error
