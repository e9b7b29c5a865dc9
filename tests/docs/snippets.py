"""What the documentation shows between fences: each block with its page, line, language, and why it is not run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\s*$")
SAID = re.compile(r"^<!-- (not run|run apart): (.+) -->$")
SHOWN_APART = ("decisions", "results")
"""Folders under docs/ that are records of their day, not instructions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One fenced block; `line` is that of its first line of text, from 1."""

    page: Path
    line: int
    language: str
    text: str
    why_not_run: str | None = None
    why_apart: str | None = None
    """Why it is run in a state folder of its own, away from the server of the others."""

    @property
    def place(self) -> str:
        """Where it stands, as an editor opens it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Give README.md and every page of the documentation that instructs somebody."""
    docs = ROOT / "docs"
    found = sorted(page for page in docs.rglob("*.md") if page.relative_to(docs).parts[0] not in SHOWN_APART)
    return [ROOT / "README.md", *found]


def snippets_of(page: Path, text: str | None = None) -> list[Snippet]:
    """Read a page's blocks in order; a comment on the line before a fence says why it is not run, or run apart."""
    return list(_read(page, (page.read_text(encoding="utf-8") if text is None else text).splitlines()))


def _read(page: Path, lines: list[str]) -> Iterator[Snippet]:
    began: int | None = None
    language, reasons = "", dict[str, str]()
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if began is None:
            began, language = number + 1, fence[1]
            said = SAID.match(lines[number - 1]) if number else None
            reasons = {} if said is None else {said[1]: said[2]}
        else:
            text = "\n".join(lines[began:number]) + "\n"
            yield Snippet(
                page=page,
                line=began + 1,
                language=language,
                text=text,
                why_not_run=reasons.get("not run"),
                why_apart=reasons.get("run apart"),
            )
            began = None
    if began is not None:
        raise ValueError(f"{page}:{began}: the block is never closed")
