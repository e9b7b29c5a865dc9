"""Own the command line of `rlt projects`: tenants and what each may use."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.projects import Project, ProjectPost, Quotas
from rlt_service.access.local_command import add_common, carry_out, print_json, print_table
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.projects import ProjectStore

NO_LIMIT = "none"
ReadT = TypeVar("ReadT", bound=BaseModel)
_HELP = {
    "requests_per_day": "calls of explain, score, solve and chat a day (UTC)",
    "tokens_per_day": "tokens that engines read and write for them a day (UTC)",
    "jobs_at_once": "jobs that have not ended",
    "gpu_hours_per_month": "hours by processes of training a month (UTC)",
    "disk_bytes": "bytes of datasets and versions",
}


def run(arguments: Sequence[str]) -> int:
    """Make, list, show or bound projects; gives the exit code."""
    options = _parser().parse_args(arguments)
    return carry_out(options, partial(_carry_out, options))


def _carry_out(options: argparse.Namespace, database: Database) -> None:
    projects = ProjectStore(database)
    match options.command:
        case "list":
            found = projects.list()
            if options.as_json:
                print_json({"object": "list", "data": [one.model_dump(mode="json") for one in found]})
            else:
                _list(found)
            return
        case "show":
            project = projects.get(options.name)
        case "create":
            asked = _read(ProjectPost, {"name": options.name, "quotas": _quotas(options, Quotas())})
            project = projects.create(asked.name, asked.quotas)
        case _:
            project = projects.bound(options.name, _quotas(options, projects.get(options.name).quotas))
    if options.command != "show":
        AuditStore(database).note_command(f"rlt projects {options.command}", subject=project.name, project=project.id)
    if options.as_json:
        print_json(project.model_dump(mode="json"))
    else:
        _show(project)


def _quotas(options: argparse.Namespace, present: Quotas) -> Quotas:
    """Give quotas with what was named changed; raises InvalidRequestError."""
    given = {name: getattr(options, name) for name in Quotas.model_fields if getattr(options, name) is not None}
    named = {name: None if figure == NO_LIMIT else figure for name, figure in given.items()}
    return _read(Quotas, present.model_dump() | named)


def _read(into: type[ReadT], fields: Mapping[str, object]) -> ReadT:
    """Read what the options say; raises InvalidRequestError."""
    try:
        return into.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][-1]).replace("_", "-")
        raise InvalidRequestError(f"{option} is {first['input']!r}: {first['msg']}") from error


def _list(projects: Sequence[Project]) -> None:
    head = ["name", "id", *[name.replace("_", " ") for name in Quotas.model_fields]]
    print_table(head, [[one.name, one.id, *[_cell(one, name) for name in Quotas.model_fields]] for one in projects])


def _show(project: Project) -> None:
    rows = [[name.replace("_", " "), _cell(project, name)] for name in Quotas.model_fields]
    print_table(["quota", f"{project.name}: used of limit"], rows)


def _cell(project: Project, name: str) -> str:
    limit, used = getattr(project.quotas, name), getattr(project.used, name)
    return f"{_figure(used)} of {'no limit' if limit is None else _figure(limit)}"


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt projects", description="Say which projects a server has.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a project")
    bound = commands.add_parser("set", help="change what a project may use; what is not named stays")
    show = commands.add_parser("show", help="show what a project may use and has used")
    listing = commands.add_parser("list", help="show all projects")
    for command in (create, bound, show):
        command.add_argument("name", help="letters, digits and hyphens; unique, and for good")
    for command in (create, bound):
        for name, words in _HELP.items():
            command.add_argument(f"--{name.replace('_', '-')}", dest=name, type=_amount, help=f"{words}, or {NO_LIMIT}")
    add_common(create, bound, show, listing)
    return parser


def _amount(text: str) -> int | float | str:
    """Read a figure, whole where it is written so, or that there is none."""
    if text == NO_LIMIT:
        return text
    try:
        return int(text)
    except ValueError:
        return float(text)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
