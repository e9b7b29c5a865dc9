"""/v1/aliases/{role}/{alias}/shadow: a candidate that answers a sample of live traffic, unseen by callers."""

from typing import cast

from fastapi import APIRouter, Response

from rlt_core.schemas.base import Role
from rlt_core.schemas.shadows import Shadow, ShadowEnded, ShadowPut
from rlt_core.schemas.teachers import Evaluation
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import AliasName, RoleName
from rlt_service.control.routes.wiring import shadowing_of
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import LOCATION, refusals

router = APIRouter(prefix="/v1/aliases/{role}/{alias}/shadow", tags=["aliases"], route_class=JsonRoute)


@router.put("", dependencies=[Once])
async def put_shadow(role: RoleName, alias: AliasName, request: ShadowPut, services: ServicesDep) -> Shadow:
    """Let a candidate answer a sample of the alias's questions beside what serves."""
    return await shadowing_of(services).put(cast(Role, role), alias, request)


@router.get("", responses=refusals(422))
def get_shadow(role: RoleName, alias: AliasName, services: ServicesDep) -> Shadow:
    """Read the candidate, and what became of the requests that were drawn."""
    return shadowing_of(services).get(cast(Role, role), alias)


@router.delete("", dependencies=[Once])
def end_shadow(role: RoleName, alias: AliasName, services: ServicesDep) -> ShadowEnded:
    """End the shadow; its pairs go with it."""
    return shadowing_of(services).end(cast(Role, role), alias)


@router.post("/evaluation", status_code=201, dependencies=[Once], responses={201: {"headers": LOCATION}})
def evaluate_shadow(role: RoleName, alias: AliasName, services: ServicesDep, response: Response) -> Evaluation:
    """Store what the pairs so far show, so that a promotion can rest on it."""
    made = shadowing_of(services).evaluate(cast(Role, role), alias)
    response.headers["Location"] = f"/v1/evaluations/{made.id}"
    return made
