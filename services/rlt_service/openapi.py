"""Own how the contract describes what the framework does not know: refusals, headers of answers, links."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from rlt_core.schemas.server import Problem
from rlt_service.access.scopes import checks_among
from rlt_service.links import add_links
from rlt_service.problems import MEDIA_TYPE

_REFERENCE = "#/components/schemas/{model}"
_SERVER_FAULTS = "5XX"
KEY_SCHEME = "key"
_FRAMEWORKS = "HTTPValidationError"
_TEXT: dict[str, Any] = {"type": "string"}
_SECONDS: dict[str, Any] = {"type": "integer", "minimum": 1}
_WHY = {
    400: "The body cannot be read: not JSON, not UTF-8, a name twice, nested too deep, broken multipart.",
    401: "The server has keys, and no valid one came with the call.",
    403: "The key lacks a scope, or the call came from a web page of another site or names a host that is not ours.",
    404: "Something that the call names is not there.",
    408: "The body did not come in time.",
    409: "The state of the thing does not allow the call, or the first call with this `Idempotency-Key` still runs.",
    413: "The body is larger than this server takes.",
    415: "The body is of a type that this call does not read, or compressed.",
    422: "A value cannot be carried out as written; `param` points at it.",
    429: "The server has as much in hand as it takes, or the key as many calls, or the project has used up a quota; "
    "`Retry-After` says when to come back.",
}
LOCATION: dict[str, Any] = {
    "Location": {"description": "Where what was made can be read.", "schema": _TEXT, "required": True}
}
"""Headers of an answer that made something, for a route's `responses`."""


class DescribedApi(FastAPI):
    """A FastAPI app whose OpenAPI file says what each call may answer, refusals included."""

    def openapi(self) -> dict[str, Any]:
        """Describe every call, once."""
        if self.openapi_schema is None:
            self.openapi_schema = with_links(with_problems(with_keys(super().openapi(), self.routes)))
        return self.openapi_schema


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals of a route that do not follow from its form, for its `responses`."""
    return {status: {"description": _WHY[status]} for status in statuses}


def with_keys(described: dict[str, Any], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Say which calls need a key where the server has keys, and that they need none where it has not."""
    described.setdefault("components", {})["securitySchemes"] = {KEY_SCHEME: {"type": "http", "scheme": "bearer"}}
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema and checks_among(route.dependencies):
            for method in route.methods:
                described["paths"][route.path_format][method.lower()]["security"] = [{KEY_SCHEME: []}, {}]
    return described


def with_links(described: dict[str, Any]) -> dict[str, Any]:
    """Say which calls an answer leads to."""
    add_links(described["paths"])
    return described


def with_problems(described: dict[str, Any]) -> dict[str, Any]:
    """Describe every refusal as a problem, and the headers of every answer."""
    problem = Problem.model_json_schema(ref_template=_REFERENCE)
    schemas: dict[str, Any] = described.setdefault("components", {}).setdefault("schemas", {})
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    for methods in described["paths"].values():
        for operation in methods.values():
            _describe(operation)
    for name in (_FRAMEWORKS, "ValidationError"):
        schemas.pop(name, None)
    return described


def _describe(operation: dict[str, Any]) -> None:
    answers: dict[str, Any] = operation["responses"]
    if _FRAMEWORKS in str(answers.get("422")):
        del answers["422"]
    for status in _refusals_by_form(operation):
        answers.setdefault(str(status), {"description": _WHY[status]})
    answers[_SERVER_FAULTS] = {"description": "A part of the server is not there, or something of ours broke."}
    for status, answer in answers.items():
        if status[0] in "45" and not _has_model(answer):
            answer["content"] = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
        answer.setdefault("headers", {}).update(_headers(status, answer, operation))


def _refusals_by_form(operation: dict[str, Any]) -> Iterator[int]:
    """Give what a call may be refused with for its form alone: parameters, a body, that it needs a key."""
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    if "path" in places:
        yield 404
    if places & {"query", "header"} or "requestBody" in operation:
        yield 422
    if "requestBody" in operation:
        yield from (400, 408, 413, 415)
    yield 403
    if "security" in operation:
        yield from (401, 429)
    if _takes_key(operation):
        yield from (409, 413)


def _has_model(answer: dict[str, Any]) -> bool:
    return any(content.get("schema") for content in answer.get("content", {}).values())


def _headers(status: str, answer: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "X-Request-Id": _header("The caller's id of the request, or one that the server made.", required=True)
    }
    if status == str(HTTPStatus.TOO_MANY_REQUESTS.value) or status == str(HTTPStatus.SERVICE_UNAVAILABLE.value):
        found["Retry-After"] = _header("Seconds.", schema=_SECONDS, required=True)
    elif status == _SERVER_FAULTS:
        found["Retry-After"] = _header("Seconds; with 503.", schema=_SECONDS)
    if status[0] == "2" and _takes_key(operation):
        found["Idempotency-Replayed"] = _header(
            "`true` where this is the first answer again.", schema={"const": "true"}
        )
    return found


def _header(description: str, *, schema: dict[str, Any] = _TEXT, required: bool = False) -> dict[str, Any]:
    return {"description": description, "schema": schema} | ({"required": True} if required else {})


def _takes_key(operation: dict[str, Any]) -> bool:
    return any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
