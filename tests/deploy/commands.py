"""What a command, a variable or a path in deployment files must be for it to exist in the project."""

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main

from rlt_client.cli.app import build
from rlt_service.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = frozenset(f"RLT_{name.upper()}" for name in Settings.model_fields)
"""Variables of processes of the service."""
NAMED = re.compile(r"\bRLT_[A-Z0-9_]+\b")


def is_command(words: Sequence[str]) -> bool:
    """Tell whether `python -m MODULE` or `rlt COMMAND …` is there; a module has to have a `main`."""
    if words[:2] == ["python", "-m"]:
        found = importlib.util.find_spec(words[2])
        if found is None or found.origin is None:
            return False
        package = found.submodule_search_locations is not None
        source = Path(found.origin).with_name("__main__.py") if package else Path(found.origin)
        return source.is_file() and '__name__ == "__main__"' in source.read_text(encoding="utf-8")
    if words[:1] == ["rlt"]:
        group: Any = typer.main.get_command(build())
        for word in words[1:]:
            # Of a group; what follows a command itself are its arguments.
            commands = getattr(group, "commands", None)
            if commands is None:
                return True
            if word not in commands:
                return False
            group = commands[word]
        return getattr(group, "commands", None) is None
    return False


def settings_from(environment: Mapping[str, Any]) -> Settings:
    """Read an environment as a process does, and nothing of this one's; raises ValidationError."""
    known = {name: str(value) for name, value in environment.items() if name in SETTINGS}
    with mock.patch.dict("os.environ", known, clear=True):
        return Settings()


def unknown_variables(text: str, *, besides: Iterable[str] = ()) -> set[str]:
    """Name the RLT_* in a text that are no settings."""
    return set(NAMED.findall(text)) - SETTINGS - set(besides)
