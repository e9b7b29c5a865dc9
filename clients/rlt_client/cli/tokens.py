"""Show token scores: each token in the colour of its log-prob; pure, gives things that rich can print."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlt_core.schemas.score import TokenScore

LEVELS = ((-0.1, "green"), (-1.0, "yellow"), (-3.0, "dark_orange"), (float("-inf"), "bold red"))
"""Lowest log-prob (natural) of each colour: about 90%, 37% and 5%."""


def colour_of(logprob: float) -> str:
    """Choose the colour of a token by how likely the student found it."""
    return next(colour for lowest, colour in LEVELS if logprob >= lowest)


def coloured(tokens: Sequence[TokenScore]) -> Group:
    """Write explanation and solution as running text, then what the colours mean."""
    parts = [
        Text.assemble((f"{segment:>11}  ", "dim"), *[(token.text, colour_of(token.logprob)) for token in found])
        for segment in ("explanation", "solution")
        if (found := [token for token in tokens if token.segment == segment])
    ]
    legend = Text.assemble(
        ("     legend  ", "dim"),
        ("p ≥ 90% ", "green"),
        ("≥ 37% ", "yellow"),
        ("≥ 5% ", "dark_orange"),
        ("below", "bold red"),
    )
    return Group(*parts, legend)


def table(tokens: Sequence[TokenScore]) -> Table:
    """List every token with its log-probs and divergence."""
    shown = Table("segment", "token", "log p", "teacher", "kl", box=None)
    for token in tokens:
        shown.add_row(
            token.segment,
            Text(repr(token.text)),
            Text(f"{token.logprob:.3f}", style=colour_of(token.logprob)),
            *(f"{value:.3f}" if value is not None else "" for value in (token.teacher_logprob, token.kl)),
        )
    return shown
