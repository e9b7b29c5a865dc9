"""/v1/aliases: what each points at, how it came to, and its moves."""

from typing import Annotated, cast

from fastapi import APIRouter, Query

from rlt_core.schemas.base import Page, Role
from rlt_core.schemas.teachers import Alias, AliasHistory, AliasPut, AliasRollback
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import AliasName, PageLimit, RoleName
from rlt_service.control.routes.wiring import promotion_of
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute

router = APIRouter(prefix="/v1/aliases", tags=["aliases"], route_class=JsonRoute, dependencies=[Needs("train")])
AfterMove = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="The `last_id` of the page before.")]


@router.get("")
def list_aliases(services: ServicesDep) -> Page[Alias]:
    """List every alias of both roles."""
    return Page[Alias](data=services.registry.aliases())


@router.put("/{role}/{alias}", dependencies=[Once])
async def put_alias(role: RoleName, alias: AliasName, request: AliasPut, services: ServicesDep) -> Alias:
    """Promote: point an alias at a version, if it points at `expected` now."""
    return await promotion_of(services).put(cast(Role, role), alias, request)


@router.get("/{role}/{alias}/history")
def alias_history(
    role: RoleName, alias: AliasName, services: ServicesDep, limit: PageLimit = 100, after: AfterMove = None
) -> AliasHistory:
    """List the moves of an alias, newest first."""
    return services.registry.alias_history(cast(Role, role), alias, limit=limit, after=after)


@router.post("/{role}/{alias}/rollback", dependencies=[Once])
async def roll_back(role: RoleName, alias: AliasName, request: AliasRollback, services: ServicesDep) -> Alias:
    """Point an alias back at `to`, or at the version before."""
    return await promotion_of(services).roll_back(cast(Role, role), alias, request)
