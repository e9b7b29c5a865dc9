"""What vLLM's processes under this one use, whatever the engine says of itself."""

import asyncio
import time

import psutil


async def busy_share() -> float:
    """Give how many cores the engines' processes use, over a second."""
    before, began_s = _cpu_seconds(), time.monotonic()
    await asyncio.sleep(1.0)
    return (_cpu_seconds() - before) / (time.monotonic() - began_s)


def _cpu_seconds() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        if process.cmdline() and process.cmdline()[0].startswith("VLLM::"):
            times = process.cpu_times()
            total += times.user + times.system
    return total
