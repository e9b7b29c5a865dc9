"""Write docs/openapi.json, the contract of the last release: `python -m tests.support.contract` at a release.

It refuses where something breaks that docs/openapi-breaks.toml does not declare. Written, it holds the breaks that
were declared: their entries go then.
"""

import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from rlt_core.schemas.jobs import SPEC_VERSION, SUBMITTED_SPEC
from tests.support.contract_breaks import breaks_between
from tests.support.service import make_app

DOCS = Path(__file__).parents[2] / "docs"
RELEASED = DOCS / "openapi.json"
DECLARED = DOCS / "openapi-breaks.toml"
SPECS = "x-rlt-specs"
"""Where the file keeps what releases one apart go by when they read each other's jobs."""


class DeclaredBreak(BaseModel):
    """A break that is meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    change: str = Field(min_length=1)
    """The sentence, as the test says it."""
    reason: str = Field(min_length=1)
    """Why it is worth breaking callers."""
    instead: str = Field(min_length=1)
    """What they do from now on."""
    notice: str = Field(min_length=1)
    """Since which release it has been announced, or why it was not."""


def released() -> dict[str, Any]:
    """Read the contract of the last release."""
    return json.loads(RELEASED.read_text(encoding="utf-8"))


def declared(text: str) -> Sequence[DeclaredBreak]:
    """Read what is declared; raises ValueError for an entry that leaves something out."""
    return [DeclaredBreak.model_validate(entry) for entry in tomllib.loads(text).get("break", [])]


def objections(found: Sequence[str], meant: Sequence[DeclaredBreak]) -> Iterator[str]:
    """Say which breaks nobody has declared, and which declarations nothing needs."""
    changes = [entry.change for entry in meant]
    for change in found:
        if change not in changes:
            yield f"breaks callers: {change}"
    for change in changes:
        if change not in found:
            yield f"is declared in {DECLARED.name} and breaks nothing: {change}"


def specs(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Say what the specs of jobs may hold, in short, and by which number a release tells that it can read them."""
    said = json.dumps(_without_words(schema or SUBMITTED_SPEC.json_schema()), sort_keys=True)
    return {"version": SPEC_VERSION, "sha256": hashlib.sha256(said.encode()).hexdigest()}


def misread(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Tell whether the release before would take today's specs for its own: they are others under its number."""
    return now["sha256"] != before["sha256"] and now["version"] <= before["version"]


def _without_words(schema: Any) -> Any:
    """Leave out what changes nothing of what is taken; a property may be called so."""
    if isinstance(schema, list):
        return [_without_words(one) for one in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in cast(dict[str, Any], schema).items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _without_words(one) for name, one in value.items()}
        elif key not in ("title", "description", "examples"):
            kept[key] = _without_words(value)
    return kept


def written(document: dict[str, Any]) -> str:
    """Give the file of a document, the same for the same document."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, where all that breaks is declared."""
    with TemporaryDirectory() as folder:
        document = make_app(Path(folder)).openapi()
    if RELEASED.exists():
        found = breaks_between(released(), document)
        meant = declared(DECLARED.read_text(encoding="utf-8"))
        if refused := list(objections(found, meant)):
            sys.stderr.write("".join(f"{line}\n" for line in refused))
            return 1
        for entry in meant:
            sys.stdout.write(f"holds now, take its entry out of {DECLARED.name}: {entry.change}\n")
    RELEASED.write_text(written(document | {SPECS: specs()}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
