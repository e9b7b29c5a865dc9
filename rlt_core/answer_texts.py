"""Own where a solution states its answer, and when two answers are the same text. Pure; no mathematics."""

import re
from dataclasses import dataclass
from typing import Literal

Place = Literal["boxed", "marked", "stated", "last_line"]
"""How an answer was found: `\\boxed{}`; behind `####` or in `<answer>`; "the answer is"; else the last line."""

_BOXES = ("\\boxed", "\\fbox")
_MARKED = re.compile(r"^[ \t]*####[ \t]*(\S.*)$", re.MULTILINE)
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_STATED = re.compile(r"\banswer\b[ \t*]*(?:is\b|=|:)[ \t*:]*(\S.*)$", re.MULTILINE | re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!](?=\s+[A-Z])")
_WRAPPED = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`"))
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\\,)(?=\d{3}(?!\d))")
_CHOICE = re.compile(r"^[(\[]?([A-Za-z])[)\]]?(?:[.:]?$|[.):]\s*\S)")
_QUANTITY = re.compile(r"^[-+]?\d[\d.,]*\s*(?:\\[, ])?\s*([A-Za-z]+)\.?$")

_UNITS = {
    "mm": ("mm", "millimeter", "millimetre"),
    "cm": ("cm", "centimeter", "centimetre"),
    "m": ("m", "meter", "metre"),
    "km": ("km", "kilometer", "kilometre"),
    "in": ("in", "inch", "inche"),
    "ft": ("ft", "foot", "feet"),
    "mi": ("mi", "mile"),
    "mg": ("mg", "milligram"),
    "g": ("g", "gram"),
    "kg": ("kg", "kilogram"),
    "s": ("s", "sec", "second"),
    "min": ("min", "minute"),
    "h": ("h", "hr", "hour"),
    "day": ("day",),
    "week": ("week",),
    "month": ("month",),
    "year": ("year",),
    "ml": ("ml", "milliliter", "millilitre"),
    "l": ("l", "liter", "litre"),
    "cent": ("cent",),
    "dollar": ("dollar",),
}
_NO_PLURALS = frozenset({"ms", "gs", "ss", "hs", "ls", "mms", "mis"})
"""A plural of one letter would be another unit: ms is no metres."""
_UNIT_OF = {
    name + plural: unit
    for unit, names in _UNITS.items()
    for name in names
    for plural in ("", "s")
    if name + plural not in _NO_PLURALS
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAnswer:
    """What a solution gives as its answer, without what stands around it."""

    text: str
    place: Place


def find_answer(solution: str) -> FoundAnswer | None:
    """Find the answer of a solution: the last box, else the last mark, else the last statement, else the last line.

    None where there is no text at all, or an empty box.
    """
    boxed = _last_box(solution)
    if boxed is not None:
        return _found(boxed, "boxed")
    marks = _MARKED.findall(solution) or _TAGGED.findall(solution)
    if marks:
        return _found(marks[-1], "marked")
    statements = _STATED.findall(solution)
    if statements:
        return _found(_SENTENCE_END.split(statements[-1])[0], "stated")
    lines = [line for line in solution.splitlines() if line.strip()]
    return _found(lines[-1], "last_line") if lines else None


def plain(text: str) -> str:
    """Bring an answer to one way of writing: no math delimiters, text commands, closing dot, thousands' commas, case.

    What is left of two answers is the same text, or they are not the same by text.
    """
    text = _TEXT.sub(r"\1", _unwrapped(text))
    text = _THOUSANDS.sub("", text)
    return " ".join(_unwrapped(text).casefold().split())


def choice_of(text: str) -> str | None:
    """Read a letter of a multiple choice: `C`, `(c)`, `C. the third`; None for anything else."""
    match = _CHOICE.match(_TEXT.sub(r"\1", _unwrapped(text)).strip())
    return match.group(1).upper() if match else None


def units_differ(first: str, second: str) -> bool:
    """Tell whether both are a number with a unit that is known here, and the units are not the same."""
    mine, other = _unit(first), _unit(second)
    return mine is not None and other is not None and mine != other


def _unit(text: str) -> str | None:
    match = _QUANTITY.match(" ".join(_TEXT.sub(r" \1 ", _unwrapped(text)).split()))
    return _UNIT_OF.get(match.group(1).casefold()) if match else None


def _found(text: str, place: Place) -> FoundAnswer | None:
    bare = _unwrapped(text)
    return FoundAnswer(text=bare, place=place) if bare else None


def _unwrapped(text: str) -> str:
    """Take off blanks, a closing dot, and delimiters that stand around the whole."""
    while True:
        bare = text.strip()
        if bare.endswith(".") and not bare.endswith(".."):
            bare = bare[:-1].rstrip()
        for left, right in _WRAPPED:
            inner = bare[len(left) : -len(right)]
            if (
                len(bare) > len(left) + len(right)
                and bare.startswith(left)
                and bare.endswith(right)
                and left not in inner
            ):
                bare = inner.strip()
                break
        if bare == text:
            return bare
        text = bare


def _last_box(text: str) -> str | None:
    """Give what stands in the last box whose braces close; a box without braces holds one word."""
    for start in sorted((at for box in _BOXES for at in _places(text, box)), reverse=True):
        rest = text[start:].removeprefix(_BOXES[0]).removeprefix(_BOXES[1]).lstrip(" ")
        if not rest.startswith("{"):
            word = re.match(r"[^\s$]+", rest)
            if word:
                return word.group()
            continue
        depth = 0
        for position, character in enumerate(rest):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == 0:
                return rest[1:position]
    return None


def _places(text: str, what: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(what), text)]
