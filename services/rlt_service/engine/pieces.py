"""Own how the tasks that sample one request's completions become one stream: pieces as they come, then the whole."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from rlt_service.engine.admission import cancel_all, result_of
from rlt_service.engine.protocol import Completion, CompletionDelta

Report = Callable[[CompletionDelta], None]
"""Hears of tokens as they are sampled."""


class Pieces:
    """What has been sampled and not been read yet."""

    def __init__(self) -> None:
        self._made: asyncio.Queue[CompletionDelta | asyncio.Task[Completion]] = asyncio.Queue()

    def report(self, delta: CompletionDelta) -> None:
        """Take tokens of a completion that is being sampled."""
        self._made.put_nowait(delta)

    async def until_done(
        self, tasks: Sequence["asyncio.Task[Completion]"]
    ) -> AsyncGenerator[CompletionDelta | Completion]:
        """Yield what is reported, and each task's completion when it is done; closing the generator ends them all.

        Raises what the first failed task raises.
        """
        for task in tasks:
            task.add_done_callback(self._made.put_nowait)
        pending = len(tasks)
        try:
            while pending:
                piece = await self._made.get()
                if isinstance(piece, CompletionDelta):
                    yield piece
                else:
                    pending -= 1
                    yield await result_of(piece)
        finally:
            await cancel_all(set(tasks))
