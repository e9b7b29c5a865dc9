"""Show token scores: each token marked by how hard the student found it; pure, gives what rich can print."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from rlt_core.schemas.score import TokenScore

LEVELS: Final = (
    (-0.1, "green", "", "p ≥ 90%"),
    (-1.0, "yellow", "·", "≥ 37%"),
    (-3.0, "dark_orange", "~", "≥ 5%"),
    (float("-inf"), "bold red", "!", "below"),
)
"""Lowest log-prob (natural) of each level, its colour, its mark where there are no colours, its words."""
INDENT: Final = 13
"""Cells before the text: the segment's name."""


def colour_of(logprob: float) -> str:
    """Choose the colour of a token by how likely the student found it."""
    return next(colour for lowest, colour, _, _ in LEVELS if logprob >= lowest)


def mark_of(logprob: float) -> str:
    """Choose the mark of a token where there are no colours; what the student expected has none."""
    return next(mark for lowest, _, mark, _ in LEVELS if logprob >= lowest)


def shown(tokens: Sequence[TokenScore], *, width: int, colours: bool) -> Group:
    """Write explanation and solution as running text of `width` cells at most, then what colours or marks mean."""
    parts = list[Text]()
    for segment in ("explanation", "solution"):
        found = [token for token in tokens if token.segment == segment]
        for index, line in enumerate(_lines(found, width=max(20, width - INDENT), colours=colours)):
            name = segment if index == 0 else ""
            parts.append(Text.assemble((f"{name:>{INDENT - 2}}  ", "dim"), line))
    return Group(*parts, _legend(colours=colours))


def rows(tokens: Sequence[TokenScore]) -> list[tuple[str | Text, ...]]:
    """List every token with its log-probs and divergence: segment, token, log p, teacher's log p, KL."""
    return [
        (
            token.segment,
            repr(token.text),
            Text(f"{token.logprob:.3f}", style=colour_of(token.logprob)),
            *(f"{value:.3f}" if value is not None else "" for value in (token.teacher_logprob, token.kl)),
        )
        for token in tokens
    ]


ROWS_HEAD: Final = ("segment", "token", "log p", "teacher", "kl")


def _lines(tokens: Sequence[TokenScore], *, width: int, colours: bool) -> list[Text]:
    """Break between words, and at the line ends that the text itself has; what is longer than a line, at a token."""
    lines, word = [Text()], Text()
    for token in tokens:
        mark = "" if colours else mark_of(token.logprob)
        style = colour_of(token.logprob) if colours else ""
        pieces = token.text.split("\n")
        for index, piece in enumerate(pieces):
            said = piece + (mark if index == len(pieces) - 1 else "")
            if index or piece.startswith(" ") or word.cell_len + cell_len(said) > width:
                _place(word, lines, width=width)
                word = Text()
            if index:
                lines.append(Text())
            word.append(said, style=style)
    _place(word, lines, width=width)
    return [line for line in lines if line.plain.strip()]


def _place(word: Text, lines: list[Text], *, width: int) -> None:
    """Write a word into the last line, or where it has no room, into one of its own without the space before it."""
    if lines[-1].cell_len and lines[-1].cell_len + word.cell_len > width:
        lines.append(word[1:] if word.plain.startswith(" ") else word)
    else:
        lines[-1].append_text(word)


def _legend(*, colours: bool) -> Text:
    legend = Text.assemble((f"{'legend':>{INDENT - 2}}  ", "dim"))
    for _, colour, mark, words in LEVELS:
        if colours:
            legend.append(f"{words} ", style=colour)
        else:
            legend.append(f"{words}: {mark or 'no mark'}  ")
    return legend
