"""`rlt audit`: hand over to the service's audit log, if it is installed; it is read on the server's machine."""

from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side
from rlt_client.cli.state import Json

AUDIT = "rlt_service.access.audit_command"


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most entries.")] = 50,
    after: Annotated[str | None, typer.Option(help="The last id of the page before.", metavar="ID")] = None,
    key: Annotated[str | None, typer.Option(help="Of this key alone, by its id.", metavar="ID")] = None,
    project: Annotated[str | None, typer.Option(help="Of this project's keys alone, by its name.")] = None,
    home: Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")] = None,
    as_json: Json = False,
) -> None:
    """Show who did what and when on the server of this machine's state folder, the newest first.

    It tells of every call with a key that changes something, also in vain, and of `rlt keys` and `rlt projects`; never
    of texts.

    Example: `rlt audit --project algebra --limit 20`
    """
    options = {"--limit": limit, "--after": after, "--key": key, "--project": project}
    server_side.become(AUDIT, server_side.given({**options, "--home": home, "--json": as_json}))
