"""Own the command lines of `rlt backup` and `rlt restore`: options over RLT_* settings, errors as one sentence."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from rlt_core.errors import ConfigurationError, RltError
from rlt_service import command_failures
from rlt_service.backup.manifest import DUMP, Manifest
from rlt_service.backup.progress import Terminal
from rlt_service.backup.restore import restore
from rlt_service.backup.snapshot import back_up
from rlt_service.settings import Settings

EXIT_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Back up or restore; gives the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.model_validate({"home": options.home} if options.home is not None else {})
        settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
        if options.command == "backup":
            _back_up(settings, options.folder, console, as_json=options.as_json)
        else:
            _restore(settings, options.folder, console, replace=options.replace, as_json=options.as_json)
    except (ValidationError, RltError) as error:
        return command_failures.tell(error, notes=console, as_json=options.as_json)
    except KeyboardInterrupt:
        console.print("broken off; nothing has changed", markup=False)
        return EXIT_INTERRUPTED
    return 0


def _back_up(settings: Settings, folder: Path, console: Console, *, as_json: bool) -> None:
    manifest = back_up(settings, folder, progress=Terminal(console))
    console.print(f"backed up {settings.home} to {folder}: {_size_of(manifest)}", markup=False)
    if as_json:
        _print_json("backup", folder, manifest, home=settings.home)


def _restore(settings: Settings, folder: Path, console: Console, *, replace: bool, as_json: bool) -> None:
    if settings.database_url is not None and not (folder / DUMP).exists():
        raise ConfigurationError(
            "RLT_DATABASE_URL is set, so a server would not read the database that is restored: unset it for this."
        )
    done = restore(folder, settings.home, replace=replace, progress=Terminal(console))
    console.print(f"restored {settings.home}: {_size_of(done.manifest)}", markup=False)
    if done.former is not None:
        console.print(f"what was there lies in {done.former}; delete it when you need it no more", markup=False)
    if done.manifest.database == "postgresql":
        console.print(
            f"The database is not restored yet: its dump lies at {settings.home / DUMP}. Into an empty database:\n"
            f"  pg_restore --no-owner --dbname=postgresql://… {settings.home / DUMP}\n"
            "then start RLT with RLT_DATABASE_URL naming that database.",
            markup=False,
        )
    if as_json:
        _print_json("restore", folder, done.manifest, home=settings.home, former=done.former)


def _print_json(made: str, folder: Path, manifest: Manifest, *, home: Path, former: Path | None = None) -> None:
    size = sum(file.size for file in manifest.files)
    answer = {"object": made, "home": str(home), "folder": str(folder), "files": len(manifest.files)}
    answer |= {"size_bytes": size, "schema": manifest.schema_revision, "database": manifest.database}
    answer |= {} if former is None else {"former": str(former)}
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")


def _size_of(manifest: Manifest) -> str:
    size = sum(file.size for file in manifest.files)
    return f"{len(manifest.files)} files, {size / 2**20:.1f} MiB, schema {manifest.schema_revision}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt", description="Copy the state folder, or make one of a copy.")
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser("backup", help="copy the state while it is in use")
    backing = commands.add_parser("restore", help="make a state folder of a backup")
    for command in (backup, backing):
        command.add_argument("folder", type=Path, help="the backup")
        command.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
        command.add_argument("--json", dest="as_json", action="store_true", help="print what was done as JSON")
    backing.add_argument("--replace", action="store_true", help="move away what lies in the state folder")
    return parser
