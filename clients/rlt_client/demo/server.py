"""Start `rlt up` for the demonstration and end it again; or use the server that RLT_BASE_URL names."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from rlt_client import APIConnectionError, APIStatusError, Client
from rlt_client.demo.show import Screen

START_LIMIT_S = 900.0
STOP_LIMIT_S = 60.0


class ServerStartError(RuntimeError):
    """`rlt up` ended or did not become ready; the message holds its last words."""


@contextlib.contextmanager
def running_server(*, home: Path, screen: Screen) -> Generator[Client]:
    """Give a client of a server that is ready; the server ends with the block."""
    named = os.environ.get("RLT_BASE_URL")
    if named:
        with Client(base_url=named) as client:
            yield client
        return
    port = _free_port()
    log_path = home / "logs" / "demo-up.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    # After what stands there: it may be the log of a demonstration that still runs.
    with log_path.open("ab") as log:
        log_start = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "rlt_client", "up", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RLT_HOME": str(home)},
        )
    try:
        with Client(base_url=f"http://127.0.0.1:{port}") as client:
            _wait_until_ready(
                client.with_options(max_retries=0),
                process=process,
                log=_Log(path=log_path, start=log_start),
                screen=screen,
            )
            yield client
    finally:
        _end(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What this `rlt up` has written: the end of a file from `start` on, in bytes."""

    path: Path
    start: int

    def lines(self) -> list[str]:
        """Read the lines that say something."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            text = file.read().decode("utf-8", errors="replace")
        return [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]


def _wait_until_ready(client: Client, *, process: subprocess.Popen[bytes], log: _Log, screen: Screen) -> None:
    started = time.monotonic()
    with screen.waiting("starting the server: engine, API, worker, broker") as say:
        while True:
            if process.poll() is not None or time.monotonic() - started > START_LIMIT_S:
                tail = "\n".join(log.lines()[-15:])
                raise ServerStartError(f"`rlt up` did not come up; its last words (whole log in {log.path}):\n{tail}")
            try:
                if client.ready().status != "not_ready":
                    return
            except (APIConnectionError, APIStatusError):
                pass
            say(next(reversed(log.lines()), "starting"))
            time.sleep(0.5)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
