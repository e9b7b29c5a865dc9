"""Read the fields of a job's spec as options of the command line: names, types, words, bounds; pure."""

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

_PLAIN: Final = (bool, int, float, str)
_LOWEST: Final = {"ge": "from", "gt": "above"}
_HIGHEST: Final = {"le": "to", "lt": "below"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecField:
    """One field that a flag can give."""

    path: tuple[str, ...]
    """Where it stands in the spec: `("reward", "kl_mean")`."""
    type: Any
    """What the shell's text becomes: bool, int, float, str, a Literal, or a list of one of them."""
    words: str
    """What it means, then its choices, its default and its bounds."""
    default: object = None
    is_json: bool
    """Of several types: the text is read as JSON, and where it is none, as it stands."""
    may_be_one: bool
    """A list of one is sent as its item."""

    @property
    def option(self) -> str:
        """Its flag: `--reward.kl-mean`; of what is true by default `--no-unbiased-kl`, which makes it false."""
        *above, last = self.path
        return "--" + ".".join([*above, f"no-{last}" if self.is_switched_off else last]).replace("_", "-")

    @property
    def is_switched_off(self) -> bool:
        """Say whether its flag takes away what is there without it."""
        return self.type is bool and self.default is True

    @property
    def shown_type(self) -> str | None:
        """What help shows for its value: choices stand in its words, where there is room for them."""
        if self.is_json:
            return "<value>"
        return "<choice>" if self.choices else None

    @property
    def choices(self) -> list[str]:
        """Give what it can be, where that is a list."""
        return _choices(self.type)

    @property
    def parameter(self) -> str:
        """Its name in Python."""
        return "__".join(self.path)

    def read(self, value: Any) -> Any:
        """Give what the spec holds for a flag's value."""
        if self.is_switched_off:
            return not value
        if self.may_be_one:
            return value[0] if len(value) == 1 else value
        return value_of(value) if self.is_json else value


def fields_of(spec: type[BaseModel], *, above: tuple[str, ...] = ()) -> Iterator[SpecField]:
    """Walk through a spec's fields, those inside others after them; `kind` is none of them."""
    inner = list[tuple[tuple[str, ...], type[BaseModel]]]()
    for name, field in spec.model_fields.items():
        if name == "kind":
            continue
        path = (*above, name)
        options = _options(field.annotation)
        models = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
        if models:
            inner.append((path, models[0]))
        else:
            yield _field(path, field, options)
    for path, model in inner:
        yield from fields_of(model, above=path)


def value_of(text: str) -> Any:
    """Read text as JSON, and where it is none, as it stands."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Lay a value into a spec; raises ValueError where something else than an object is on the way."""
    *parents, last = path
    place = body
    for parent in parents:
        inner: object = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{parent} is {inner!r}, nothing lies inside it")
        place = cast(dict[str, Any], inner)
    place[last] = value


def given(values: Mapping[str, Any], fields: list[SpecField]) -> dict[str, Any]:
    """Make the spec of the flags that were given."""
    body: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.parameter)
        if value is not None and value != []:
            put(body, field.path, field.read(value))
    return body


def _field(path: tuple[str, ...], field: FieldInfo, options: list[Any]) -> SpecField:
    lists = [one for one in options if get_origin(one) is list]
    plain = [one for one in options if one not in lists]
    kind: Any = str
    if lists:
        items = _options(get_args(lists[0])[0])
        kind = list[_item_type(items[0])]
    elif len(plain) == 1:
        kind = _shell_type(plain[0])
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return SpecField(
        path=path,
        type=kind,
        words=("Switches off: " if kind is bool and default is True else "") + _words(field, choices=_choices(kind)),
        default=default,
        is_json=not lists and len(plain) > 1,
        may_be_one=bool(lists and plain),
    )


def _shell_type(annotation: Any) -> Any:
    return annotation if annotation in _PLAIN or get_origin(annotation) is Literal else str


def _item_type(annotation: Any) -> Any:
    """Give the type of a list's items; typer knows no list of a Literal, so that one becomes an enum."""
    if get_origin(annotation) is Literal:
        return StrEnum("Choice", {str(value): str(value) for value in get_args(annotation)})
    return annotation if annotation in _PLAIN else str


def _options(annotation: Any) -> list[Any]:
    """Give the types that a value may have, without null and without what Annotated says of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [found for one in get_args(annotation) if one is not type(None) for found in _options(one)]
    return [annotation]


def _choices(kind: Any) -> list[str]:
    [item] = get_args(kind) if get_origin(kind) is list else [kind]
    if get_origin(item) is Literal:
        return [str(value) for value in get_args(item)]
    return [one.value for one in item] if isinstance(item, type) and issubclass(item, StrEnum) else []


def _words(field: FieldInfo, *, choices: list[str]) -> str:
    said = " ".join((field.description or "").split())
    facts = [part for part in (", ".join(choices), _default(field), _bounds(field)) if part]
    return f"{said} [{'; '.join(facts)}]".strip() if facts else said


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value == "":
        return ""
    read = to_jsonable_python(value)
    if isinstance(read, list):
        return "default " + (", ".join(str(one) for one in cast(list[Any], read)) or "none")
    return f"default {json.dumps(read) if isinstance(read, bool) else read}"


def _bounds(field: FieldInfo) -> str:
    low = high = ""
    for one in field.metadata:
        for name, said in _LOWEST.items():
            low = f"{said} {getattr(one, name)}" if hasattr(one, name) else low
        for name, said in _HIGHEST.items():
            high = f"{said} {getattr(one, name)}" if hasattr(one, name) else high
    return f"{low} {high}".strip()
