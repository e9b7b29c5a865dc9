"""Own the command line of `rlt keys`: keys are made on the server's machine, and a secret is shown once."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table

from rlt_core.errors import RltError
from rlt_service import command_failures
from rlt_service.access.authentication import REMEMBERED_S
from rlt_service.access.secrets import Secret, make_secret
from rlt_service.launch.state_folder import StateFolder
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_service.store.keys import Key, KeyScope, KeyStore

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)


def run(arguments: Sequence[str]) -> int:
    """Make, list, revoke or rotate keys; gives the exit code."""
    out = Console(highlight=False, soft_wrap=True)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.model_validate({"home": options.home} if options.home is not None else {})
        StateFolder(settings.home.expanduser().absolute()).prepare()
        settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
        database = Database(settings.database)
        database.start()
        try:
            _carry_out(options, KeyStore(database), out=out, notes=notes)
        finally:
            database.close()
    except (ValidationError, RltError) as error:
        return command_failures.tell(error, notes=notes, as_json=options.as_json)
    return 0


def _carry_out(options: argparse.Namespace, keys: KeyStore, *, out: Console, notes: Console) -> None:
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
            )
            if is_first:
                notes.print(f"This is the first key: within {REMEMBERED_S:g} s every call needs one.", markup=False)
            _show(key, secret, out=out, notes=notes, as_json=options.as_json)
        case "list" if options.as_json:
            _print_json({"object": "list", "data": [_fields(key) for key in keys.list()]})
        case "list":
            out.print(_table(keys.list()))
        case "revoke":
            key = keys.revoke(options.id)
            notes.print(f"{key.id} ({key.name}) is refused within {REMEMBERED_S:g} s, for good.", markup=False)
            if options.as_json:
                _print_json(_fields(key))
        case _:
            secret = make_secret(options.id)
            key = keys.rotate(options.id, sha256=secret.sha256)
            notes.print(f"The former secret is refused within {REMEMBERED_S:g} s.", markup=False)
            _show(key, secret, out=out, notes=notes, as_json=options.as_json)


def _show(key: Key, secret: Secret, *, out: Console, notes: Console, as_json: bool) -> None:
    """Print a secret alone on standard output, so that a script can take it, and what to know of it beside."""
    notes.print(
        f"The key {secret.key_id}; it is shown this once, only its hash is stored. Use it as RLT_API_KEY, or send "
        "Authorization: Bearer …",
        markup=False,
    )
    if as_json:
        _print_json({**_fields(key), "secret": secret.text})
    else:
        out.print(secret.text, markup=False)


def _print_json(answer: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")


def _fields(key: Key) -> dict[str, object]:
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "max_per_minute": key.max_per_minute,
        "max_at_once": key.max_at_once,
        "created_at": to_jsonable_python(key.created_at),
        "revoked_at": to_jsonable_python(key.revoked_at),
    }


def _table(keys: Sequence[Key]) -> Table:
    table = Table("id", "name", "scopes", "a minute", "at once", "made", "revoked", box=None)
    for key in keys:
        limits = [str(limit) if limit is not None else "-" for limit in (key.max_per_minute, key.max_at_once)]
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at is not None else "-"
        table.add_row(key.id, key.name, ",".join(key.scopes), *limits, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt keys", description="Say who may call the server of a state folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key, and print it")
    create.add_argument("name", help="for people: whose it is")
    create.add_argument("--scope", action="append", choices=SCOPES, required=True, help="what it may do; repeatable")
    create.add_argument("--max-per-minute", type=_count, help="calls a minute; left out, as many as wanted")
    create.add_argument("--max-at-once", type=_count, help="calls that run at the same time")
    listing = commands.add_parser("list", help="show all keys, without their secrets")
    revoke = commands.add_parser("revoke", help="end a key for good")
    rotate = commands.add_parser("rotate", help="give a key another secret, and print it")
    for command in (revoke, rotate):
        command.add_argument("id", help="as `list` shows it")
    for command in (create, listing, revoke, rotate):
        command.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
        command.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000000")
    return number
