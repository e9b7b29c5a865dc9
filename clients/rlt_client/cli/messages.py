"""Own what `rlt` says when something went wrong: as text, or with --json as one line of JSON, and the exit code."""

import json
import re
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import typer
from rich.console import Console

from rlt_client import APIConnectionError, APIError, APIStatusError
from rlt_client.cli.exit_codes import ExitCode, of_status

SHOWN_LINES: Final = 100
"""Bad lines of an upload that are told; the server names no more."""

_NOT_ONE_OF: Final = re.compile(r"'(?P<seen>[^']*)' is not one of (?P<known>.*?)\.?$", re.DOTALL)


class RefusedError(typer.TyperException):
    """What the command itself refuses, without asking the server."""

    def __init__(self, message: str, *, code: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        """Keep a stable `code` for scripts beside the sentence for people."""
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call of the command failed; with --json its fields are the object `error`."""

    code: str
    message: str
    exit_code: int
    status: int | None = None
    """Of HTTP, where a server answered."""
    param: str | None = None
    request_id: str | None = None
    retryable: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Bad lines of an upload."""
    hints: list[str] = field(default_factory=list[str])


def of_api(error: APIError) -> Failure:
    """Read a failure of a call to the server."""
    if not isinstance(error, APIStatusError):
        known = isinstance(error, APIConnectionError)
        code = ExitCode.UNAVAILABLE if known else ExitCode.FAILED
        return Failure(code=error.code, message=str(error), exit_code=code, param=error.param, retryable=known)
    lines: list[dict[str, Any]] = list(error.extra.get("lines", []))[:SHOWN_LINES]
    return Failure(
        code=error.code,
        message=error.message,
        exit_code=of_status(error.status),
        status=error.status,
        param=error.param,
        request_id=error.request_id,
        retryable=error.retryable,
        lines=lines,
    )


def of_usage(error: typer.TyperException) -> Failure:
    """Read a wrong call, or what the command refuses by itself."""
    if isinstance(error, RefusedError):
        return Failure(code=error.code, message=error.message, exit_code=error.exit_code)
    message = error.format_message().replace("Value error, ", "")
    possibilities: list[str] = list(getattr(error, "possibilities", None) or [])
    if possibilities:
        message = f"{error.message.rstrip('.')}. Did you mean {' or '.join(sorted(possibilities))}?"
    elif found := _NOT_ONE_OF.search(message):
        message += did_you_mean(found["seen"], re.findall(r"'([^']*)'", found["known"]))
    context: typer.Context | None = getattr(error, "ctx", None)
    hints = [f"{context.get_usage()}", f"`{context.command_path} --help` says more"] if context is not None else []
    return Failure(code="usage", message=message, exit_code=error.exit_code, hints=hints)


def did_you_mean(seen: str, known: list[str]) -> str:
    """Give ` Did you mean …?` where something known is near, else nothing."""
    near = get_close_matches(seen, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def tell(failure: Failure, *, errors: Console, as_json: bool) -> int:
    """Print a failure on standard error; gives the exit code."""
    if as_json:
        fields = {name: value for name, value in asdict(failure).items() if value not in (None, [])}
        typer.echo(json.dumps({"error": fields}, ensure_ascii=False), err=True)
        return failure.exit_code
    request = "" if failure.request_id is None else f", request {failure.request_id}"
    place = "" if failure.status is None else f" ({failure.status} {failure.code}{request})"
    errors.print(f"error: {failure.message}{place}", style="red", markup=False)
    if failure.param:
        errors.print(f"  at {failure.param}", markup=False)
    for line in failure.lines:
        errors.print(f"  line {line.get('line')}: {line.get('message')}", markup=False)
    for hint in failure.hints:
        errors.print(f"  {hint}", markup=False)
    return failure.exit_code


def is_help(error: typer.TyperException) -> bool:
    """Say whether a group was called without a command, which is answered by its help; prints what is left of it."""
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is None or type(error).__name__ != "NoArgsIsHelpError":
        return False
    if error.message:  # empty where rich has printed it already
        typer.echo(error.message)
    return True
