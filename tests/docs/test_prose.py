"""What pages name in a sentence exists: commands with their flags, settings, calls of the SDK, targets of make."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import typer.main

from rlt_client import Client
from rlt_client.cli.app import build
from rlt_service.settings import Settings
from tests.docs.snippets import ROOT, Snippet, pages, snippets_of

INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
CALL = re.compile(r"\bclient((?:\.[a-z_]+)+)")
SETTING = re.compile(r"\bRLT_[A-Z_]+\b")
TARGET = re.compile(r"^make ([a-z-]+)")
CODE = ("rlt_core", "rlt_tokens", "rlt_train", "clients", "services", "tests", "benchmarks")


def test_every_command_of_a_sentence_exists_with_its_flags() -> None:
    root = typer.main.get_command(build())
    said = [(place, words) for place, text in inline() if (words := text.split())[0] == "rlt"]
    assert len(said) > 10
    assert [f"{place}: {wrong}" for place, words in said if (wrong := mistake(root, words[1:])) is not None] == []


def test_every_variable_that_a_page_names_is_read_somewhere() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for folder in CODE for file in (ROOT / folder).rglob("*.py"))
    read_elsewhere = set(SETTING.findall(code))  # by clients, trainers and tests
    known = {f"RLT_{name.upper()}" for name in Settings.model_fields} | read_elsewhere
    found = {(page.name, name) for page in pages() for name in SETTING.findall(page.read_text(encoding="utf-8"))}
    assert len(found) > 40
    assert sorted((page, name) for page, name in found if name not in known and not name.endswith("_")) == []


def test_every_call_of_a_sentence_is_one_of_the_client() -> None:
    calls = [(place, call) for place, text in inline() for call in CALL.findall(text)]
    assert len(calls) > 5
    with Client("http://rlt.test") as client:
        assert [(place, call) for place, call in calls if not reached(client, call.split(".")[1:])] == []


def test_every_target_that_a_page_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = {(place, found[1]) for place, text in inline() if (found := TARGET.match(text)) is not None}
    assert len(said) > 5
    assert sorted((place, name) for place, name in said if name not in targets) == []


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("teachers promote algebra@3 --reason x", None),
        ("keys create|list|revoke", None),
        ("teachers promot algebra@3", "teachers has no promot"),
        ("jobs list --nothing", "jobs list has no --nothing"),
    ],
)
def test_a_command_is_held_against_the_tree(words: str, wrong: str | None) -> None:
    assert mistake(typer.main.get_command(build()), words.split()) == wrong


def inline() -> Iterator[tuple[str, str]]:
    """Give each piece of code within a page's sentences, with its page."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for snippet in snippets_of(page, text):
            text = text.replace(fenced(snippet), "")
        for code in INLINE.findall(text):
            if code.strip():
                yield page.name, code.strip()


def fenced(snippet: Snippet) -> str:
    return f"```{snippet.language}\n{snippet.text}```"


def mistake(command: Any, words: Sequence[str], *, named: str = "") -> str | None:
    """Say which word of a command line there is not, or None."""
    inner: dict[str, Any] = getattr(command, "commands", {})
    if words and inner and not words[0].startswith("-") and words[0] != "…" and not words[0].isupper():
        for name in words[0].split("|"):
            if name not in inner:
                return f"{named or 'rlt'} has no {name}"
        name = words[0].split("|")[0]
        return mistake(inner[name], words[1:], named=f"{named} {name}".strip())
    flags = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"-h", "--help"}
    flags |= {"--json", "--base-url", "--api-key"}  # taken anywhere
    wrong = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in flags]
    return f"{named} has no {wrong[0]}" if wrong else None


def reached(client: Client, path: Sequence[str]) -> bool:
    thing: object = client
    for name in path:
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return not inspect.ismodule(thing)
