"""Own what every command shares: which server, how to print, what --json prints."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import BaseModel
from rich.console import Console

from rlt_client import Client
from rlt_client._client import DEFAULT_BASE_URL

Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the server gave it; errors too.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One call of the command."""

    base_url: str | None = None
    api_key: str | None = None
    transport: httpx.BaseTransport | None = None
    """For tests: the app in process instead of a network."""
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    errors: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    @property
    def server(self) -> tuple[str, str]:
        """Which server, and what named it: an option, the environment, `rlt up`'s note, or nothing."""
        if self.base_url:
            return self.base_url, "--base-url"
        if named := os.environ.get("RLT_BASE_URL"):
            return named, "RLT_BASE_URL"
        if here := _running_here():
            return here, f"{state_folder() / 'server.json'}"
        return DEFAULT_BASE_URL, "default"

    def client(self, *, timeout: float | None = None, server: str | None = None) -> Client:
        """Open the SDK on the server in question, or the one of several that is named.

        It says at once what is wrong, and tries nothing again.
        """
        url, _ = self.server
        return Client(server or url, api_key=self.api_key, transport=self.transport, max_retries=0, timeout=timeout)


def state_of(context: typer.Context) -> State:
    """Read the state that the root command left."""
    return context.find_root().ensure_object(State)


def print_json(answer: BaseModel | Mapping[str, Any]) -> None:
    """Write one answer as one JSON document, uncoloured, so that it can be piped."""
    if isinstance(answer, BaseModel):
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def print_json_line(part: BaseModel | Mapping[str, Any]) -> None:
    """Write one part of what comes in parts, as one line of JSON."""
    typer.echo(part.model_dump_json() if isinstance(part, BaseModel) else json.dumps(part, ensure_ascii=False))


def state_folder() -> Path:
    """Where `rlt up` keeps its state on this machine."""
    return Path(os.environ.get("RLT_HOME") or Path.home() / ".rlt")


def _running_here() -> str | None:
    """Read the address that `rlt up` wrote down, if the process that wrote it still lives."""
    try:
        note = json.loads((state_folder() / "server.json").read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
        return str(note["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
