"""`rlt up`: hand over to the service's launcher, if it is installed."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli.state import EXIT_FAILED, state_of

LAUNCHER = "rlt_service.launch"
NEEDED = ("rlt_service", "alembic", "celery", "fastapi", "psutil", "pydantic_settings", "sqlalchemy", "uvicorn")
"""Without these the server does not even begin; the package itself is also in a client's installation."""


def up(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. [RLT_PORT, 8400]")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="`vllm`, or `fake` for a trial without a model.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="A local model folder, or `builtin:smollm2-135m`.", metavar="MODEL")
    ] = None,
) -> None:
    """Start everything on this machine: engine, API, worker, broker. Ctrl-C ends it all.

    Every other setting is an environment variable RLT_*.

    Examples: `rlt up` · `rlt up --port 9000 --home ./state` · `rlt up --engine fake`
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        state_of(context).errors.print(
            f"error: only the client is installed here, not the server ({', '.join(missing)} missing): "
            "pip install 'rlt[serve,train,cpu]', or [serve,train,gpu] on a machine with a GPU",
            style="red",
            markup=False,
        )
        raise typer.Exit(EXIT_FAILED)
    options = {"--home": home, "--port": port, "--engine": engine, "--base-model": base_model}
    arguments = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", LAUNCHER, *arguments])
