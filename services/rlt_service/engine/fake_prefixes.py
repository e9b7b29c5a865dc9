"""Own the fake engine's prefix cache: blocks of tokens, shared under one salt and one version alone, as vLLM's are."""

from collections.abc import Sequence

BLOCK = 16
"""Tokens that are remembered together."""
Under = tuple[str, str | None, str | None]
"""What is done, the salt, the version."""


class FakePrefixes:
    """Remembers every prefix of whole blocks, for ever: tests are short."""

    def __init__(self) -> None:
        self._known: set[tuple[Under, tuple[int, ...]]] = set()

    def take(self, token_ids: Sequence[int], *, under: Under) -> int:
        """Give how many first tokens are known, never all of them, and remember the rest."""
        found = 0
        for end in range(BLOCK, len(token_ids), BLOCK):
            prefix = (under, tuple(token_ids[:end]))
            if prefix in self._known:
                found = end
            self._known.add(prefix)
        return found
