"""Own the command line of `rlt audit`: who did what and when, the newest first."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from rlt_core.schemas.projects import AuditEntry
from rlt_service.access.local_command import add_common, carry_out, print_json, print_table
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.projects import ProjectStore


def run(arguments: Sequence[str]) -> int:
    """Show the audit log; gives the exit code."""
    options = _parser().parse_args(arguments)
    return carry_out(options, partial(_carry_out, options))


def _carry_out(options: argparse.Namespace, database: Database) -> None:
    project = None if options.project is None else ProjectStore(database).get(options.project).id
    found = AuditStore(database).list(limit=options.limit, after=options.after, key=options.key, project=project)
    if options.as_json:
        print_json(found.model_dump(mode="json"))
        return
    names = ProjectStore(database).names()
    rows = [_cells(entry, names.get(entry.project or "", "-")) for entry in found.data]
    print_table(["id", "when", "key", "project", "what", "subject", "status"], rows)


def _cells(entry: AuditEntry, project: str) -> list[str]:
    when, status = f"{entry.created_at:%Y-%m-%d %H:%M:%S}", "-" if entry.status is None else str(entry.status)
    return [entry.id, when, entry.key or "-", project, entry.action, entry.subject or "-", status]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt audit", description="Show who did what, the newest first.")
    parser.add_argument("--limit", type=int, choices=range(1, 1001), default=50, metavar="N", help="1 to 1000")
    parser.add_argument("--after", help="the last id of the page before")
    parser.add_argument("--key", help="of this key alone, by its id")
    parser.add_argument("--project", help="of this project's keys alone, by its name")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
