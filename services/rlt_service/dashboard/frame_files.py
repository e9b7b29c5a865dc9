"""Own the files that every page brings along."""

from pathlib import Path
from typing import Final

_STATIC: Final = Path(__file__).parent / "static"


def style() -> str:
    """Read the look."""
    return (_STATIC / "style.css").read_text(encoding="utf-8")


def scripts() -> str:
    """Read what moves in the browser without asking the server."""
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in ("tokens.js", "live.js"))
