"""Write docs/reference/operations.md from the OpenAPI document: `python -m tests.support.operations_page`."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.service import make_app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "operations.md"

HEAD = """# Operations

Every call of the API, with its parameters and the fields of its JSON body; `*` marks what must be there. Types, ranges
and answers stand in full in a server's `/openapi.json`. This page is made by `python -m tests.support.operations_page`.
"""


def main() -> None:
    """Write the page."""
    with TemporaryDirectory() as folder:
        PAGE.write_text(page(make_app(Path(folder)).openapi()), encoding="utf-8")


def page(document: dict[str, Any]) -> str:
    """Give the page of an OpenAPI document as it should be."""
    return HEAD + "".join(_sections(document))


def _sections(document: dict[str, Any]) -> Iterator[str]:
    schemas: dict[str, Any] = document["components"]["schemas"]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            yield f"\n## `{method.upper()} {path}`\n\n{_said(call.get('description') or call.get('summary'))}\n"
            parameters = [one for one in call.get("parameters", ()) if "name" in one]
            rows = [
                f"| `{one['name']}`{'*' if one.get('required') else ''} | {one['in']} | {_said(_words_of(one))} |\n"
                for one in parameters
            ]
            rows += [row for name in _bodies(call) for row in _fields(schemas[name])]
            if rows:
                yield "\n| name | in | meaning |\n| --- | --- | --- |\n" + "".join(rows)


def _words_of(parameter: dict[str, Any]) -> str | None:
    return parameter.get("description") or parameter.get("schema", {}).get("description")


def _bodies(call: dict[str, Any]) -> list[str]:
    schema = call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    options = [schema, *schema.get("oneOf", ()), *schema.get("anyOf", ())]
    return [one["$ref"].rpartition("/")[2] for one in options if "$ref" in one]


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    where = f"body, {schema['title']}" if "title" in schema else "body"
    for name, field in schema.get("properties", {}).items():
        star = "*" if name in schema.get("required", ()) else ""
        yield f"| `{name}`{star} | {where} | {_said(field.get('description'))} |\n"


def _said(text: str | None) -> str:
    words = " ".join((text or "").split("\n\n")[0].split())
    return words.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


if __name__ == "__main__":
    main()
