"""`rlt doctor`: look at this machine and at the server, and say what to do."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from rlt_client import APIError, Client
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.server_side import NEEDED
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.addresses import addresses_of
from rlt_core.python_version import complaint

SERVICE: Final = "rlt_service.doctor"
PATIENCE_S: Final = 5.0
"""Longest silence of a server that is looked at."""
SERVICE_S: Final = 60.0
"""Longest that the service's own checks may take; they import much."""
STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}

Finding = dict[str, str]
"""`name`, `status` (ok, warn or fail), `seen`, `do`."""


def doctor(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder. [RLT_HOME, else ~/.rlt]")] = None,
    as_json: Json = False,
) -> None:
    """Check machine, versions, disk, port, database, keys and the server; say what to do. Changes nothing.

    Works without a server too. Exit code 1 where a check fails; warnings leave it at 0.

    Example: `rlt doctor --json`
    """
    state = state_of(context)
    found = [*_client_side(state), *_service_side(home), *_server(state)]
    failed = any(one["status"] == "fail" for one in found)
    if as_json:
        print_json({"object": "doctor", "ok": not failed, "checks": found})
    else:
        for one in found:
            _show(one, state=state)
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.OK)


def _client_side(state: State) -> Iterator[Finding]:
    version = importlib.metadata.version("rlt")
    yield _finding("machine", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    refused = complaint(*sys.version_info[:2])
    yield _finding("python", "fail" if refused else "ok", platform.python_version(), refused or "")
    yield _finding("rlt", "ok", version)
    url, named_by = state.server
    key = "--api-key" if state.api_key else "RLT_API_KEY" if os.environ.get("RLT_API_KEY") else "none"
    yield _finding("config", "ok", f"server {url} (by {named_by}), key: {key}")


def _service_side(home: Path | None) -> list[Finding]:
    """Ask the service's own checks, in a process of its own: the client imports none of it."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        seen = f"only the client is installed here ({', '.join(missing)} missing)"
        return [_finding("service", "ok", seen, "to run a server here: pip install 'rlt[serve,train,cpu]'")]
    command = [sys.executable, "-m", SERVICE, *(["--home", str(home)] if home is not None else [])]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SERVICE_S, check=False)
    except subprocess.TimeoutExpired:
        return [_finding("service", "fail", f"its checks took more than {SERVICE_S:g} s", "is the machine overloaded?")]
    try:
        read: list[dict[str, object]] = json.loads(ended.stdout)
    except ValueError:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [_finding("service", "fail", f"its checks broke: {last}", "install it again: pip install 'rlt[serve]'")]
    return [{name: str(value) for name, value in one.items()} for one in read]


def _server(state: State) -> Iterator[Finding]:
    named, named_by = state.server
    try:
        servers = [address.url for address in addresses_of(named)]
    except ValueError as error:
        yield _finding("server", "fail", str(error), f"correct {named_by}")
        return
    for server in servers:
        try:
            with state.client(timeout=PATIENCE_S, server=server) as client:
                client.health()
                yield from _answering(client)
        except APIError as error:
            # Nobody said that there is one: that none runs is no fault.
            wanted = named_by in ("--base-url", "RLT_BASE_URL")
            yield _finding("server", "fail" if wanted else "warn", str(error), "")


def _answering(client: Client) -> Iterator[Finding]:
    ready = client.ready()
    status = {"ready": "ok", "degraded": "warn"}.get(ready.status, "fail")
    yield _finding("server", status, f"{client.base_url} is {ready.status.replace('_', ' ')}")
    for name, check in ready.checks.items():
        bad = "warn" if name == "broker" else "fail"
        do = "" if check.ok else "jobs wait until it is back" if name == "broker" else "see the server's log"
        yield _finding(f"server: {name}", "ok" if check.ok else bad, check.detail or "answers", do)
    about = client.capabilities()
    own = importlib.metadata.version("rlt")
    differs = about.version != own
    do = f"this client is {own}: install the same version on both" if differs else ""
    yield _finding("server: version", "warn" if differs else "ok", about.version, do)
    if about.engine is not None:
        seen = f"{about.engine.name} {about.engine.version}, {about.engine.base_model} on {about.engine.device}"
        fake = about.engine.name == "fake"
        do = "a stand-in that computes nothing: start it without RLT_ENGINE=fake" if fake else ""
        yield _finding("server: engine's kind", "warn" if fake else "ok", seen, do)


def _show(one: Finding, *, state: State) -> None:
    state.out.print(Text.assemble((f"{one['status']:<4}", STYLES[one["status"]]), f"  {one['name']}: {one['seen']}"))
    if one["do"]:
        state.out.print(Text(f"      {one['do']}", style="dim"))


def _finding(name: str, status: str, seen: str, do: str = "") -> Finding:
    return {"name": name, "status": status, "seen": seen, "do": do}
