"""Own how pydantic's findings become one InvalidRequestError: which of them to tell, where it is, what was meant."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel

from rlt_core.errors import InvalidRequestError, RltError, UnknownFieldError

LONGEST_GUESSED = 100
"""Characters of a name that are compared with the known ones: the comparison reads all that it is given, slowly."""
LONGEST_SHOWN = 200
"""Characters of a caller's field name in an answer."""
SYNONYMS = {"answer": "solution", "prompt": "question"}
"""Fields that people write for ours; tried before the nearest spelling."""

MAX_TOLD = 20
"""Findings listed in the answer at most."""

Location = tuple[int | str, ...]


def invalid_request(errors: Sequence[Any], *, body: object, model: object = None) -> RltError:
    """Choose the finding that helps most, and list the others in `errors`.

    `errors` are pydantic's, with locations inside `body`; `model` is the type that the body was to have.
    """
    ranked = sorted(errors, key=lambda error: (error["type"] != "extra_forbidden", -len(error["loc"])))
    first = ranked[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, RltError):
        return own
    told = [
        {"param": pointer(error["loc"], body=body), "message": _message(error, body=body, model=model)}
        for error in ranked[:MAX_TOLD]
    ]
    kind = UnknownFieldError if first["type"] == "extra_forbidden" else InvalidRequestError
    more = f" (and {len(errors) - 1} more, see `errors`)" if len(errors) > 1 else ""
    return kind(f"{told[0]['message']}{more}", param=told[0]["param"], extra={"errors": told})


def pointer(location: Location, *, body: object) -> str:
    """Write a location as a JSON pointer into the body; labels of unions are no part of it."""
    steps, _ = _walk(location, body)
    return "".join("/" + str(step)[:LONGEST_SHOWN].replace("~", "~0").replace("/", "~1") for step in steps)


def _walk(location: Location, body: object) -> tuple[list[int | str], bool]:
    """Follow a location through the body; also say whether its end is there."""
    steps: list[int | str] = []
    here: object = body
    for position, step in enumerate(location):
        if isinstance(here, dict) and step in here:
            here = cast("dict[object, object]", here)[step]
        elif isinstance(here, list) and isinstance(step, int) and 0 <= step < len(cast("list[object]", here)):
            here = cast("list[object]", here)[step]
        elif isinstance(here, dict) and position == len(location) - 1 and isinstance(step, str):
            return [*steps, step], False
        else:
            continue
        steps.append(step)
    return steps, True


def _message(error: Mapping[str, Any], *, body: object, model: object) -> str:
    steps, _ = _walk(error["loc"], body)
    name = ".".join(str(step) for step in steps) or "the body"
    match error["type"]:
        case "extra_forbidden":
            return _unknown(name, field=str(steps[-1]), known=fields_at(model, error["loc"][:-1]))
        case "missing":
            return f"{name} is missing"
        case "string_too_short" if error["ctx"]["min_length"] == 1:
            return f"{name} is empty: it needs at least one character"
        case _:
            seen = reprlib.repr(error.get("input"))
            return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}; got {seen}"


def _unknown(name: str, *, field: str, known: Iterable[str]) -> str:
    names = sorted(known)
    meant = SYNONYMS.get(field.lower())
    if meant not in names:
        meant = next(iter(difflib.get_close_matches(field[:LONGEST_GUESSED].lower(), names, n=1)), None)
    hint = f"did you mean {meant!r}?" if meant else f"known here: {', '.join(names) or 'none'}"
    return f"{name[:200]} is no field of this request; {hint}"


def fields_at(model: object, location: Location) -> set[str]:
    """Name the fields that a request type has at a location; branches of a union count together."""
    models = _models(model)
    for step in location:
        inner = [found for one in models if step in one.model_fields for found in _field_models(one, str(step))]
        # A list's index and a union's label lead to no field: what is known stays the same.
        models = inner or models
    return {name for one in models for name in one.model_fields}


def _field_models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    return _models(model.model_fields[field].annotation)


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
