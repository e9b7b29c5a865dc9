"""Own the tie of the engine's processes to the process that owns them: they end with it, however it ended.

A process of vLLM imports for many seconds before any code of ours runs in it, and a killed owner cannot end it. So
the tie is made in the first line that a spawned process runs. This file is run by its path there: it needs nothing
but the standard library.
"""

import multiprocessing.spawn
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NoReturn

OWNER_VARIABLE = "RLT_ENGINE_OWNER_PID"
"""Names the process that owns the engine; all that the engine starts ends when the owner ends."""

_LOOK_S = 0.5
_FIRST_LINE = f"import runpy; runpy.run_path({__file__!r})['tie'](); "

CommandLine = Callable[..., list[str]]


@contextmanager
def tied_children() -> Generator[None]:
    """Tie what `multiprocessing` spawns within the block, and all that those spawn, to the owner in the environment."""
    plain: CommandLine = multiprocessing.spawn.get_command_line
    multiprocessing.spawn.get_command_line = _tying(plain)
    try:
        yield
    finally:
        multiprocessing.spawn.get_command_line = plain


def tie() -> None:
    """End this process when its owner ends, and tie its children the same way."""
    owner = os.environ.get(OWNER_VARIABLE)
    if owner is None:
        return
    multiprocessing.spawn.get_command_line = _tying(multiprocessing.spawn.get_command_line)
    threading.Thread(target=_end_with, args=(int(owner),), name="owner", daemon=True).start()


def _tying(plain: CommandLine) -> CommandLine:
    def command_line(**words: object) -> list[str]:
        command = plain(**words)
        if "-c" in command:  # else a frozen program, which has no first line
            program = command.index("-c") + 1
            command[program] = _FIRST_LINE + command[program]
        return command

    return command_line


def _end_with(owner: int) -> NoReturn:
    try:
        if hasattr(os, "pidfd_open"):
            # Readable at its end, also while nobody has reaped it; its number may not be another's meanwhile.
            select.select([os.pidfd_open(owner)], [], [])
        else:
            while True:
                os.kill(owner, 0)
                time.sleep(_LOOK_S)
    except OSError:  # it has gone already
        pass
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its SIGKILL")
