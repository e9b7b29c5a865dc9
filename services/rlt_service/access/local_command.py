"""Own how a command on the server's machine comes by the database of a state folder, and how it fails and prints."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from rlt_core.errors import RltError
from rlt_service import command_failures
from rlt_service.launch.state_folder import StateFolder
from rlt_service.settings import Settings
from rlt_service.store.database import Database


def carry_out(options: argparse.Namespace, do: Callable[[Database], None]) -> int:
    """Do something with the started database that `options.home` or the settings name; gives the exit code."""
    try:
        settings = Settings.model_validate({"home": options.home} if options.home is not None else {})
        settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
        StateFolder(settings.home).prepare()
        database = Database(settings.database)
        database.start()
        try:
            do(database)
        finally:
            database.close()
    except (ValidationError, RltError) as error:
        return command_failures.tell(error, notes=notes(), as_json=options.as_json)
    return 0


def add_common(*parsers: argparse.ArgumentParser) -> None:
    """Add the options of every such command."""
    for parser in parsers:
        parser.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
        parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")


def out() -> Console:
    """Give what answers are printed on."""
    return Console(highlight=False, soft_wrap=True)


def notes() -> Console:
    """Give what is said beside them."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; in a pipe rows of cells between tabs, whole."""
    console = out()
    if not console.is_terminal:
        sys.stdout.writelines("\t".join(cells) + "\n" for cells in (names, *rows))
        return
    table = Table(Column(names[0], no_wrap=True), *names[1:], box=None)
    for cells in rows:
        table.add_row(*[escape(cell) for cell in cells])
    console.print(table)


def print_json(answer: Mapping[str, object]) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
