"""Own what `rlt up` says: a spinner with the newest line on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.markup import escape


class Screen:
    """Where people look. A terminal that has gone away is no reason to stop serving."""

    def __init__(self, *, out: Console | None = None, errors: Console | None = None) -> None:
        self._out = out or Console(highlight=False, soft_wrap=True)
        self._errors = errors or Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, line: str, *, style: str | None = None) -> None:
        """Print one line."""
        with contextlib.suppress(OSError):
            self._out.print(line, markup=False, style=style)
            self._out.file.flush()

    def error(self, line: str) -> None:
        """Print what went wrong."""
        with contextlib.suppress(OSError):
            self._errors.print(f"error: {line}", markup=False, style="red")

    @contextlib.contextmanager
    def waiting(self, what: str) -> Generator[Callable[[str], None]]:
        """Show that `what` is going on; the function that is given shows the newest detail, repeats left out."""
        began_s = time.monotonic()
        if not self._out.is_terminal:
            self.say(f"{what} …")
            yield self._line_printer(began_s)
            return
        with self._out.status(escape(what)) as status:

            def show(detail: str) -> None:
                room = max(20, self._out.width - len(what) - 16)
                status.update(escape(f"{what} ({time.monotonic() - began_s:.0f} s)  {detail[:room]}"))

            yield show

    def _line_printer(self, began_s: float) -> Callable[[str], None]:
        shown = ""

        def show(detail: str) -> None:
            nonlocal shown
            if detail and detail != shown:
                shown = detail
                self.say(f"  {time.monotonic() - began_s:6.1f} s  {detail}")

        return show
