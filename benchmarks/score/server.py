"""Our engine and our service on one event loop in a thread: the same engine is measured in process and over HTTP."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar, cast

import uvicorn

from benchmarks.score.workloads import Item
from rlt_core.tokens import SequenceCodec
from rlt_service.app import create_app
from rlt_service.engine.factory import create_engine
from rlt_service.engine.protocol import Engine, SequenceScoreRequest
from rlt_service.settings import Settings

ResultT = TypeVar("ResultT")


class SilentBell:
    """No jobs here: nobody hears the bell."""

    def ring(self, queue: str) -> None:
        """Do nothing."""

    def sounding(self, queue: str) -> bool:
        """Say that it rings, so that nobody rings again."""
        return True


class EngineAndServer:
    """Starts both, runs scores on the loop, ends both."""

    def __init__(self, *, home: Path, base_model: str, scoring_math: Literal["exact", "fast"]) -> None:
        """Start the engine, then the server on a free port; state of the server lies in a temporary folder."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        self._state = TemporaryDirectory(prefix="rlt-bench-")
        self._settings = Settings(home=home, base_model=base_model, kv_cache_gib=1.0, scoring_math=scoring_math)
        self._engine: Engine = create_engine(self._settings)
        self._wait(self._engine.start())
        served = self._settings.model_copy(update={"home": Path(self._state.name)})
        app = create_app(served, engine=cast(Engine, _Started(self._engine)), bell=SilentBell())
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.run_coroutine_threadsafe(self._server.serve(), self._loop)
        while not self._server.started:
            self._wait(asyncio.sleep(0.05))
        self.address = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    @property
    def codec(self) -> SequenceCodec:
        """Text to ids of the model."""
        return self._engine.codec

    def score(self, items: Sequence[Item], *, temperature: float, rss_only: bool) -> list[tuple[float, ...]]:
        """Score from the explanation on, or the solution alone."""
        requests = [
            SequenceScoreRequest(
                token_ids=item.token_ids,
                start=item.solution_start if rss_only else item.explanation_start,
                temperature=temperature,
                adapter=None,
            )
            for item in items
        ]
        return [result.logprobs for result in self._wait(self._engine.score(requests))]

    def forget(self) -> None:
        """Drop the prefix cache."""
        if not self._wait(self._llm.reset_prefix_cache()):
            raise RuntimeError("the prefix cache is in use: nothing may run beside the benchmark")

    def call_worker(self, name: str) -> Any:
        """Call a method of the engine's worker."""
        return self._wait(self._llm.collective_rpc(name))[0]

    def stop(self) -> None:
        """End server, engine, loop."""
        self._server.should_exit = True
        self._serving.result(timeout=60)
        self._wait(self._engine.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._state.cleanup()

    @property
    def _llm(self) -> Any:
        engine = cast("Any", self._engine)  # a VllmEngine: what no other code may reach for
        return engine._state.llm

    def _wait(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Started:
    """The engine as the app gets it: it runs already, and goes on when the app ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def start(self) -> None:
        """Leave it as it is: it has started."""

    async def stop(self) -> None:
        """Leave that to its owner."""

    async def drain(self, *, timeout_s: float) -> None:
        """Leave it going."""
