"""`rlt up`: hand over to the service's launcher, if it is installed."""

from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side

LAUNCHER = "rlt_service.launch"


def up(
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
    options = {"--home": home, "--port": port, "--engine": engine, "--base-model": base_model}
    server_side.become(LAUNCHER, server_side.given(options))
