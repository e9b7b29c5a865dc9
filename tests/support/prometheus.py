"""A real Prometheus for the tests: its two programs where they are installed, and a server on a port of its own."""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import free_port
from tests.support.waiting import wait_until

REQUIRED = "RLT_TEST_PROMETHEUS"
"""Set to `required` where the tests must not be left out: in CI, once Prometheus lies there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A server that scrapes."""

    http: httpx.Client

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Evaluate a query now; an error of Prometheus fails the test."""
        answer = self.http.post("/api/v1/query", data={"query": query}).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        result = answer["data"]["result"]
        return result if answer["data"]["resultType"] in ("vector", "matrix") else [{"value": result}]

    def rules(self) -> list[dict[str, Any]]:
        """Give every rule with how its last evaluation went."""
        groups = self.http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def program(name: str) -> Path:
    """Find `prometheus` or `promtool` on the PATH; skips the test where there is none, unless it is required."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    message = f"no {name} here: install Debian's `prometheus`, or put its programs on the PATH"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_prometheus(folder: Path, *, config: Path) -> Generator[Prometheus]:
    """Run a server with a configuration and its data in a folder, on loopback, until the block ends."""
    port, binary = free_port(), program("prometheus")
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0, trust_env=False) as http:
            wait_until(lambda: _is_ready(http), what="Prometheus is ready", timeout_s=60.0)
            yield Prometheus(http=http)
    finally:
        process.terminate()
        process.wait(timeout=30.0)


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
