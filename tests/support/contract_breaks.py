"""Own what a newer OpenAPI document no longer keeps of an older one's promise: operation by operation. Pure.

Promised are paths, parameters, bodies, answers, their headers, and what needs a key. Not promised are names of
operations (`operationId`), descriptions, examples, links, and which refusals there are besides their form.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.schema_breaks import SchemaBreaks

Document = Mapping[str, Any]
Operation = Mapping[str, Any]


def breaks_between(old: Document, new: Document) -> Sequence[str]:
    """Say, sorted, all that breaks for a caller of `old` who meets `new`; a sentence each, with its place."""
    return sorted(set(_Contract(old, new).breaks()))


class _Contract:
    def __init__(self, old: Document, new: Document) -> None:
        self._old = old
        self._new = new
        before, after = (document.get("components", {}).get("schemas", {}) for document in (old, new))
        self._asked = SchemaBreaks(before, after, "asked")
        self._told = SchemaBreaks(before, after, "told")

    def breaks(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                label = f"{method.upper()} {path}"
                there = self._new["paths"].get(path, {}).get(method)
                if there is None:
                    yield f"{label}: the operation is gone"
                else:
                    yield from self._operation(operation, there, label)

    def _operation(self, old: Operation, new: Operation, label: str) -> Iterator[str]:
        yield from self._parameters(old, new, label)
        yield from self._body(old.get("requestBody"), new.get("requestBody"), label)
        for status, answer in old["responses"].items():
            there = new["responses"].get(status)
            if there is not None:
                yield from self._answer(answer, there, f"{label} {status}")
            elif status.startswith("2"):
                yield f"{label}: the answer {status} is gone"
        yield from _keys(old, new, label)

    def _parameters(self, old: Operation, new: Operation, label: str) -> Iterator[str]:
        before, after = _parameters(old), _parameters(new)
        for key, parameter in before.items():
            where = f"{label} {key}"
            there = after.get(key)
            if there is None:
                yield f"{where}: the parameter is gone"
                continue
            if there.get("required", False) and not parameter.get("required", False):
                yield f"{where}: the parameter has to be given now"
            yield from self._asked.between(parameter.get("schema", {}), there.get("schema", {}), where)
        for key in sorted(after.keys() - before.keys()):
            if after[key].get("required", False):
                yield f"{label} {key}: the parameter has to be given now"

    def _body(self, old: Operation | None, new: Operation | None, label: str) -> Iterator[str]:
        if new is not None and new.get("required", False) and not (old or {}).get("required", False):
            yield f"{label}: a body has to be given now"
        for kind, content in (old or {}).get("content", {}).items():
            there = (new or {}).get("content", {}).get(kind)
            if there is None:
                yield f"{label}: a body of {kind} is no longer taken"
            else:
                yield from self._asked.between(content.get("schema", {}), there.get("schema", {}), f"{label} body")

    def _answer(self, old: Operation, new: Operation, where: str) -> Iterator[str]:
        for kind, content in old.get("content", {}).items():
            there = new.get("content", {}).get(kind)
            if there is None:
                yield f"{where}: it is no longer told as {kind}"
            else:
                yield from self._told.between(content.get("schema", {}), there.get("schema", {}), where)
        for name, header in old.get("headers", {}).items():
            there = new.get("headers", {}).get(name)
            if there is None:
                yield f"{where}: the header {name} is gone"
                continue
            if header.get("required", False) and not there.get("required", False):
                yield f"{where}: the header {name} may be left out now"
            yield from self._told.between(header.get("schema", {}), there.get("schema", {}), f"{where} {name}")


def _parameters(operation: Operation) -> dict[str, Operation]:
    return {f"{one['in']} {one['name']}": one for one in operation.get("parameters", ()) if "name" in one}


def _keys(old: Operation, new: Operation, label: str) -> Iterator[str]:
    """Say which way to be let in is none any more; no entry at all is being let in without one."""
    after: Sequence[Mapping[str, Sequence[str]]] = new.get("security") or [{}]
    for way in old.get("security") or [{}]:
        if not any(_asks_no_more(there, way) for there in after):
            yield f"{label}: it takes more than {' and '.join(way) or 'no key'} to be let in now"


def _asks_no_more(new: Mapping[str, Sequence[str]], old: Mapping[str, Sequence[str]]) -> bool:
    return all(name in old and set(scopes) <= set(old[name]) for name, scopes in new.items())
