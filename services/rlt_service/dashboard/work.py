"""Own what a page does for long: one task at a time, which ends when the page is closed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from nicegui import ui


class Work:
    """The task that a page's visitor has asked for."""

    def __init__(self, *, tell: Callable[[bool], None]) -> None:
        """Take who is told when a task begins (true), and when none runs any more (false)."""
        self._tell = tell
        self._client = ui.context.client
        self._task: asyncio.Task[None] | None = None
        self._client.on_delete(self._leave)  # pyright: ignore[reportUnknownMemberType] - takes any handler

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin; what was asked for before ends."""
        self.stop()
        self._task = asyncio.create_task(work)
        self._tell(True)
        self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
            self._tell(False)
        if not task.cancelled():
            task.result()  # what broke is told by the loop's own handler

    def _leave(self) -> None:
        if (task := self._task) is not None:
            self._task = None
            task.cancel()
