"""`python -m benchmarks.reliability.engine_server`: the server on a fake engine that has a process, and dies with it.

All settings come from RLT_* but those on the command line, and `RLT_CHAOS_DELAY_S`: the time of a completion (0).
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec

from benchmarks.reliability.engine_mark import MARK
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.serve import checked, serve
from rlt_service.settings import Settings

DELAY_VARIABLE = "RLT_CHAOS_DELAY_S"
_UNTIL_ITS_OWNER_ENDS = "import sys; sys.stdin.read()"


class ProcessEngine(FakeEngine):
    """Computes in the server, as its parent; what it has of an engine's processes is that it dies with one."""

    def __init__(self, options: FakeOptions) -> None:
        super().__init__(options)
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process, then as the parent does."""
        command = (sys.executable, "-I", "-S", "-c", _UNTIL_ITS_OWNER_ENDS, MARK)
        self._process = await create_subprocess_exec(*command, stdin=PIPE)
        self._watch = asyncio.create_task(self._die_with(self._process))
        await super().start()

    async def stop(self) -> None:
        """End the process, then as the parent does."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await super().stop()

    async def _die_with(self, process: Process) -> None:
        await process.wait()
        await self.die()


def main() -> int:
    """Serve until asked to end."""
    delay_s = float(os.environ.get(DELAY_VARIABLE, "0"))

    def make_engine(weights: Weights) -> ProcessEngine:
        return ProcessEngine(FakeOptions(weights=weights, delay_s=delay_s))

    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    settings = Settings(port=int(words["--port"]), roles=tuple(words["--roles"].split(",")))  # pyright: ignore[reportArgumentType] - checked by pydantic
    return serve(checked(settings), make_engine=make_engine)


if __name__ == "__main__":
    sys.exit(main())
