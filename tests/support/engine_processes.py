"""What vLLM's processes under this one use, whatever the engine says of itself."""

import asyncio
import time

import psutil


async def busy_share() -> float:
    """Give how many cores the engines' processes use, over a second."""
    before, began_s = _cpu_seconds(), time.monotonic()
    await asyncio.sleep(1.0)
    return (_cpu_seconds() - before) / (time.monotonic() - began_s)


async def check_rests(*, at_work: float, within_s: float = 8.0) -> None:
    """Assert that engines which used so many cores come to use few.

    A step that was begun is finished first, and a machine may stand still for a second: so there is time, of which
    work that went on would take more.
    """
    deadline_s = time.monotonic() + within_s
    while (now := await busy_share()) >= 0.3 * at_work:
        assert time.monotonic() < deadline_s, f"still {now:.2f} cores of {at_work:.2f}"


def _cpu_seconds() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        if process.cmdline() and process.cmdline()[0].startswith("VLLM::"):
            times = process.cpu_times()
            total += times.user + times.system
    return total
