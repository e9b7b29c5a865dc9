"""Own which text of an unfinished completion may be shown: none that may yet turn out to belong to a closing tag.

All of it joined is what `completions.parse_pieces` says of the whole, byte for byte. Works on bytes, as that does.
"""

import codecs
from collections.abc import Collection, Sequence

from rlt_tokens.token_bytes import TokenBytes


class PieceReader:
    """rlt_core.tokens.ExplanationReader for one completion."""

    def __init__(self, *, token_bytes: TokenBytes, end_token_ids: Collection[int], closing_tags: Sequence[str]) -> None:
        """Begin with nothing read; the text ends where the first of `closing_tags` begins."""
        self._token_bytes = token_bytes
        self._end_token_ids = end_token_ids
        self._tags = [tag.encode() for tag in closing_tags]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ends: list[int] = []
        """End tokens with nothing after them yet: at the completion's end they belong to no text."""
        self._held = b""
        """Bytes that may be the beginning of a tag."""
        self._closed = False

    def feed(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; give the text that is now known to be the explanation's, in whole characters."""
        if self._closed:
            return ""
        ids = [*self._ends, *token_ids]
        count = len(ids)
        while count and ids[count - 1] in self._end_token_ids:
            count -= 1
        self._ends = ids[count:]
        content = self._held + b"".join(self._token_bytes.pieces(ids[:count]))
        tag_start = min((found for tag in self._tags if (found := content.find(tag)) >= 0), default=-1)
        if tag_start >= 0:
            self._closed, self._held = True, b""
            return self._decoder.decode(content[:tag_start], final=True)
        known = len(content) - max((_beginning_of(tag, content) for tag in self._tags), default=0)
        self._held = content[known:]
        return self._decoder.decode(content[:known])

    def finish(self) -> str:
        """Take the completion's end; give what was held back and is the explanation's."""
        if self._closed:
            return ""
        self._closed = True
        return self._decoder.decode(self._held, final=True)


def _beginning_of(tag: bytes, content: bytes) -> int:
    """Count the bytes at the end of `content` with which `tag` may begin: the most that there can be."""
    longest = min(len(tag) - 1, len(content))
    return next((count for count in range(longest, 0, -1) if content.endswith(tag[:count])), 0)
