"""Own the root of the `rlt` command: its parts, --version, and the end of every error."""

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import httpx
import typer

from rlt_client import APIError
from rlt_client.cli import (
    audit,
    backup,
    datasets,
    demo,
    doctor,
    evaluations,
    explain,
    jobs,
    keys,
    messages,
    models,
    projects,
    score,
    solve,
    train,
    up,
)
from rlt_client.cli.arguments import hoisted, wants_json
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.state import State, state_of

_CODES = ", ".join(f"{code.value} {code.meaning}" for code in ExitCode)
HELP = f"""Explain, score, train, swap: talk to an RLT server, or start one with `rlt up`.

The server is the one of --base-url, else RLT_BASE_URL, else the one that `rlt up` runs on this machine.
Where it asks for a key, that of RLT_API_KEY is sent (`rlt keys` makes them).

With --json a call prints one JSON document, and an error one line of JSON on stderr; what comes in parts (`explain
--stream`, `jobs logs`) is a line of JSON each.

Exit codes: {_CODES}.
"""


def build() -> typer.Typer:
    """Put the command together."""
    app = typer.Typer(
        name="rlt",
        help=HELP,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command("up")(up.up)
    app.command("demo")(demo.demo)
    app.command("doctor")(doctor.doctor)
    app.command("backup")(backup.backup)
    app.command("restore")(backup.restore)
    app.command("explain")(explain.explain)
    app.command("score")(score.score)
    app.command("solve")(solve.solve)
    app.add_typer(train.build(), name="train")
    app.add_typer(keys.build(), name="keys")
    app.add_typer(projects.build(), name="projects")
    app.command("audit")(audit.audit)
    app.add_typer(jobs.build(), name="jobs")
    app.add_typer(datasets.build(), name="datasets")
    app.add_typer(evaluations.build(), name="evaluations")
    app.add_typer(models.build(role="teacher"), name="teachers")
    app.add_typer(models.build(role="student"), name="students")
    return app


def main(arguments: Sequence[str] | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
    """Run the command; ends the process with its exit code. `transport` replaces the network in tests."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given, state=State(transport=transport))
        sys.stdout.flush()
    except BrokenPipeError:
        code = _without_reader()
    sys.exit(code)


@cache
def command() -> Any:
    """Give the command as what runs, completes and explains itself."""
    return typer.main.get_command(build())


def _run(arguments: Sequence[str], *, state: State) -> int:
    try:
        ended: object = command()(args=hoisted(arguments), prog_name="rlt", obj=state, standalone_mode=False)
        return ended if isinstance(ended, int) else ExitCode.OK
    except APIError as error:
        failure = messages.of_api(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except typer.TyperException as error:
        if messages.is_help(error):
            return error.exit_code
        failure = messages.of_usage(error)
    except SystemExit as error:
        # So end rich and typer where nobody reads any more, each with a code of its own.
        if isinstance(error.__context__, BrokenPipeError):
            return _without_reader()
        raise
    return messages.tell(failure, errors=state.errors, as_json=wants_json(arguments))


def _without_reader() -> int:
    """End as a program in a pipe does, quietly: what is still buffered goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.READER_GONE


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlt {importlib.metadata.version('rlt')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", help="Server, such as http://127.0.0.1:8400; several, parted by commas, are replicas."
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="Others on this machine can see it: prefer RLT_API_KEY.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    given = state_of(context)
    context.obj = State(
        base_url=base_url, api_key=api_key, transport=given.transport, out=given.out, errors=given.errors
    )
