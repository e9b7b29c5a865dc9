"""Own what a page does for long: one task at a time, which ends when the page is closed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from nicegui import ui


class Work:
    """The task that a page's visitor has asked for."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        ui.context.client.on_delete(self.stop)  # pyright: ignore[reportUnknownMemberType] - takes any handler

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin; what was asked for before ends."""
        self.stop()
        self._task = asyncio.create_task(work)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._task = None
