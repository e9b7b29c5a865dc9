"""Own where an explanation ends in what was generated. Works on bytes: characters may be split over tokens."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from rlt_core.tokens import ParsedCompletion, Span


def parse_pieces(pieces: Sequence[bytes], *, closing_tag: str) -> ParsedCompletion:
    """Find the first closing tag in the tokens' bytes; without one, all of them are the explanation.

    T is the tokens wholly before the tag; what a straddling token holds before it is `rest` (method: rule 4).
    """
    whole = b"".join(pieces)
    ends = list(accumulate(len(piece) for piece in pieces))
    tag_start = whole.find(closing_tag.encode())
    if tag_start < 0:
        return ParsedCompletion(
            text=_text(whole), explanation=Span(start=0, end=len(pieces)), rest="", straddled=False, well_formed=False
        )
    count = bisect_right(ends, tag_start)
    rest = whole[ends[count - 1] if count else 0 : tag_start]
    return ParsedCompletion(
        text=_text(whole[:tag_start]),
        explanation=Span(start=0, end=count),
        rest=_text(rest),
        straddled=bool(rest),
        well_formed=True,
    )


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")
