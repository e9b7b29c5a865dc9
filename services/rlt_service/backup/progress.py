"""Own what a backup or a restore says while it runs: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress(Protocol):
    """Whoever wants to know how far it is."""

    def say(self, line: str) -> None:
        """Hear a sentence."""
        ...

    def copying(self, total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Follow a copy of so many bytes; the function that is given hears of each part."""
        ...


class Terminal:
    """A person."""

    def __init__(self, console: Console) -> None:
        """Take where to print."""
        self._console = console

    def say(self, line: str) -> None:
        """Print a sentence."""
        self._console.print(line, markup=False)

    @contextmanager
    def copying(self, total_bytes: int) -> Generator[Callable[[int], None]]:
        """Draw a bar where there is a terminal."""
        columns = (TextColumn("copying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self._console, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("copying", total=total_bytes)
            yield lambda count: bar.advance(task, count)
