"""Own the form that starts a job: its fields come from a kind's JSON schema, what was typed becomes a spec. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rlt_core.schemas.jobs import SPECS

FieldType = Literal["text", "whole", "number", "choice", "switch", "json"]
FIRST: Final = (
    "name", "dataset", "teacher", "student", "model", "models", "role", "target_name", "base_model", "student_base",
    "steps", "epochs", "samples", "questions_per_step", "samples_per_question", "batch_size", "learning_rate",
    "max_tokens", "seed",
)  # fmt: skip
"""What most who start a job decide; all else stands under "more"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of a form."""

    name: str
    type: FieldType
    label: str
    help: str
    required: bool
    initial: str
    """As it is typed; empty leaves the server's default."""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    first: bool = False
    takes_text: bool = False
    """Of `json`: whether text that is no JSON is meant as it stands."""


class FieldError(ValueError):
    """What was typed into a field is none of its kind."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def fields_of(kind: str) -> list[FormField]:
    """Read a kind's fields from its schema, those that most decide first; raises KeyError for a kind without a form."""
    schema = SPECS[kind].model_json_schema()
    found = [
        _field(name, _resolved(declared, schema), required=name in schema.get("required", []))
        for name, declared in schema["properties"].items()
        if name != "kind"
    ]
    return sorted(found, key=lambda field: (not field.first, FIRST.index(field.name) if field.first else 0))


def spec_of(kind: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """Make the body of POST /v1/train of what was typed; an empty field is left to the server; raises FieldError."""
    fields = {field.name: field for field in fields_of(kind)}
    values = {
        name: value_of(fields[name], text.strip()) for name, text in typed.items() if name in fields and text.strip()
    }
    return {"kind": kind, **values}


def value_of(field: FormField, text: str) -> Any:
    """Read what was typed into a field; raises FieldError."""
    try:
        if field.type == "whole":
            return int(text)
        if field.type == "number":
            return float(text)
        if field.type == "switch":
            return text == "true"
        if field.type == "json":
            return _json_or_text(text, field)
    except ValueError:
        wanted = {"whole": "a whole number", "number": "a number", "json": "JSON"}[field.type]
        raise FieldError(field.name, f"{text!r} is not {wanted}") from None
    return text


def _field(name: str, declared: Mapping[str, Any], *, required: bool) -> FormField:
    default = declared.get("default")
    type_ = _type_of(declared)
    takes_text = any(way.get("type") == "string" for way in declared.get("anyOf", []))
    return FormField(
        name=name,
        type=type_,
        label=name.replace("_", " "),
        help=_sentence(str(declared.get("description", ""))),
        required=required,
        initial="" if default is None else _typed(default, "text" if takes_text else type_),
        choices=tuple(str(choice) for choice in _choices(declared)),
        low=declared.get("minimum", declared.get("exclusiveMinimum")),
        high=declared.get("maximum", declared.get("exclusiveMaximum")),
        first=name in FIRST,
        takes_text=takes_text,
    )


def _json_or_text(text: str, field: FormField) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if not field.takes_text:
            raise
        return text


def _type_of(declared: Mapping[str, Any]) -> FieldType:
    if _choices(declared):
        return "choice"
    types: dict[str, FieldType] = {"string": "text", "integer": "whole", "number": "number", "boolean": "switch"}
    return types.get(str(declared.get("type")), "json")


def _choices(declared: Mapping[str, Any]) -> list[Any]:
    return list(declared.get("enum", [])) if declared.get("type") in ("string", None) else []


def _resolved(declared: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Follow references, and take what may also be null for what it is else."""
    found = dict(declared)
    if "$ref" in found:
        target: Mapping[str, Any] = schema["$defs"][str(found.pop("$ref")).rpartition("/")[2]]
        found = {**target, **found}
    ways = [way for way in found.get("anyOf", []) if way.get("type") != "null"]
    if len(ways) == 1:
        found = {**_resolved(ways[0], schema), **{key: value for key, value in found.items() if key != "anyOf"}}
    return found


def _typed(value: Any, type_: FieldType) -> str:
    if type_ in ("text", "choice") and isinstance(value, str):
        return value
    return json.dumps(value)


def _sentence(text: str) -> str:
    return " ".join(text.split())
