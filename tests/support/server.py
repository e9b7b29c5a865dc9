"""Run a real `rlt up` on the fake engine, as anyone would: a process of its own, on a port of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from rlt_client import APIError, Client
from tests.support.waiting import SELDOM_S, wait_until

END_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """One `rlt up` that is ready."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    output: Path

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.pid).children(recursive=True)

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=END_S)


@contextlib.contextmanager
def starting_up(
    home: Path,
    *,
    arguments: Sequence[str] = ("--engine", "fake"),
    environment: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
) -> Generator[Up]:
    """Start `rlt up` with its state under `home`, give it at once, end it with the block.

    `within` is a command that becomes it somewhere else, such as on a small disk.
    """
    home.mkdir(parents=True, exist_ok=True)
    port, output = free_port(), home.parent / f"{home.name}-up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*within, sys.executable, "-m", "rlt_client", "up", "--home", str(home), "--port", str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    up = Up(process=process, home=home, port=port, output=output)
    try:
        yield up
    finally:
        if process.poll() is None:
            try:
                up.interrupt()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running_up(
    home: Path,
    *,
    arguments: Sequence[str] = ("--engine", "fake"),
    environment: Mapping[str, str] | None = None,
    within: Sequence[str] = (),
    ready_within_s: float = 60.0,
) -> Generator[Up]:
    """Start `rlt up` with its state under `home`, give it when it is ready, end it with the block."""
    with starting_up(home, arguments=arguments, environment=environment, within=within) as up:
        wait_until(lambda: is_ready(up), what="rlt up is ready", timeout_s=ready_within_s, every_s=SELDOM_S)
        yield up


@contextlib.contextmanager
def running_service(home: Path, *, output: Path = Path(os.devnull), host: str = "127.0.0.1") -> Generator[str]:
    """Start the server alone, as a process, with no broker and no worker; give its address when it is ready."""
    port = free_port()
    with output.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rlt_service", "--home", str(home), "--engine", "fake", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RLT_BROKER_URL": "memory://", "RLT_HOST": host},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: _listens(port) and _answers_ready(address),
            what="the server is ready",
            timeout_s=60.0,
            every_s=SELDOM_S,
        )
        yield address
    finally:
        process.terminate()
        process.wait(timeout=END_S)


def is_ready(up: Up) -> bool:
    """Ask /readyz; fails at once when the launcher has ended."""
    assert up.process.poll() is None, f"rlt up ended with {up.process.returncode}:\n{up.said()}"
    return _listens(up.port) and _answers_ready(up.base_url)


def _answers_ready(address: str) -> bool:
    with Client(address, timeout=5, max_retries=0) as client:
        try:
            return client.ready().status != "not_ready"
        except APIError:
            return False


def _listens(port: int) -> bool:
    """Knock: cheaper than a client, and the server that starts needs the processor."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
