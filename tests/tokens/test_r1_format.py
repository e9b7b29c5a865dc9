"""The format r1@1 in tokens: empty tags, spans, and tags that a reasoning model's vocabulary has as control tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidTokenIdsError
from rlt_core.formats import ExplanationPiece, SegmentKind
from rlt_core.tokens import ParsedCompletion, Span
from rlt_tokens import TokenizerCodec, byte_codec

HOSTILE = ("<think>", "</think>", "</think>\n\n", "</thin", "k>", "<", ".<", ">.", "\n\n", "<|im_end|>", "\u00e9", "4")
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4), max_size=6).map("".join)


@pytest.fixture(scope="module")
def r1() -> TokenizerCodec:
    return byte_codec(format_id="r1@1")


def test_an_empty_tag_is_no_token(r1: TokenizerCodec) -> None:
    sequence = r1.student_sequence(question="q", solution="42", explanation=ExplanationPiece(text="4"))
    assert sequence.solution.end == len(sequence.token_ids)
    assert r1.decode(sequence.token_ids).endswith("assistant\n<think>4</think>\n\n42")
    prompt = r1.teacher_sequence(question="q", solution="42")
    assert r1.decode(prompt.token_ids[: prompt.solution.start]).endswith("assistant\n")


@given(question=texts, solution=texts, explanation=texts)
def test_each_span_holds_exactly_its_text_whatever_the_texts_say(
    r1: TokenizerCodec, question: str, solution: str, explanation: str
) -> None:
    piece = ExplanationPiece(text=explanation)
    for sequence in (
        r1.student_sequence(question=question, solution=solution, explanation=piece),
        r1.teacher_sequence(question=question, solution=solution, explanation=piece),
    ):
        found = {
            kind: r1.decode(sequence.token_ids[span.start : span.end])
            for kind, span in sequence.spans.items()
            if kind is not SegmentKind.INSTRUCTION
        }
        assert found == {
            SegmentKind.QUESTION: question,
            SegmentKind.SOLUTION: solution,
            SegmentKind.EXPLANATION: explanation,
        }


@given(explanation=texts.filter(lambda text: "</think>" not in text + "</think>"[:-1]), tail=texts)
def test_text_before_the_first_closing_tag_is_the_explanation(r1: TokenizerCodec, explanation: str, tail: str) -> None:
    ids = r1.encode_text(f"{explanation}</think>{tail}")
    parsed = r1.parse_completion(ids)
    assert (parsed.text, parsed.well_formed) == (explanation, True)
    assert r1.decode(ids[: parsed.explanation.end]) + parsed.rest == explanation


def test_a_full_stop_in_the_tags_first_token_is_the_rest(r1: TokenizerCodec) -> None:
    ids = r1.encode_text("Two.</think>. More")
    assert (r1.token_texts(ids)[3], ">." in r1.token_texts(ids)) == (".<", True)
    assert r1.parse_completion(ids) == ParsedCompletion(
        text="Two.", explanation=Span(start=0, end=3), rest=".", straddled=True, well_formed=True
    )


@pytest.mark.parametrize(("text", "closed"), [("</think>", True), ("", False), ("On and on</think", False)])
def test_empty_and_unclosed_completions_are_what_they_are(r1: TokenizerCodec, text: str, closed: bool) -> None:
    ids = r1.encode_text(text)
    expected = "" if closed else text
    assert r1.parse_completion(ids) == ParsedCompletion(
        text=expected,
        explanation=Span(start=0, end=0 if closed else len(ids)),
        rest="",
        straddled=False,
        well_formed=closed,
    )


def test_tags_are_plain_text_also_where_the_vocabulary_has_them_as_control_tokens(
    r1_reasoning_codec: TokenizerCodec,
) -> None:
    codec = r1_reasoning_codec
    piece = ExplanationPiece(text="4")
    for sequence in (
        codec.teacher_sequence(question="q", solution="42", explanation=piece),
        codec.student_sequence(question="q", solution="42", explanation=piece),
    ):
        # Those of the template, and no other.
        assert [token for token in sequence.token_ids if token in codec.control_token_ids] == [1, 2, 1, 2, 1]
        assert "<think>4</think>" in codec.decode(sequence.token_ids)
    written = codec.encode_text("4</think>")
    assert codec.parse_completion(written).text == "4"


def test_the_models_own_closing_token_is_refused_from_callers(r1_reasoning_codec: TokenizerCodec) -> None:
    codec = r1_reasoning_codec
    own = next(token for token in codec.control_token_ids if codec.decode([token]) == "</think>")
    assert own not in codec.end_token_ids  # so that engines ban it in generation
    with pytest.raises(InvalidTokenIdsError, match="is a control token"):
        codec.check_token_ids([*codec.encode_text("4"), own], param="/tokens", allow_end=True)
