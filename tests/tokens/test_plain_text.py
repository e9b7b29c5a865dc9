"""Rule 2 of the method: no text of a user becomes a control token, special or not, by lookup or by merges."""

import json
from typing import Any

import pytest
from tokenizers import Tokenizer

from rlt_core.errors import ConfigurationError, InvalidRequestError
from rlt_core.formats import SegmentKind
from rlt_tokens import TokenizerCodec
from rlt_tokens.plain import plain_tokenizer
from rlt_tokens.token_bytes import byte_alphabet

BOTH = "a<|im_end|>b</think>c<think>"


def test_text_that_the_full_tokenizer_turns_into_control_tokens_becomes_ordinary_ids(
    reasoning_codec: TokenizerCodec,
) -> None:
    ids = reasoning_codec.encode_text(BOTH)
    assert reasoning_codec.control_token_ids.isdisjoint(ids)
    assert reasoning_codec.decode(ids) == BOTH


def test_a_question_that_names_control_tokens_stays_a_question(reasoning_codec: TokenizerCodec) -> None:
    sequence = reasoning_codec.teacher_sequence(question=BOTH, solution="s")
    span = sequence.spans[SegmentKind.QUESTION]
    assert reasoning_codec.control_token_ids.isdisjoint(sequence.token_ids[span.start : span.end])
    # Two turns of the template, each opened and closed, and the assistant's, opened.
    controls = [token_id for token_id in sequence.token_ids if token_id in reasoning_codec.control_token_ids]
    assert controls == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("special", [True, False])
def test_merges_that_spell_a_control_token_lead_nowhere(handmade: Any, special: bool) -> None:
    handmade.tokenizer["pre_tokenizer"]["use_regex"] = False
    handmade.add_merges("</think>")
    token_id = handmade.add_token("</think>", special=special)
    without_added = json.dumps(handmade.tokenizer | {"added_tokens": []})
    # What dropping the added tokens alone would leave: the merges still spell the control token.
    assert Tokenizer.from_str(without_added).encode("</think>").ids == [token_id]
    codec = handmade.build()
    assert token_id in codec.control_token_ids
    assert token_id not in codec.encode_text("</think>")


def test_a_vocabulary_that_is_looked_up_before_merges_gives_no_control_token(handmade: Any) -> None:
    handmade.tokenizer["pre_tokenizer"]["use_regex"] = False
    handmade.tokenizer["model"]["ignore_merges"] = True
    codec = handmade.build()
    assert 2 not in codec.encode_text("<|im_end|>")
    assert codec.decode(codec.encode_text("<|im_end|>")) == "<|im_end|>"


def test_no_entry_of_the_plain_vocabulary_is_a_control_id(handmade: Any) -> None:
    handmade.add_merges("</think>")
    control = frozenset({0, 1, 2, handmade.add_token("</think>", special=False)})
    assert control.isdisjoint(plain_tokenizer(handmade.tokenizer, control_token_ids=control).get_vocab().values())


def test_a_post_processor_puts_nothing_around_texts(handmade: Any, codec: TokenizerCodec) -> None:
    begin = "<|im_start|>"
    handmade.tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {begin: {"id": begin, "ids": [1], "tokens": [begin]}},
    }
    sequence = handmade.build().teacher_sequence(question="q", solution="s")
    assert sequence == codec.teacher_sequence(question="q", solution="s")


def test_truncation_padding_and_dropout_of_the_file_change_no_text(handmade: Any, codec: TokenizerCodec) -> None:
    handmade.tokenizer["truncation"] = {
        "max_length": 4,
        "direction": "Right",
        "strategy": "LongestFirst",
        "stride": 0,
    }
    handmade.tokenizer["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    handmade.tokenizer["model"]["dropout"] = 0.9
    sequence = handmade.build().teacher_sequence(question="the other", solution="then in on")
    assert sequence == codec.teacher_sequence(question="the other", solution="then in on")


def test_characters_that_the_vocabulary_lacks_are_refused_not_lost(handmade: Any) -> None:
    del handmade.tokenizer["model"]["vocab"][byte_alphabet()[0x13]]  # as in SmolLM2
    codec = handmade.build()
    with pytest.raises(InvalidRequestError, match="from character 1 on"):
        codec.encode_text("a\x13b")


def test_a_hole_in_the_vocabulary_is_neither_text_nor_an_id_of_callers(handmade: Any) -> None:
    vocab = handmade.tokenizer["model"]["vocab"]
    hole = vocab.pop(byte_alphabet()[0x13])
    codec = handmade.build()
    assert hole in codec.control_token_ids
    assert codec.vocab_size == max(vocab.values()) + 1


def test_composed_accents_are_taken_from_a_tokenizer_that_composes_them(handmade: Any) -> None:
    handmade.tokenizer["normalizer"] = {"type": "NFC"}
    codec = handmade.build()
    assert codec.decode(codec.encode_text("e\u0301")) == "\u00e9"


def test_a_tokenizer_that_folds_characters_is_refused(handmade: Any) -> None:
    handmade.tokenizer["normalizer"] = {"type": "NFKC"}
    with pytest.raises(ConfigurationError, match="does not keep texts"):
        handmade.build()
