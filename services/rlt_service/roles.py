"""Own what a process plays: whose routes it has, what a path takes, and which role it belongs to that is not played."""

from collections.abc import Mapping, Sequence
from typing import Literal

from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route

from rlt_core.schemas.base import Role

ProcessRole = Role | Literal["control"]


def absent_role(request: Request) -> str | None:
    """Name the role, not played here, that the path of a request belongs to."""
    absent: Mapping[ProcessRole, Sequence[BaseRoute]] = request.app.state.absent_routes
    for role, routes in absent.items():
        if any(route.matches(request.scope)[0] is not Match.NONE for route in routes):
            return role
    return None


def methods_of(request: Request) -> list[str]:
    """Name the methods that the path of a request takes, over all of its routes."""
    routes: Sequence[BaseRoute] = request.app.router.routes
    found = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for route in found for method in route.methods or ()})
