"""`rlt keys`: hand over to the service's keys, if it is installed; they are made on the server's machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side
from rlt_client.cli.state import Json

ACCESS = "rlt_service.access"
HELP = """Say who may call the server of this machine's state folder.

A server without keys listens on loopback only and lets everybody there do everything. Once a key was made, every call
needs one. What a key made (datasets, jobs, evaluations, versions) is unknown to the others; keys of one project
(`rlt projects`) share theirs, and `admin` sees all.

Example: `export RLT_API_KEY=$(rlt keys create ann --scope explain --scope score)`
"""

Home = Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")]
KeyId = Annotated[str, typer.Argument(help="The id that `rlt keys list` shows.", metavar="ID")]


class Scope(StrEnum):
    """What a key may do."""

    explain = "explain"
    score = "score"
    train = "train"
    admin = "admin"


def build() -> typer.Typer:
    """Put the group together."""
    app = typer.Typer(help=HELP, no_args_is_help=True)
    app.command("create")(create)
    app.command("list")(list_keys)
    app.command("revoke")(revoke)
    app.command("rotate")(rotate)
    return app


def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    scope: Annotated[
        list[Scope],
        typer.Option(
            help="`explain`: /explain. `score`: /score. `train`: datasets, jobs, versions, aliases. "
            "`admin`: all that, of every key, and shadows. Repeatable."
        ),
    ],
    project: Annotated[
        str | None, typer.Option(help="Whose it is: keys of one project find what any of them made.")
    ] = None,
    max_per_minute: Annotated[int | None, typer.Option(min=1, max=10**6, help="Calls a minute.")] = None,
    max_at_once: Annotated[int | None, typer.Option(min=1, max=10**6, help="Calls that run at a time.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is shown this once: only its SHA-256 is stored.

    Examples: `rlt keys create ann --scope train --scope explain --scope score` · `rlt keys create ops --scope admin`
    """
    limits = {"--max-per-minute": max_per_minute, "--max-at-once": max_at_once}
    options = {"--project": project, **limits, "--home": home, "--json": as_json}
    scopes = [part for one in scope for part in ("--scope", one.value)]
    server_side.become(ACCESS, ["create", *scopes, *server_side.given(options), "--", name])


def list_keys(home: Home = None, as_json: Json = False) -> None:
    """Show all keys, without their secrets: ids, scopes, limits, which are revoked."""
    server_side.become(ACCESS, ["list", *server_side.given({"--home": home, "--json": as_json})])


def revoke(id: KeyId, home: Home = None, as_json: Json = False) -> None:
    """End a key for good, within 2 s. What it made stays, for `admin`."""
    server_side.become(ACCESS, ["revoke", *server_side.given({"--home": home, "--json": as_json}), "--", id])


def rotate(id: KeyId, home: Home = None, as_json: Json = False) -> None:
    """Give a key another secret and print it; scopes, limits and what it owns stay. The former one ends within 2 s."""
    server_side.become(ACCESS, ["rotate", *server_side.given({"--home": home, "--json": as_json}), "--", id])
