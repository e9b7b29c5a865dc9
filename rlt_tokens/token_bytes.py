"""Own what each token id stands for in bytes: the one way from ids back to text, exact where characters are split."""

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlt_core.errors import ConfigurationError, InvalidTokenIdsError

BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBytes:
    """The bytes of every id; None where the vocabulary has a hole."""

    by_id: tuple[bytes | None, ...]

    def pieces(self, token_ids: Iterable[int]) -> list[bytes]:
        """Bytes of each token; raises InvalidTokenIdsError for an id that is none."""
        return [self._piece(token_id, position) for position, token_id in enumerate(token_ids)]

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of all tokens; bytes that form no character become U+FFFD."""
        return b"".join(self.pieces(token_ids)).decode("utf-8", errors="replace")

    def texts(self, token_ids: Sequence[int]) -> list[str]:
        """Text of each token; a character that is split over tokens stands with the token that completes it."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        pieces = self.pieces(token_ids)
        last = len(pieces) - 1
        return [decoder.decode(piece, final=position == last) for position, piece in enumerate(pieces)]

    def _piece(self, token_id: int, position: int) -> bytes:
        piece = self.by_id[token_id] if 0 <= token_id < len(self.by_id) else None
        if piece is None:
            raise InvalidTokenIdsError(
                f"token id {token_id} at position {position} is not in the vocabulary of {len(self.by_id)} ids: "
                "send ids of this model's tokenizer"
            )
        return piece


def read_token_bytes(tokenizer: dict[str, Any]) -> TokenBytes:
    """Read the bytes of each token from a tokenizer.json; raises ConfigurationError for a decoder it cannot follow."""
    decoders = _decoders(tokenizer.get("decoder"))
    kinds = {decoder["type"] for decoder in decoders}
    if "ByteLevel" in kinds:
        alphabet = {character: byte for byte, character in enumerate(byte_alphabet())}
        contents = {token: _from_alphabet(token, alphabet) for token in tokenizer["model"]["vocab"]}
    elif "ByteFallback" in kinds:
        contents = {token: _from_fallback(token, decoders) for token in tokenizer["model"]["vocab"]}
    else:
        raise ConfigurationError(
            f"the tokenizer's decoder ({json.dumps(tokenizer.get('decoder'))[:200]}) is neither byte-level nor "
            "byte-fallback, so texts would be lost: use a model with a byte-level BPE tokenizer"
        )
    ids: dict[int, bytes] = {tokenizer["model"]["vocab"][token]: piece for token, piece in contents.items()}
    ids |= {token["id"]: token["content"].encode() for token in tokenizer["added_tokens"]}
    return TokenBytes(by_id=tuple(ids.get(token_id) for token_id in range(max(ids) + 1)))


def byte_alphabet() -> list[str]:
    """List the printable character by which byte-level BPE writes each of the 256 bytes (GPT-2's choice)."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(0x100)]


def _from_alphabet(token: str, alphabet: dict[str, int]) -> bytes:
    # A token with any character outside the alphabet was never written in it.
    if all(character in alphabet for character in token):
        return bytes(alphabet[character] for character in token)
    return token.encode()


def _from_fallback(token: str, decoders: list[dict[str, Any]]) -> bytes:
    if match := BYTE_FALLBACK.fullmatch(token):
        return bytes.fromhex(match[1])
    for decoder in decoders:
        if decoder["type"] == "Replace" and "String" in decoder["pattern"]:
            token = token.replace(decoder["pattern"]["String"], decoder["content"])
    return token.encode()


def _decoders(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
