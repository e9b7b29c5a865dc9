"""Own the servers of the benchmark: so many processes on loopback, on one database and one state folder."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.reliability.parts import lay_model
from benchmarks.reliability.plant import free_port, wait_for
from benchmarks.scale.server import AT_WORK_VARIABLE

ROLES = "teacher,student,control"
READY_S = 120.0
END_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Servers that are ready."""

    addresses: Sequence[str]
    processes: Sequence[psutil.Process]

    def cpu_s(self) -> float:
        """Processor time that all have taken so far, in seconds."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.processes))

    def memory_bytes(self) -> int:
        """Resident memory of all."""
        return sum(process.memory_info().rss for process in self.processes)


@contextmanager
def running(home: Path, *, count: int, database_url: str, at_work: int = 0) -> Generator[Servers]:
    """Start so many, give them when each is ready, end them with the block."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "model").exists():
        lay_model(home / "model")
    environment = os.environ | _environment(home, database_url=database_url, at_work=at_work)
    ports = [free_port() for _ in range(count)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            command = [sys.executable, "-m", "benchmarks.scale.server", "--port", str(port), "--roles", ROLES]
            with (home / f"server-{port}.log").open("ab") as log:
                started.append(
                    subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        for address in addresses:
            wait_for(lambda one=address: _is_ready(one), what=f"{address} is ready", timeout_s=READY_S)
        yield Servers(addresses=addresses, processes=[psutil.Process(process.pid) for process in started])
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(home: Path, *, database_url: str, at_work: int) -> Mapping[str, str]:
    return {
        "RLT_HOME": str(home),
        "RLT_DATABASE_URL": database_url,
        "RLT_BROKER_URL": "memory://",
        "RLT_ENGINE": "fake",
        "RLT_BASE_MODEL": str(home / "model"),
        "RLT_DASHBOARD": "off",
        "OMP_NUM_THREADS": "1",
        AT_WORK_VARIABLE: str(at_work),
    }


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
