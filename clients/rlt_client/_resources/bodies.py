"""Turn requests into JSON bodies: the server alone checks them, so that its messages are the only ones."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


def body_of(request: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Write a request as JSON values; fields left unset are left out, so that the server's defaults hold."""
    if isinstance(request, BaseModel):
        return request.model_dump(mode="json", exclude_unset=True)
    return {name: _value_of(value) for name, value in request.items()}


def _value_of(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return body_of(value)  # pyright: ignore[reportUnknownArgumentType] - JSON of a caller
    if isinstance(value, list | tuple):
        return [_value_of(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON of a caller
    return to_jsonable_python(value)
