"""/v1/teachers and /v1/students: names, immutable versions, lineage, registration; the same routes for both roles."""

from fastapi import APIRouter, Response

from rlt_core.schemas.base import Page, Role
from rlt_core.schemas.teachers import Lineage, ModelVersion, NamedModel, RegisterVersionRequest, VersionDeleted
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import ModelName, PageAfter, PageLimit, VersionNumber
from rlt_service.control.routes.wiring import deleter_of, importer_of
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import LOCATION


def models_router(role: Role) -> APIRouter:
    """Make the routes of one role; a name of either role can be read under both, since names are one namespace."""
    router = APIRouter(prefix=f"/v1/{role}s", tags=[f"{role}s"], route_class=JsonRoute, dependencies=[Needs("train")])

    @router.get("", operation_id=f"list_{role}s")
    def list_names(services: ServicesDep, limit: PageLimit = 20, after: PageAfter = None) -> Page[NamedModel]:
        """List names made for this role, the newest first."""
        return services.registry.list_names(role, limit=limit, after=after)

    @router.get("/{name}/versions", operation_id=f"list_{role}_versions")
    def list_versions(
        name: ModelName, services: ServicesDep, limit: PageLimit = 20, after: PageAfter = None
    ) -> Page[ModelVersion]:
        """List the versions of a name, newest first."""
        return services.registry.versions(name, role=role, limit=limit, after=after)

    @router.post(
        "/{name}/versions",
        status_code=201,
        dependencies=[Once],
        responses={201: {"headers": LOCATION}},
        operation_id=f"register_{role}",
    )
    async def register(
        name: ModelName, request: RegisterVersionRequest, services: ServicesDep, response: Response
    ) -> ModelVersion:
        """Register an adapter, or a fully trained model, that lies in `imports/<folder>` under the artifact root."""
        made = await importer_of(services).register(role, name, request)
        response.headers["Location"] = f"/v1/{role}s/{made.name}/versions/{made.number}"
        return made

    @router.get("/{name}/versions/{number}", operation_id=f"get_{role}_version")
    def get_version(name: ModelName, number: VersionNumber, services: ServicesDep) -> ModelVersion:
        """Read one version; 0 is the untrained base."""
        return services.registry.get_version(f"{name}@{number}", role=role)

    @router.delete("/{name}/versions/{number}", dependencies=[Once], operation_id=f"delete_{role}_version")
    def delete_version(name: ModelName, number: VersionNumber, services: ServicesDep) -> VersionDeleted:
        """Delete a version that nothing uses; its number is never given again."""
        return deleter_of(services).delete(f"{name}@{number}", role=role)

    @router.get("/{name}/versions/{number}/lineage", operation_id=f"get_{role}_lineage")
    def get_lineage(name: ModelName, number: VersionNumber, services: ServicesDep) -> Lineage:
        """Say where a version comes from and what became of it."""
        return services.registry.lineage(f"{name}@{number}", role=role)

    return router
