"""Own how the contract describes errors in /openapi.json: one problem for all, not the framework's own."""

from typing import Any

from fastapi import FastAPI

from rlt_core.schemas.server import Problem
from rlt_service.problems import MEDIA_TYPE

_REFERENCE = "#/components/schemas/{model}"


class DescribedApi(FastAPI):
    """A FastAPI app whose OpenAPI file names application/problem+json."""

    def openapi(self) -> dict[str, Any]:
        """Describe every call, once."""
        if self.openapi_schema is None:
            self.openapi_schema = with_problems(super().openapi())
        return self.openapi_schema


def with_problems(described: dict[str, Any]) -> dict[str, Any]:
    """Put the problem in the place of the framework's validation error."""
    problem = Problem.model_json_schema(ref_template=_REFERENCE)
    components = described.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    components["responses"] = {
        "Problem": {
            "description": "What went wrong; `code` is stable, `param` a JSON pointer.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
        }
    }
    for operations in described["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return described
