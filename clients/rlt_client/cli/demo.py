"""`rlt demo`: hand over to the demonstration, if the server is installed or RLT_BASE_URL names one."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rlt_client.cli import server_side

DEMO = "rlt_client.demo"


def demo(
    home: Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")] = None,
    results: Annotated[Path | None, typer.Option(help="Where rows and figures go.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of questions, training and sampling.")] = 0,
) -> None:
    """Train a teacher on this machine and watch it swap into serving; about a quarter of an hour on 2 cores.

    With RLT_BASE_URL it uses the server that is named there.
    """
    arguments = server_side.given({"--home": home, "--results": results, "--seed": seed})
    if os.environ.get("RLT_BASE_URL"):
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", DEMO, *arguments])
    server_side.become(DEMO, arguments)
