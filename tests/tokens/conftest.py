"""Tokenizers made by hand: edits of the byte-level one, and one in the manner of sentencepiece."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlt_tokens import TokenizerCodec, byte_codec, save_byte_tokenizer
from rlt_tokens.byte_tokenizer import CHAT_TEMPLATE, SPECIAL_TOKENS
from rlt_tokens.load import DEFAULT_FORMAT, TokenizerSource, build_codec

SWITCHES = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


@dataclass(kw_only=True)
class Handmade:
    """A tokenizer.json to be edited, and what a codec needs beside it."""

    tokenizer: dict[str, Any]
    chat_template: str | None = CHAT_TEMPLATE
    special_tokens: dict[str, str] = field(default_factory=lambda: dict(SPECIAL_TOKENS))
    end_token_ids: frozenset[int] = frozenset({2})

    def add_token(self, content: str, *, special: bool, **switches: bool) -> int:
        """Add a token, in the model's vocabulary too, where merges can lead to it."""
        vocab: dict[str, int] = self.tokenizer["model"]["vocab"]
        token_id = vocab.setdefault(content, len(vocab))
        entry = {"id": token_id, "content": content, "special": special, **SWITCHES, **switches}
        self.tokenizer["added_tokens"].append(entry)
        return token_id

    def add_merges(self, *tokens: str) -> None:
        """Make each of `tokens` reachable before all else: abc comes of ab and c, ab of a and b."""
        model = self.tokenizer["model"]
        pairs: list[list[str]] = []
        for token in tokens:
            for length in range(2, len(token) + 1):
                pairs.append([token[: length - 1], token[length - 1]])
                model["vocab"].setdefault(token[:length], len(model["vocab"]))
        model["merges"] = pairs + [pair for pair in model["merges"] if pair not in pairs]

    def build(self, *, format_id: str = DEFAULT_FORMAT) -> TokenizerCodec:
        source = TokenizerSource(
            tokenizer_json=json.dumps(self.tokenizer),
            chat_template=self.chat_template,
            special_tokens=self.special_tokens,
            end_token_ids=self.end_token_ids,
        )
        return build_codec(source, format_id=format_id)


@pytest.fixture(scope="session")
def codec() -> TokenizerCodec:
    return byte_codec()


@pytest.fixture(scope="session")
def byte_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("byte-tokenizer")
    save_byte_tokenizer(folder)
    return folder


@pytest.fixture
def handmade(byte_folder: Path) -> Handmade:
    return Handmade(tokenizer=json.loads((byte_folder / "tokenizer.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def reasoning_codec(byte_folder: Path) -> TokenizerCodec:
    return reasoning_tokenizer(byte_folder).build()


@pytest.fixture(scope="session")
def r1_reasoning_codec(byte_folder: Path) -> TokenizerCodec:
    return reasoning_tokenizer(byte_folder).build(format_id="r1@1")


def reasoning_tokenizer(byte_folder: Path) -> Handmade:
    """Make a tokenizer with control tokens of both kinds, and with merges by which plain text would become them."""
    made = Handmade(tokenizer=json.loads((byte_folder / "tokenizer.json").read_text(encoding="utf-8")))
    # One pre-token a text: the merges below are then free to build a whole control token.
    made.tokenizer["pre_tokenizer"]["use_regex"] = False
    made.add_merges("</think>", "<|im_end|>")
    made.add_token("</think>", special=False)
    made.add_token("<think>", special=False)
    return made


@pytest.fixture
def sentencepiece() -> Callable[..., Handmade]:
    """Make a BPE tokenizer with byte fallback, as converted from sentencepiece."""

    def make(*, dummy_prefix: bool) -> Handmade:
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
        tokens += [chr(code) for code in range(0x21, 0x7F)]
        space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
        back = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
        prefix = [{"type": "Prepend", "prepend": "\u2581"}] if dummy_prefix else []
        strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if dummy_prefix else []
        return Handmade(
            tokenizer={
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [
                    {"id": number, "content": content, "special": True, **SWITCHES}
                    for number, content in enumerate(tokens[:3])
                ],
                "normalizer": {"type": "Sequence", "normalizers": [*prefix, space]},
                "pre_tokenizer": None,
                "post_processor": None,
                "decoder": {
                    "type": "Sequence",
                    "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
                },
                "model": {
                    "type": "BPE",
                    "dropout": None,
                    "unk_token": "<unk>",
                    "continuing_subword_prefix": None,
                    "end_of_word_suffix": None,
                    "fuse_unk": True,
                    "byte_fallback": True,
                    "ignore_merges": False,
                    "vocab": {token: number for number, token in enumerate(tokens)},
                    "merges": [],
                },
            },
            chat_template=(
                "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
            ),
            special_tokens={"bos_token": "<s>", "eos_token": "</s>"},
        )

    return make
