"""Own the way to the service's own commands: this process becomes them, where the service is installed."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from rlt_client.cli.messages import RefusedError

NEEDED = ("rlt_service", "alembic", "celery", "fastapi", "psutil", "pydantic_settings", "sqlalchemy", "uvicorn")
"""Without these the server does not even begin; the package itself is also in a client's installation."""


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module of the service in this process's place; raises RefusedError where only the client is installed."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise RefusedError(
            f"only the client is installed here, not the server ({', '.join(missing)} missing): "
            "pip install 'rlt[serve,train,cpu]', or [serve,train,gpu] on a machine with a GPU",
            code="server_not_installed",
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def given(options: Mapping[str, object]) -> list[str]:
    """Write the options that were given as arguments again; what is true is a flag, what is false or None was not."""
    written = list[str]()
    for name, value in options.items():
        if value is not None and value is not False:
            written += [name] if value is True else [name, str(value)]
    return written
