"""Own how rows are printed: a table on a terminal; in a pipe one line a row, cells apart by tabs, nothing cut."""

from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | Text


def show(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, out: Console, empty: str = "nothing") -> None:
    """Print rows below their head; where there are none, `empty` on a terminal and the head alone in a pipe."""
    lines = [list(row) for row in rows]
    if not lines and out.is_terminal:
        out.print(empty, markup=False)
    elif out.is_terminal:
        table = Table(*head, box=None, header_style="bold", pad_edge=False)
        for line in lines:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in line))
        out.print(table)
    else:
        for line in [head, *lines]:
            typer.echo("\t".join(_plain(cell) for cell in line))  # rich would make spaces of tabs


def _plain(cell: Cell) -> str:
    return " ".join(str(cell).split())
