"""Own what a newer JSON schema no longer keeps of an older one's promise. Pure.

What is asked of callers (`asked`): all that was taken is taken still, and means the same where a caller leaves it out.
What they are told (`told`): all fields that came still come, and nothing comes that could not come before but new
fields, new values of an enumeration, and new members of a union of objects: callers are to take these
(docs/upgrading.md).
`not`, `if`, `patternProperties` and the like, which the contract does not use, are not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]
Direction = Literal["asked", "told"]

_ABSENT = object()
_LOWER = (("minimum", "exclusiveMinimum"), ("minLength", ""), ("minItems", ""), ("minProperties", ""))
_UPPER = (("maximum", "exclusiveMaximum"), ("maxLength", ""), ("maxItems", ""), ("maxProperties", ""))
_EXACT = ("pattern", "format", "multipleOf", "uniqueItems", "contentEncoding")


@dataclass(frozen=True, slots=True)
class _Shape:
    """One of the forms that a value may have, with no union in it."""

    name: str | None
    """Of the component that it is; None where it stands in place."""
    kind: str
    """A JSON type, or `any`."""
    schema: Schema


class SchemaBreaks:
    """Compares schemas of two documents in one direction; what it says is a sentence with its place."""

    def __init__(self, old: Schema, new: Schema, direction: Direction) -> None:
        """Take the components of both documents, by name."""
        self._old = old
        self._new = new
        self._asked = direction == "asked"
        self._side = "in requests" if self._asked else "in answers"
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}
        """By pairs of components; empty while they are being compared, so that a component may hold itself."""

    def between(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        """Say what breaks where `old` becomes `new`; `where` names the place."""
        if self._asked and "default" in old and old["default"] != new.get("default", _ABSENT):
            yield self._said(where, f"left out, it meant {old['default']!r}, and now {new.get('default')!r}")
        before, after = list(_shapes(old, self._old)), list(_shapes(new, self._new))
        inner, outer = (before, after) if self._asked else (after, before)
        for shape in inner:
            if self._is_new_member(shape, before, after):
                continue
            found = [self._pair(shape, other, where) for other in _counterparts(shape, outer)]
            if not found:
                yield self._said(where, f"{'takes no' if self._asked else 'may be'} {shape.kind} now")
            else:
                yield from min(found, key=len)

    def _is_new_member(self, shape: _Shape, before: Sequence[_Shape], after: Sequence[_Shape]) -> bool:
        """Tell whether an answer's object is one more beside all that came before."""
        were, are = ({one.name for one in shapes if one.kind == "object"} for shapes in (before, after))
        return not self._asked and shape.kind == "object" and shape.name not in were and bool(were) and were <= are

    def _pair(self, inner: _Shape, outer: _Shape, where: str) -> tuple[str, ...]:
        old, new = (inner, outer) if self._asked else (outer, inner)
        if old.name is None or new.name is None:
            return tuple(self._forms(old, new, where))
        if (pair := (old.name, new.name)) not in self._known:
            self._known[pair] = ()
            self._known[pair] = tuple(self._forms(old, new, old.name))
        return self._known[pair]

    def _forms(self, old: _Shape, new: _Shape, where: str) -> Iterator[str]:
        yield from self._values(old.schema, new.schema, where)
        inner, outer = (old.schema, new.schema) if self._asked else (new.schema, old.schema)
        now = "taken" if self._asked else "promised"
        for name in _bounds_beyond(inner, outer):
            yield self._said(where, f"{name} was {old.schema.get(name)} and is {new.schema.get(name)}")
        for name in _EXACT:
            if name in outer and inner.get(name) != outer[name]:
                yield self._said(where, f"another {name} is {now}: {new.schema.get(name)!r}")
        if old.kind == new.kind == "object":
            yield from self._objects(old.schema, new.schema, where)
        if old.kind == new.kind == "array":
            yield from self.between(old.schema.get("items", {}), new.schema.get("items", {}), f"{where}/[]")
            pairs = zip(old.schema.get("prefixItems", ()), new.schema.get("prefixItems", ()), strict=False)
            for place, (first, second) in enumerate(pairs):
                yield from self.between(first, second, f"{where}/{place}")

    def _values(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        before, after = _values(old), _values(new)
        if before is not None and after is not None:
            for value in before:
                if value not in after:
                    yield self._said(where, f"the value {value!r} is gone")
        elif self._asked and after is not None:
            yield self._said(where, f"only these values are taken: {after!r}")

    def _objects(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        for name, schema in before.items():
            if name in after:
                yield from self.between(schema, after[name], f"{where}/{name}")
            else:
                yield self._said(f"{where}/{name}", "the field is gone")
        if self._asked:
            for name in sorted(needed_after - needed_before):
                yield self._said(f"{where}/{name}", "the field has to be given now")
        else:
            for name in sorted((needed_before - needed_after) & after.keys()):
                yield self._said(f"{where}/{name}", "the field may be left out now")
        yield from self._other_fields(old, new, where)

    def _other_fields(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        """Compare what objects hold under names that the schema does not list; an answer may always get more."""
        before, after = (schema.get("additionalProperties", True) for schema in (old, new))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from self.between(before, after, f"{where}/*")
        elif self._asked and before is not False and after is not True:
            yield self._said(where, f"fields of other names are {'not' if after is False else 'not all'} taken now")
        elif not self._asked and isinstance(before, Mapping) and after is True:
            yield self._said(where, "fields of other names may be anything now")

    def _said(self, where: str, what: str) -> str:
        return f"{where} {self._side}: {what}"


def _shapes(schema: Schema, components: Schema, name: str | None = None) -> Iterator[_Shape]:
    """Give the forms of a schema, through references and unions."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        yield from _shapes(components[name], components, name)
        return
    options = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if options:
        for option in options:
            yield from _shapes(option, components)
        return
    whole = _merged(schema, components) if "allOf" in schema else schema
    for kind in _kinds(whole):
        yield _Shape(name, kind, whole)


def _merged(schema: Schema, components: Schema) -> Schema:
    """Join what all parts of a schema say into one."""
    whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        for shape in _shapes(part, components):
            properties = {**shape.schema.get("properties", {}), **whole.get("properties", {})}
            required = [*shape.schema.get("required", ()), *whole.get("required", ())]
            whole = {**shape.schema, **whole, "properties": properties, "required": required}
    return whole


def _kinds(schema: Schema) -> Sequence[str]:
    said = schema.get("type")
    if said is not None:
        return [said] if isinstance(said, str) else list(said)
    if (values := _values(schema)) is not None:
        return sorted({_kind_of(value) for value in values})
    return ["object"] if "properties" in schema else ["any"]


def _kind_of(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return kinds.get(type(value), "object")


def _values(schema: Schema) -> Sequence[Any] | None:
    """Give the only values that are allowed; None where any is."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _counterparts(inner: _Shape, outers: Sequence[_Shape]) -> Sequence[_Shape]:
    """Find the forms that may hold all of `inner`'s values; the component of its name, where that is among them."""
    kinds = {inner.kind, "any"} | ({"number"} if inner.kind == "integer" else set())
    found = [other for other in outers if other.kind in kinds]
    named = [other for other in found if other.name is not None and other.name == inner.name]
    return named or found


def _bounds_beyond(inner: Schema, outer: Schema) -> Iterator[str]:
    """Name the bounds by which `outer` leaves out values that `inner` has."""
    for sign, pairs in ((1, _LOWER), (-1, _UPPER)):
        for name, excluding in pairs:
            bound, its = _bound(outer, name, excluding, sign), _bound(inner, name, excluding, sign)
            if bound is not None and (its is None or its < bound):
                yield name if name in outer else excluding


def _bound(schema: Schema, name: str, excluding: str, sign: int) -> tuple[float, bool] | None:
    """Give the tightest of two bounds as a pair that is greater the tighter it is."""
    found = [(sign * float(schema[key]), key == excluding) for key in (name, excluding) if key in schema]
    return max(found, default=None)
