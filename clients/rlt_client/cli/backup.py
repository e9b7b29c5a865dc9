"""`rlt backup` and `rlt restore`: hand over to the service's copies of a state folder, if it is installed."""

from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side
from rlt_client.cli.state import Json

BACKUPS = "rlt_service.backup"

Home = Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")]


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Copy the state folder, also while the server runs: database, datasets, versions, checkpoints of waiting jobs.

    Not in it: the base model, work of jobs that have ended, caches, logs.

    Example: `rlt backup /backups/rlt-monday`
    """
    server_side.become(BACKUPS, ["backup", *server_side.given({"--home": home, "--json": as_json}), "--", str(folder)])


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `rlt backup` made.")],
    home: Home = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move away what lies in the state folder.")] = False,
    as_json: Json = False,
) -> None:
    """Make a state folder of a backup, every file verified. The folder must be new or empty, unless you say --replace.

    Examples: `rlt restore /backups/rlt-monday --home ./state` · `rlt restore /backups/rlt-monday --replace`
    """
    arguments = ["restore", *server_side.given({"--home": home, "--json": as_json, "--replace": replace})]
    server_side.become(BACKUPS, [*arguments, "--", str(folder)])
