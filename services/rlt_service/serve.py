"""Own `python -m rlt_service`: options over RLT_* settings, what must hold before listening, the server itself."""

import argparse
import asyncio
import math
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from rlt_core import spans
from rlt_core.errors import ConfigurationError, RltError
from rlt_service import pauses
from rlt_service.app import create_app, open_state
from rlt_service.container import Services
from rlt_service.dashboard.mounting import add_dashboard
from rlt_service.engine.placement import check_placement
from rlt_service.engine.protocol import Engine, Weights
from rlt_service.engine_host import EngineHost
from rlt_service.launch import port
from rlt_service.launch.state_folder import StateFolder
from rlt_service.listening import is_loopback
from rlt_service.logs import set_up_logs
from rlt_service.settings import Settings, setting_of
from rlt_service.store.database import Database
from rlt_service.store.keys import KeyStore

ANSWER_S = 3.0
"""How long the answers to what was aborted may take."""
KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection, so that none is closed under a request."""


def run(arguments: Sequence[str]) -> int:
    """Serve until asked to end; gives the exit code."""
    try:
        settings = _settings(arguments)
        set_up_logs(settings.log_format)
        spans.set_up(f"rlt-{'-'.join(settings.roles)}", endpoint=settings.traces_to)
        return serve(checked(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _complain(f"{setting_of(first['loc'])} is {first['input']!r}: {first['msg']}")
    except RltError as error:
        _complain(error.detail)
    return 1


def checked(settings: Settings) -> Settings:
    """Give settings that can be served, with the port that was chosen; raises RltError that says what to change."""
    check_placement(settings)
    StateFolder(settings.home).prepare()
    # The app opens its state itself; here, its faults come without the server's traceback.
    database = Database(settings.database)
    try:
        open_state(settings, database)
        if not is_loopback(settings.host) and not KeyStore(database).exist():
            raise ConfigurationError(
                f"the host {settings.host!r} is not loopback, and there are no keys yet, so that anyone could use this "
                "server: make one (`rlt keys create NAME --scope admin`, with the same RLT_HOME or RLT_DATABASE_URL), "
                "or listen on 127.0.0.1 (RLT_HOST or --host)"
            )
    finally:
        database.close()
    return settings.model_copy(update={"port": port.claim(settings.host, settings.port)})


def serve(settings: Settings, *, make_engine: Callable[[Weights], Engine] | None = None) -> int:
    """Run the server; an engine that does not start ends it with its message. `make_engine` is for tests."""
    StateFolder(settings.home).use()
    failures: list[Exception] = []

    def fail(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, on_engine_failure=fail, make_engine=make_engine)
    add_dashboard(app, settings)
    server = LeavingServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            lifespan="on",
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            # What the engines abort after the grace still has to be answered.
            timeout_graceful_shutdown=math.ceil(settings.drain_grace_s + ANSWER_S),
        )
    )
    app.state.open_connections = lambda: len(server.server_state.connections)
    server.run()
    for error in failures:
        _complain(error.detail if isinstance(error, RltError) else repr(error))
    return 1 if failures or not server.started else 0


class LeavingServer(uvicorn.Server):
    """Lets what is in flight end well when it is asked to end.

    uvicorn itself takes nothing new and waits, also for streams that follow something for ever; and what takes too long
    it cuts off without an answer.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _loading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell streams to end and engines how long they have, then stop as usual."""
        services = getattr(cast(FastAPI, self.config.app).state, "services", None)
        if isinstance(services, Services) and not services.leaving.is_set():
            services.leaving.set()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._give_grace, services)
        super().handle_exit(sig, frame)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until asked to end."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and see to short pauses: now, and when the engine is loaded."""
        await super().startup(sockets)
        services = getattr(cast(FastAPI, self.config.app).state, "services", None)
        pauses.shorten()
        if isinstance(services, Services) and services.host is not None:
            self._loading = asyncio.create_task(_shorten_pauses_after(services.host))

    def _give_grace(self, services: Services) -> None:
        self._abort = asyncio.create_task(_abort_after(services, services.settings.drain_grace_s))


async def _shorten_pauses_after(host: EngineHost) -> None:
    await host.first_start()
    pauses.shorten()


async def _abort_after(services: Services, grace_s: float) -> None:
    """Abort what runs in the engines once the grace is over: its callers then hear that they may ask again."""
    await asyncio.sleep(grace_s)
    if services.engines is not None:
        await services.engines.abort()


def _settings(arguments: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m rlt_service", description="Serve; every option is also RLT_*.")
    parser.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
    parser.add_argument("--host", help="address; only loopback until there are keys (RLT_HOST)")
    parser.add_argument("--port", help="port, 0 takes a free one (RLT_PORT)")
    parser.add_argument("--roles", help="what this process plays, with commas between (RLT_ROLES, a JSON list)")
    parser.add_argument("--engine", help="vllm, or fake for tests (RLT_ENGINE)")
    options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if "roles" in options:
        options["roles"] = tuple(str(options["roles"]).split(","))
    settings = Settings(**options)
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _complain(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
