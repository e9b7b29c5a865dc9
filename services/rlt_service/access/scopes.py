"""Own what a route asks of its caller: `Needs("train")` stands among its dependencies, or it is public."""

from collections.abc import Iterable
from typing import Literal

from fastapi import Depends, params
from starlette.requests import HTTPConnection

from rlt_core.errors import ForbiddenError
from rlt_service.access.authentication import begin_visit
from rlt_service.store.keys import Key, KeyScope

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
        return key


def has_scope(key: Key, scope: KeyScope) -> bool:
    """Tell whether a key may do what asks for the scope; admin may do all."""
    return scope in key.scopes or "admin" in key.scopes


def Needs(scope: Wanted) -> params.Depends:
    """Make the dependency."""
    return Depends(ScopeCheck(scope))


def checks_among(dependencies: Iterable[params.Depends]) -> list[ScopeCheck]:
    """Find what a route's dependencies ask, for who must know it before a body is read."""
    return [found.dependency for found in dependencies if isinstance(found.dependency, ScopeCheck)]
