"""Own a server for tests: the real app on the fake engine, in a thread of this process, on a port of its own."""

import importlib
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from rlt_client._async_client import AsyncClient
from rlt_client._client import Client
from rlt_client._errors import APIError

START_S: Final = 60.0
"""Longest wait for the app; it is there in seconds."""


class FakeServer:
    """A server that answers as a real one does and computes nothing: texts and scores are made up, alike every time.

    >>> with FakeServer() as server, server.client() as client:
    ...     client.score(question="2 + 3?", solution="5", explanations=["Add."])

    Requests are checked, datasets and jobs stored as on a real one; no worker takes jobs, so they stay queued.
    Needs `pip install 'rlt[serve]'`. What it stores is gone with it, unless `home` says where to keep it.
    """

    def __init__(self, *, home: str | Path | None = None, **settings: Any) -> None:
        """Start nothing yet. `settings` are those of the server (docs/settings.md) by their names, in lower case."""
        self._home = None if home is None else Path(home)
        self._settings = settings
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._base_url: str | None = None

    @property
    def base_url(self) -> str:
        """Where it listens; raises APIError before it was started."""
        if self._base_url is None:
            raise APIError("the FakeServer is not running: use it as `with FakeServer() as server:`")
        return self._base_url

    def client(self, **options: Any) -> Client:
        """Make a client of this server; `options` as of `Client`."""
        return Client(self.base_url, **options)

    def async_client(self, **options: Any) -> AsyncClient:
        """Make an async client of this server; `options` as of `AsyncClient`."""
        return AsyncClient(self.base_url, **options)

    def start(self) -> Self:
        """Start it and wait until it is ready; raises APIError where rlt[serve] is not installed."""
        uvicorn, app = _needed("uvicorn"), _needed("rlt_service.app")
        settings = _needed("rlt_service.settings").Settings
        self._folder = tempfile.TemporaryDirectory(prefix="rlt-fake-")
        home = self._home or Path(self._folder.name)
        fixed = {"home": home, "engine": "fake", "broker_url": "memory://"}
        made = app.create_app(settings(**{**fixed, **self._settings}))
        config = uvicorn.Config(made, host="127.0.0.1", port=0, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="rlt-fake-server", daemon=True)
        self._thread.start()
        try:
            self._base_url = f"http://127.0.0.1:{self._port()}"
            self._until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it and wait until it has."""
        self._base_url = None
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=START_S)
            self._thread = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()

    def _port(self) -> int:
        deadline_s = time.monotonic() + START_S
        while not self._server.started:
            if self._thread is None or not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise APIError("the FakeServer did not start: the log of this process says why")
            time.sleep(0.02)
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def _until_ready(self) -> None:
        deadline_s = time.monotonic() + START_S
        with self.client(max_retries=0, timeout=httpx.Timeout(START_S)) as client:
            while (found := client.ready()).status == "not_ready":
                if time.monotonic() > deadline_s:
                    raise APIError(f"the FakeServer is not ready after {START_S:g} s: {found.checks}")
                time.sleep(0.02)


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise APIError(
            f"a FakeServer is the real server on a fake engine, and {error.name or module} is not installed: "
            "pip install 'rlt[serve]'"
        ) from error
