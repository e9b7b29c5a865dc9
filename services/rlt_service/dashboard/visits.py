"""Own who looks at a page: the key of their cookie, and their way to the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp

from rlt_service.dashboard.gateway import Gateway

KEY_COOKIE: Final = "rlt_key"
"""Holds the visitor's key: out of reach of scripts, and sent by no page of another site."""
THEME_COOKIE: Final = "rlt_theme"
APP: Final = "dashboard_api"
"""Under which a request's state holds the app that pages ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One page for one visitor."""

    gateway: Gateway
    query: Mapping[str, str]
    queries: Mapping[str, list[str]]
    """Every value of a parameter that may come several times."""
    path: Mapping[str, str]
    theme: str | None
    signed_in: bool


def visit_of(request: Request) -> Visit:
    """Read a request."""
    key = request.cookies.get(KEY_COOKIE)
    app: ASGIApp = getattr(request.state, APP)
    params = request.query_params
    return Visit(
        gateway=Gateway(app, key=key),
        query=dict(params),
        queries={name: params.getlist(name) for name in params},
        path={name: str(value) for name, value in request.path_params.items()},
        theme=request.cookies.get(THEME_COOKIE),
        signed_in=key is not None,
    )
