"""Servers that benchmarks call, each a process of its own on loopback: ours, and vLLM's own with our settings."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from rlt_service.engine.machine import thread_binding
from rlt_service.engine.models import resolve_model

BASE_MODEL = "builtin:smollm2-135m"
MODEL_NAME = "base"
MAX_MODEL_LEN = 2048
START_S = 300.0


class Server:
    """A server process that is ready."""

    def __init__(self, command: Sequence[str], *, address: str, ready: str, log: Path, environment: dict[str, str]):
        """Start it and wait until `ready` answers 200; raises RuntimeError with the log's end where it does not."""
        self.address = address
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment
            )
        end = time.monotonic() + START_S
        while not _answers(f"{address}{ready}"):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{command[:4]} did not become ready:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Ask it to end, then see to it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start_ours(home: Path, *, folder: Path, module: str = "rlt_service") -> Server:
    """Start our service with all roles on the model that lies in `home`; its own state goes to `folder`."""
    model = resolve_model(BASE_MODEL, state_folder=home)
    port = free_port()
    return Server(
        [sys.executable, "-m", module, "--home", str(folder), "--port", str(port)],
        address=f"http://127.0.0.1:{port}",
        ready="/readyz",
        log=folder.parent / "ours.log",
        environment={"RLT_BASE_MODEL": str(model), "RLT_MAX_MODEL_LEN": str(MAX_MODEL_LEN)},
    )


def start_vllm(home: Path, *, folder: Path, lora: bool) -> Server:
    """Start vLLM's own OpenAI server: float32, both cores; with LoRA enabled as ours, or as one without adapters."""
    port = free_port()
    options = {
        "--model": str(resolve_model(BASE_MODEL, state_folder=home)),
        "--served-model-name": MODEL_NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "float32",
        "--max-model-len": str(MAX_MODEL_LEN),
        "--block-size": "32",
        "--kv-cache-memory-bytes": str(2**30),
        "--uvicorn-log-level": "warning",
    }
    if lora:
        options |= {"--max-loras": "4", "--max-lora-rank": "64", "--max-cpu-loras": "16"}
    words = [word for pair in options.items() for word in pair] + (["--enable-lora"] if lora else [])
    return Server(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words, "--enforce-eager"],
        address=f"http://127.0.0.1:{port}",
        ready="/health",
        log=folder / f"vllm-{port}.log",
        environment={
            "VLLM_CPU_OMP_THREADS_BIND": thread_binding(),
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False
