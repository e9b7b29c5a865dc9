"""Own the error handlers of the app; nothing else turns an exception into an answer."""

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rlt_core.errors import NotFoundError, RltError
from rlt_service.json_bodies import request_error
from rlt_service.problems import answer_of, from_http_exception
from rlt_service.request_ids import request_id_of
from rlt_service.roles import absent_role, methods_of

LOGGER = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a caller that went away; nobody reads it but the access log."""


def add_error_handlers(app: FastAPI) -> None:
    """Give every kind of failure its answer."""
    app.add_exception_handler(RltError, _on_rlt_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def _answer(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request)
    if not isinstance(error, RltError):
        raise error
    if error.status == 500:
        LOGGER.error("request %s failed: %s", request_id, error, exc_info=error)
    return answer_of(error, request_id=request_id)


async def _on_rlt_error(request: Request, error: Exception) -> Response:
    return _answer(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    role = absent_role(request) if error.status_code == 404 else None
    if role is not None:
        played = ", ".join(request.app.state.settings.roles)
        error_here = NotFoundError(
            f"{request.url.path} belongs to the role {role}, which this process does not play (it plays {played}): "
            f"ask a process that does, or start this one with RLT_ROLES naming {role} too"
        )
        return _answer(request, error_here)
    response = _answer(request, from_http_exception(request, error))
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(methods_of(request))
    return response


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return _answer(request, request_error(error))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)
