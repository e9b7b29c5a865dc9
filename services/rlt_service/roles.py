"""Own what a process plays: whose routes it has, and which role a path belongs to that it does not have."""

from collections.abc import Mapping, Sequence
from typing import Literal

from starlette.requests import Request
from starlette.routing import BaseRoute, Match

from rlt_core.schemas.base import Role

ProcessRole = Role | Literal["control"]


def absent_role(request: Request) -> str | None:
    """Name the role, not played here, that the path of a request belongs to."""
    absent: Mapping[ProcessRole, Sequence[BaseRoute]] = request.app.state.absent_routes
    for role, routes in absent.items():
        if any(route.matches(request.scope)[0] is not Match.NONE for route in routes):
            return role
    return None
