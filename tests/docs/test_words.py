"""One word for one thing: in the API's names and descriptions, the SDK, the command line, and every page."""

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import rlt_client
from rlt_client.cli.app import build
from tests.docs.snippets import ROOT, pages
from tests.docs.words import FORBIDDEN, Word
from tests.support.service import make_app

SPEAKS_OF_OTHERS = ("comparison.md", "errors.md", "glossary.md", "paper-parity.md", "reliability.md")
"""Pages that quote other projects, bad inputs, or names of tests, as they are."""
TEXTS: dict[str, Callable[[Path], str]] = {
    "the API": lambda home: _api(make_app(home).openapi()),
    "the SDK": lambda _: "\n".join(_members()),
    "the command line": lambda _: "\n".join(_helps(typer.main.get_command(build()), "rlt")),
    "the pages": lambda _: "\n".join(
        page.read_text(encoding="utf-8") for page in pages() if page.name not in SPEAKS_OF_OTHERS
    ),
}


@pytest.mark.parametrize("place", TEXTS)
def test_nothing_has_a_second_name(place: str, tmp_path: Path) -> None:
    text = TEXTS[place](tmp_path)
    assert len(text) > 1000, "there is nothing to look at"
    found = {word.instead: places for word in FORBIDDEN if (places := word.found_in(text))}
    assert found == {}, f"{place}: say what stands left of each"


def test_the_glossary_translates_every_word_that_is_kept_out() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [word.row for word in FORBIDDEN if word.row not in glossary] == []


def test_a_word_is_found_whole_and_in_names() -> None:
    word = Word("run id", "job", "", r"(?:task|run)_ids?")
    assert word.found_in("the task_id, last_run_id, and truntask_idx") == ["task_id", "run_id"]


def _api(document: dict[str, Any]) -> str:
    return json.dumps(document)


def _members() -> Iterator[str]:
    """Give names, signatures and docstrings of all that a user of the SDK can reach."""
    with rlt_client.Client("http://rlt.test") as client:
        reached = [rlt_client, client, *(value for name, value in vars(client).items() if not name.startswith("_"))]
    for thing in reached:
        for name, member in inspect.getmembers(thing):
            if not name.startswith("_"):
                yield f"{name} {inspect.getdoc(member) or ''}"
                if inspect.isroutine(member):
                    yield str(inspect.signature(member))


def _helps(command: Any, name: str) -> Iterator[str]:
    yield f"{name} {command.help or ''}"
    for parameter in command.params:
        yield f"{parameter.name} {' '.join(parameter.opts)} {getattr(parameter, 'help', None) or ''}"
    for inner, part in getattr(command, "commands", {}).items():
        yield from _helps(part, f"{name} {inner}")
