"""Rule 4 of the method: where an explanation ends in what was generated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidTokenIdsError
from rlt_core.formats import STRATOS_1, ExplanationPiece
from rlt_core.tokens import ParsedCompletion, Span
from rlt_tokens import TokenizerCodec
from rlt_tokens.completions import parse_pieces

TAG = STRATOS_1.explanation_close
END = 2

pieces_of_text = st.sampled_from([".", "<", "<|", "\u00e9", "\U0001f600", "the", " ", "\n", TAG[:-1], TAG[1:], ">"])
explanations = (
    st.lists(pieces_of_text | st.text(max_size=5), max_size=6).map("".join).filter(lambda text: TAG not in text)
)
tails = st.sampled_from(["", ".", " more", TAG, "\n\n<|im_end|>", "\U0001f600"])


def test_a_tag_between_tokens_ends_the_explanation_there(codec: TokenizerCodec) -> None:
    ids = [*codec.encode_text("Two"), *codec.encode_text(TAG)]
    assert codec.parse_completion(ids) == ParsedCompletion(
        text="Two", explanation=Span(start=0, end=3), rest="", straddled=False, well_formed=True
    )


def test_a_token_that_holds_the_tags_beginning_gives_its_text_as_rest(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("Two." + TAG)
    assert codec.token_texts(ids)[3] == ".<"
    assert codec.parse_completion(ids) == ParsedCompletion(
        text="Two.", explanation=Span(start=0, end=3), rest=".", straddled=True, well_formed=True
    )


def test_a_token_that_holds_the_tags_end_and_more_changes_nothing(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("Two" + TAG + ". And so on" + TAG)
    assert ">." in codec.token_texts(ids)
    assert codec.parse_completion(ids) == codec.parse_completion(codec.encode_text("Two" + TAG))


def test_a_tag_within_one_token_is_found(codec: TokenizerCodec) -> None:
    assert parse_pieces([b"Two", b"." + TAG.encode() + b"!", b"x"], closing_tag=TAG) == ParsedCompletion(
        text="Two.", explanation=Span(start=0, end=1), rest=".", straddled=True, well_formed=True
    )


def test_the_first_of_two_tags_counts(codec: TokenizerCodec) -> None:
    assert codec.parse_completion(codec.encode_text("a" + TAG + "b" + TAG)).text == "a"


@pytest.mark.parametrize("ending", [[], [END], [END, END]])
def test_never_closed_takes_all_but_the_end_tokens_as_the_explanation(codec: TokenizerCodec, ending: list[int]) -> None:
    ids = codec.encode_text("On and on" + TAG[:-1])
    assert codec.parse_completion([*ids, *ending]) == ParsedCompletion(
        text="On and on" + TAG[:-1],
        explanation=Span(start=0, end=len(ids)),
        rest="",
        straddled=False,
        well_formed=False,
    )


@pytest.mark.parametrize("ids", [[], [END], [END, END]])
def test_an_empty_completion_is_an_empty_explanation_that_was_never_closed(
    codec: TokenizerCodec, ids: list[int]
) -> None:
    assert codec.parse_completion(ids) == ParsedCompletion(
        text="", explanation=Span(start=0, end=0), rest="", straddled=False, well_formed=False
    )


def test_a_completion_that_is_only_the_tag_is_empty_and_closed(codec: TokenizerCodec) -> None:
    assert codec.parse_completion([*codec.encode_text(TAG), END]) == ParsedCompletion(
        text="", explanation=Span(start=0, end=0), rest="", straddled=False, well_formed=True
    )


def test_a_character_split_over_tokens_moves_no_border(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("\U0001f600\u6f22" + TAG)
    parsed = codec.parse_completion(ids)
    assert (parsed.text, parsed.explanation) == ("\U0001f600\u6f22", Span(start=0, end=7))


def test_a_character_shared_with_the_straddling_token_is_whole_in_the_text(handmade: Any) -> None:
    # The second byte of U+00E9 and the tag's first character as one token: T is half a character.
    handmade.add_merges("\u00a9<")
    codec = handmade.build()
    ids = [codec.encode_text("\u00e9")[0], codec.vocab_size - 1, *codec.encode_text(TAG[1:])]
    assert codec.parse_completion(ids) == ParsedCompletion(
        text="\u00e9", explanation=Span(start=0, end=1), rest="\ufffd", straddled=True, well_formed=True
    )


def test_ids_that_are_none_are_refused(codec: TokenizerCodec) -> None:
    with pytest.raises(InvalidTokenIdsError, match="token id 999 at position 1"):
        codec.parse_completion([70, 999])


@given(explanation=explanations, tail=tails)
def test_text_before_the_tag_is_found_whatever_stands_around_it(
    codec: TokenizerCodec, explanation: str, tail: str
) -> None:
    ids = codec.encode_text(explanation + TAG + tail)
    parsed = codec.parse_completion(ids)
    assert parsed.well_formed
    assert parsed.text == explanation
    assert codec.decode(ids[: parsed.explanation.end]) + parsed.rest == explanation
    assert parsed.straddled == bool(parsed.rest)
    # T is all that fits: one token more would reach into the tag.
    assert len(codec.decode(ids[: parsed.explanation.end + 1])) > len(explanation)


@given(explanation=explanations, solution=st.text(max_size=5))
def test_the_student_reads_the_whole_explanation_on_the_generated_ids(
    codec: TokenizerCodec, explanation: str, solution: str
) -> None:
    ids = codec.encode_text(explanation + TAG)
    parsed = codec.parse_completion(ids)
    piece = ExplanationPiece(token_ids=tuple(ids[: parsed.explanation.end]), rest=parsed.rest)
    sequence = codec.student_sequence(question="q", solution=solution, explanation=piece)
    assert list(sequence.token_ids[sequence.explanation.start : sequence.explanation.end]) == list(
        piece.token_ids or ()
    )
    assert f"<|begin_of_thought|>{explanation}<|end_of_thought|>" in codec.decode(sequence.token_ids)


@given(ids=st.lists(st.integers(min_value=0, max_value=268), max_size=30))
def test_any_ids_are_parsed_and_without_a_tag_all_are_explanation(codec: TokenizerCodec, ids: list[int]) -> None:
    parsed = codec.parse_completion(ids)
    kept = list(ids)
    while kept and kept[-1] == END:
        kept.pop()
    if TAG not in codec.decode(kept):
        assert not parsed.well_formed
        assert parsed.explanation == Span(start=0, end=len(kept))
        assert parsed.text == codec.decode(kept)
