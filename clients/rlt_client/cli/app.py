"""Own the root of the `rlt` command: its parts, --version, and the end of every error."""

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Annotated

import httpx
import typer

from rlt_client._errors import APIError
from rlt_client.cli import backup, datasets, demo, evaluations, explain, jobs, keys, models, score, solve, train, up
from rlt_client.cli.arguments import hoisted
from rlt_client.cli.state import State, report, state_of

HELP = """Explain, score, train, swap: talk to an RLT server, or start one with `rlt up`.

The server is the one of --base-url, else RLT_BASE_URL, else the one that `rlt up` runs on this machine.
Where it asks for a key, that of RLT_API_KEY is sent (`rlt keys` makes them).

Exit codes: 0 done, 1 failed, 2 wrong usage or a value that the server refuses, 3 not found,
4 the watched job did not succeed, 5 no server answers or it is busy, 6 no access, 130 interrupted.
"""


def build() -> typer.Typer:
    """Put the command together."""
    app = typer.Typer(
        name="rlt",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command("up")(up.up)
    app.command("demo")(demo.demo)
    app.command("backup")(backup.backup)
    app.command("restore")(backup.restore)
    app.command("explain")(explain.explain)
    app.command("score")(score.score)
    app.command("solve")(solve.solve)
    app.command("train")(train.train)
    app.add_typer(keys.build(), name="keys")
    app.add_typer(jobs.build(), name="jobs")
    app.add_typer(datasets.build(), name="datasets")
    app.add_typer(evaluations.build(), name="evaluations")
    app.add_typer(models.build(role="teacher"), name="teachers")
    app.add_typer(models.build(role="student"), name="students")
    return app


def main(arguments: Sequence[str] | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
    """Run the command; ends the process with its exit code. `transport` replaces the network in tests."""
    state = State(transport=transport)
    command = typer.main.get_command(build())
    try:
        command(args=hoisted(sys.argv[1:] if arguments is None else arguments), prog_name="rlt", obj=state)
    except APIError as error:
        sys.exit(report(error, errors=state.errors))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlt {importlib.metadata.version('rlt')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Server, such as http://127.0.0.1:8400.")] = None,
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
