"""Own the way to the service's own commands: this process becomes them, where the service is installed."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import typer

from rlt_client.cli.state import EXIT_FAILED, state_of

NEEDED = ("rlt_service", "alembic", "celery", "fastapi", "psutil", "pydantic_settings", "sqlalchemy", "uvicorn")
"""Without these the server does not even begin; the package itself is also in a client's installation."""


def become(context: typer.Context, module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module of the service in this process's place; says what is missing where only the client is installed."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        state_of(context).errors.print(
            f"error: only the client is installed here, not the server ({', '.join(missing)} missing): "
            "pip install 'rlt[serve,train,cpu]', or [serve,train,gpu] on a machine with a GPU",
            style="red",
            markup=False,
        )
        raise typer.Exit(EXIT_FAILED)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def given(options: Mapping[str, object]) -> list[str]:
    """Write the options that were given as arguments again."""
    return [part for name, value in options.items() if value is not None for part in (name, str(value))]
