"""Own a small byte-level tokenizer made in code: for tests and fakes that need real tokens but no model's files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_core.formats import Segment, SegmentKind
from rlt_tokens.chat_template import TemplateLayout
from rlt_tokens.codec import TokenizerCodec
from rlt_tokens.load import DEFAULT_FORMAT, TokenizerSource, build_codec
from rlt_tokens.token_bytes import byte_alphabet

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Their ids are 0, 1 and 2; the last ends a turn."""

MERGES = (". <", "> .", "t h", "th e", "i n", "a n", "o n", "e r", "Ġ t", "Ġ a")
"""`.<` and `>.` straddle a tag's borders; the others make some tokens longer than a byte (`Ġ` is a space)."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

LAYOUT = TemplateLayout(
    segments=(
        Segment(kind=SegmentKind.TEMPLATE, text="<|im_start|>system\n"),
        Segment(kind=SegmentKind.INSTRUCTION),
        Segment(kind=SegmentKind.TEMPLATE, text="<|im_end|>\n<|im_start|>user\n"),
        Segment(kind=SegmentKind.QUESTION),
        Segment(kind=SegmentKind.TEMPLATE, text="<|im_end|>\n<|im_start|>assistant\n"),
    ),
    folded=False,
)
"""What CHAT_TEMPLATE writes: a fake engine need not wait for transformers to find out."""

SPECIAL_TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def byte_codec(*, format_id: str = DEFAULT_FORMAT, merges: Sequence[str] = MERGES) -> TokenizerCodec:
    """Make a codec on the byte-level tokenizer; touches no file and imports neither torch nor transformers.

    Other `merges` make another tokenizer, for tests of two.
    """
    source = TokenizerSource(
        tokenizer_json=json.dumps(_tokenizer(merges)),
        chat_template=CHAT_TEMPLATE,
        special_tokens=SPECIAL_TOKENS,
        end_token_ids=frozenset({CONTROL_TOKENS.index("<|im_end|>")}),
        layout=LAYOUT,
    )
    return build_codec(source, format_id=format_id)


def save_byte_tokenizer(folder: Path) -> None:
    """Write the tokenizer as transformers reads it (tokenizer.json, tokenizer_config.json); makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = SPECIAL_TOKENS | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1_000_000,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    for name, content in (("tokenizer.json", _tokenizer(MERGES)), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _tokenizer(merges: Sequence[str]) -> dict[str, Any]:
    pairs = [merge.split(" ") for merge in merges]
    tokens = [*CONTROL_TOKENS, *byte_alphabet(), *("".join(pair) for pair in pairs)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_control(token_id, content) for token_id, content in enumerate(CONTROL_TOKENS)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: token_id for token_id, token in enumerate(tokens)},
            "merges": pairs,
        },
    }


def _control(token_id: int, content: str) -> dict[str, Any]:
    switches = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, "special": True, **switches}
