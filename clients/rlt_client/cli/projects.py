"""`rlt projects`: hand over to the service's projects, if it is installed; they are made on the server's machine."""

from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side
from rlt_client.cli.state import Json

PROJECTS = "rlt_service.access.project_command"
HELP = """Say which projects the server of this machine's state folder has, and what each may use.

Keys of one project find what any of them made, and nothing of others. Quotas bound a project, over all its keys and all
processes; what is refused for one is 429 `quota_exceeded`. A limit of `none` is none.

Example: `rlt projects create algebra --jobs-at-once 2` · `rlt keys create ann --project algebra --scope train`
"""

Home = Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")]
Name = Annotated[str, typer.Argument(help="Letters, digits and hyphens; unique, and for good.", metavar="NAME")]
Requests = Annotated[
    str | None, typer.Option(help="Calls of explain, score, solve and chat a day (UTC).", metavar="N|none")
]
Tokens = Annotated[
    str | None, typer.Option(help="Tokens that engines read and write for them a day (UTC).", metavar="N|none")
]
Jobs = Annotated[str | None, typer.Option(help="Jobs that have not ended.", metavar="N|none")]
GpuHours = Annotated[
    str | None,
    typer.Option(
        help="Hours by processes of training a month (UTC); jobs then need `max_runtime_s`.", metavar="HOURS|none"
    ),
]
Disk = Annotated[str | None, typer.Option(help="Bytes of datasets and versions.", metavar="N|none")]


def build() -> typer.Typer:
    """Put the group together."""
    app = typer.Typer(help=HELP, no_args_is_help=True)
    app.command("create")(create)
    app.command("set")(set_quotas)
    app.command("show")(show)
    app.command("list")(list_projects)
    return app


def create(
    name: Name,
    requests_per_day: Requests = None,
    tokens_per_day: Tokens = None,
    jobs_at_once: Jobs = None,
    gpu_hours_per_month: GpuHours = None,
    disk_bytes: Disk = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a project. What is not bounded has no limit.

    Examples: `rlt projects create algebra` · `rlt projects create guests --tokens-per-day 1000000 --jobs-at-once 0`
    """
    quotas = _quotas(requests_per_day, tokens_per_day, jobs_at_once, gpu_hours_per_month, disk_bytes)
    _become("create", name, quotas, home=home, as_json=as_json)


def set_quotas(
    name: Name,
    requests_per_day: Requests = None,
    tokens_per_day: Tokens = None,
    jobs_at_once: Jobs = None,
    gpu_hours_per_month: GpuHours = None,
    disk_bytes: Disk = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change what a project may use; what is not named stays. It holds within 2 s.

    Example: `rlt projects set algebra --jobs-at-once 4 --disk-bytes none`
    """
    quotas = _quotas(requests_per_day, tokens_per_day, jobs_at_once, gpu_hours_per_month, disk_bytes)
    _become("set", name, quotas, home=home, as_json=as_json)


def show(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Show what a project may use and has used."""
    _become("show", name, {}, home=home, as_json=as_json)


def list_projects(home: Home = None, as_json: Json = False) -> None:
    """Show all projects, with what each may use and has used."""
    server_side.become(PROJECTS, ["list", *server_side.given({"--home": home, "--json": as_json})])


def _quotas(
    requests: str | None, tokens: str | None, jobs: str | None, gpu_hours: str | None, disk: str | None
) -> dict[str, object]:
    return {
        "--requests-per-day": requests,
        "--tokens-per-day": tokens,
        "--jobs-at-once": jobs,
        "--gpu-hours-per-month": gpu_hours,
        "--disk-bytes": disk,
    }


def _become(command: str, name: str, quotas: dict[str, object], *, home: Path | None, as_json: bool) -> None:
    options = server_side.given({**quotas, "--home": home, "--json": as_json})
    server_side.become(PROJECTS, [command, *options, "--", name])
