"""Say where figures come from: commit, date, machine, command."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

_VECTORS = (("amx_tile", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2"))
"""Flags of Linux, widest first."""


def commit() -> str:
    """Name the checkout's commit, `+changes` where files differ from it; `unknown` outside a checkout."""
    folder = Path(__file__).parent
    try:
        head = _git("rev-parse", "--short=12", "HEAD", folder=folder)
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", folder=folder)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def command(arguments: Sequence[str], *, make: str | None) -> str:
    """Say what to type for the same run: `make` is the make command behind it, which takes arguments as DEMO_ARGS."""
    if make is None:
        return shlex.join(["python", "-m", "rlt_client.demo", *arguments])
    return f"{make} DEMO_ARGS={shlex.quote(shlex.join(arguments))}" if arguments else make


def date() -> str:
    """Give today's date, UTC."""
    return datetime.now(tz=UTC).date().isoformat()


def machine() -> str:
    """Describe the machine: processor, cores, memory, Python."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"{_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, no GPU used, Python {python}"


def _processor() -> str:
    try:
        return processor_of(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return platform.processor() or platform.machine()


def processor_of(cpuinfo: str) -> str:
    """Name the processor and its widest vectors, on which float32 products depend: one name covers several kinds."""
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())}
    flags = facts.get("flags", "").split()
    vectors = next((name for flag, name in _VECTORS if flag in flags), None)
    model = facts.get("model name", platform.machine())
    return f"{model} ({vectors})" if vectors else model


def _git(*arguments: str, folder: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
