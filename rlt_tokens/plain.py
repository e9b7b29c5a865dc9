"""Own the copy of a tokenizer that texts of users go through: it knows no added token, so it can make none.

`split_special_tokens` is not enough: added tokens that are not "special" (Qwen3's `</think>`) stay one id under it.
"""

import json
from typing import Any

from tokenizers import Tokenizer


def full_tokenizer(tokenizer: dict[str, Any]) -> Tokenizer:
    """Build the tokenizer for template parts: with its added tokens, without truncation, padding and dropout."""
    return Tokenizer.from_str(json.dumps(_steady(tokenizer)))


def plain_tokenizer(tokenizer: dict[str, Any], *, control_token_ids: frozenset[int]) -> Tokenizer:
    """Build the tokenizer for texts of users: no added tokens, no post-processor, no way to a control id.

    A control token often stands in the model's own vocabulary too, where merges may lead to it: it is taken out
    there, with those merges. Only for BPE models.
    """
    model = tokenizer["model"]
    vocab = {token: token_id for token, token_id in model["vocab"].items() if token_id not in control_token_ids}
    merges = [(a, b) for a, b in model["merges"] if a in vocab and b in vocab and a + b in vocab]
    unknown = model["unk_token"] if model["unk_token"] in vocab else None
    pruned = model | {"vocab": vocab, "merges": merges, "unk_token": unknown}
    bare = _steady(tokenizer) | {"added_tokens": [], "post_processor": None}
    return Tokenizer.from_str(json.dumps(bare | {"model": _without_dropout(pruned)}))


def _steady(tokenizer: dict[str, Any]) -> dict[str, Any]:
    return tokenizer | {"truncation": None, "padding": None, "model": _without_dropout(tokenizer["model"])}


def _without_dropout(model: dict[str, Any]) -> dict[str, Any]:
    return model | {"dropout": None} if "dropout" in model else model
