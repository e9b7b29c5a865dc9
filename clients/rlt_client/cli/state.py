"""Own what every command shares: which server, how to print, what the exit codes mean."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from pydantic import BaseModel
from rich.console import Console

from rlt_client._client import DEFAULT_BASE_URL, Client
from rlt_client._errors import APIConnectionError, APIError, APIStatusError
from rlt_client.cli.exit_codes import ExitCode, of_status

EXIT_FAILED: Final = ExitCode.FAILED
EXIT_JOB: Final = ExitCode.JOB
EXIT_INTERRUPTED: Final = ExitCode.INTERRUPTED

Json = Annotated[bool, typer.Option("--json", help="Print the server's answer as JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One call of the command."""

    base_url: str | None = None
    api_key: str | None = None
    transport: httpx.BaseTransport | None = None
    """For tests: the app in process instead of a network."""
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    errors: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    def client(self) -> Client:
        """Open the SDK on the server in question."""
        return Client(self.base_url or _known_base_url(), api_key=self.api_key, transport=self.transport, max_retries=0)


def state_of(context: typer.Context) -> State:
    """Read the state that the root command left."""
    return context.find_root().ensure_object(State)


def print_json(answer: BaseModel | list[dict[str, Any]]) -> None:
    """Write an answer as JSON, uncoloured, so that it can be piped."""
    if isinstance(answer, BaseModel):
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def report(error: APIError, *, errors: Console) -> int:
    """Say what went wrong and what to do, without a traceback; gives the exit code."""
    errors.print(f"error: {error}", style="red", markup=False)
    if isinstance(error, APIStatusError):
        if error.param:
            errors.print(f"  at {error.param}", markup=False)
        lines: list[Any] = error.extra.get("lines", [])
        for line in lines:
            errors.print(f"  line {line.get('line')}: {line.get('message')}", markup=False)
    if isinstance(error, APIConnectionError):
        return ExitCode.UNAVAILABLE
    return of_status(error.status) if isinstance(error, APIStatusError) else ExitCode.FAILED


def state_folder() -> Path:
    """Where `rlt up` keeps its state on this machine."""
    return Path(os.environ.get("RLT_HOME") or Path.home() / ".rlt")


def _known_base_url() -> str:
    named = os.environ.get("RLT_BASE_URL")
    return named or _running_here() or DEFAULT_BASE_URL


def _running_here() -> str | None:
    """Read the address that `rlt up` wrote down, if the process that wrote it still lives."""
    try:
        note = json.loads((state_folder() / "server.json").read_text(encoding="utf-8"))
        os.kill(int(note["pid"]), 0)
        return str(note["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
