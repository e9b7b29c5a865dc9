"""Own what a route asks of its caller: `Needs("train")` stands among its dependencies, or it is public."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, cast

from fastapi import Depends, params
from starlette.requests import HTTPConnection

from rlt_core.errors import ForbiddenError
from rlt_service.access.authentication import Visit, begin_visit
from rlt_service.access.meter import Meter
from rlt_service.spending import SPENDING
from rlt_service.store.keys import Key, KeyScope

METERED = frozenset({"explain", "score"})
"""Scopes of calls that ask engines. A trainer's are not counted: what bounds its job are GPU-hours."""

Wanted = KeyScope | Literal["any"]


class ScopeCheck:
    """Lets a call through whose key has the scope; `any` asks for a key alone."""

    def __init__(self, scope: Wanted) -> None:
        self.scope: Wanted = scope

    async def __call__(self, connection: HTTPConnection) -> Key | None:
        """Return the key, None on a server without keys; raises UnauthenticatedError, ForbiddenError."""
        key = await begin_visit(connection)
        if key is not None and self.scope != "any" and not has_scope(key, self.scope):
            raise ForbiddenError(
                f"this call needs the scope {self.scope}, and this key has {', '.join(key.scopes) or 'none'}: "
                "use a key that has it"
            )
        if key is not None and self.scope in METERED and key.project_id is not None and not key.of_trainer:
            await _meter(connection, key.project_id)
        return key


async def _meter(connection: HTTPConnection, project_id: str) -> None:
    """Count a call against its project's day, however often its scope is asked; raises QuotaExceededError."""
    visit = cast(Visit, connection.state.visit)
    if visit.is_metered:
        return
    state: Any = connection.app.state
    meter = cast(Meter, state.services.meter)
    await meter.admit(project_id)
    visit.is_metered = True
    SPENDING.set(partial(meter.spend, project_id))


def has_scope(key: Key, scope: KeyScope) -> bool:
    """Tell whether a key may do what asks for the scope; admin may do all."""
    return scope in key.scopes or "admin" in key.scopes


def Needs(scope: Wanted) -> params.Depends:
    """Make the dependency."""
    return Depends(ScopeCheck(scope))


def checks_among(dependencies: Iterable[params.Depends]) -> list[ScopeCheck]:
    """Find what a route's dependencies ask, for who must know it before a body is read."""
    return [found.dependency for found in dependencies if isinstance(found.dependency, ScopeCheck)]
