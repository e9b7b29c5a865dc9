"""Let a process of the engine end at once: without a last look for garbage in all that vLLM imported.

That look takes seconds, longer than vLLM waits before it kills. vLLM 0.32 leaves it out on ROCm alone
(`v1/engine/core.py`, the end of `run_engine_core`); nothing is lost, since the memory goes back with the process.
"""

import atexit
import gc


def end_quickly() -> None:
    """Have this process take its objects out of garbage collection when it ends."""
    atexit.register(gc.freeze)
