"""Own the command line of `rlt keys`: keys are made on the server's machine, and a secret is shown once."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import get_args

from rlt_service.access.authentication import REMEMBERED_S
from rlt_service.access.key_cards import card_of
from rlt_service.access.local_command import add_common, carry_out, notes, out, print_json, print_table
from rlt_service.access.secrets import Secret, make_secret
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.keys import Key, KeyScope, KeyStore
from rlt_service.store.projects import ProjectStore

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
Names = Mapping[str, str]
_HEAD = ("id", "name", "project", "scopes", "a minute", "at once", "made", "revoked")


def run(arguments: Sequence[str]) -> int:
    """Make, list, revoke or rotate keys; gives the exit code."""
    options = _parser().parse_args(arguments)
    return carry_out(options, partial(_carry_out, options))


def _carry_out(options: argparse.Namespace, database: Database) -> None:
    keys, names = KeyStore(database), ProjectStore(database).names()
    match options.command:
        case "create":
            is_first = not keys.exist()
            secret = make_secret()
            key = keys.create(
                secret.key_id,
                name=options.name,
                sha256=secret.sha256,
                scopes=list(dict.fromkeys(options.scope)),
                max_per_minute=options.max_per_minute,
                max_at_once=options.max_at_once,
                project=options.project,
            )
            if is_first:
                notes().print(f"This is the first key: within {REMEMBERED_S:g} s every call needs one.", markup=False)
            _show(key, secret, names=names, as_json=options.as_json)
        case "list":
            found = keys.list()
            if options.as_json:
                print_json({"object": "list", "data": [_fields(key, names) for key in found]})
            else:
                print_table(_HEAD, [_cells(key, names) for key in found])
            return
        case "revoke":
            key = keys.revoke(options.id)
            notes().print(f"{key.id} ({key.name}) is refused within {REMEMBERED_S:g} s, for good.", markup=False)
            if options.as_json:
                print_json(_fields(key, names))
        case _:
            secret = make_secret(options.id)
            key = keys.rotate(options.id, sha256=secret.sha256)
            notes().print(f"The former secret is refused within {REMEMBERED_S:g} s.", markup=False)
            _show(key, secret, names=names, as_json=options.as_json)
    AuditStore(database).note_command(f"rlt keys {options.command}", subject=key.id, project=key.project_id)


def _show(key: Key, secret: Secret, *, names: Names, as_json: bool) -> None:
    """Print a secret alone on standard output, so that a script can take it, and what to know of it beside."""
    notes().print(
        f"The key {secret.key_id}; it is shown this once, only its hash is stored. Use it as RLT_API_KEY, or send "
        "Authorization: Bearer …",
        markup=False,
    )
    if as_json:
        print_json({**_fields(key, names), "secret": secret.text})
    else:
        out().print(secret.text, markup=False)


def _fields(key: Key, names: Names) -> dict[str, object]:
    return card_of(key, names).model_dump(mode="json")


def _cells(key: Key, names: Names) -> list[str]:
    limits = [str(limit) if limit is not None else "-" for limit in (key.max_per_minute, key.max_at_once)]
    revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at is not None else "-"
    project, made = card_of(key, names).project or "-", f"{key.created_at:%Y-%m-%d %H:%M}"
    return [key.id, key.name, project, ",".join(key.scopes), *limits, made, revoked]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt keys", description="Say who may call the server of a state folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key, and print it")
    create.add_argument("name", help="for people: whose it is")
    create.add_argument("--scope", action="append", choices=SCOPES, required=True, help="what it may do; repeatable")
    create.add_argument("--project", help="whose it is: keys of one project find what any of them made")
    create.add_argument("--max-per-minute", type=_count, help="calls a minute; left out, as many as wanted")
    create.add_argument("--max-at-once", type=_count, help="calls that run at the same time")
    listing = commands.add_parser("list", help="show all keys, without their secrets")
    revoke = commands.add_parser("revoke", help="end a key for good")
    rotate = commands.add_parser("rotate", help="give a key another secret, and print it")
    for command in (revoke, rotate):
        command.add_argument("id", help="as `list` shows it")
    add_common(create, listing, revoke, rotate)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000000")
    return number
