"""Rules 1, 2 and 5 of the method: spans by construction, user text without control tokens, ids kept as generated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidRequestError, InvalidTokenIdsError
from rlt_core.formats import STRATOS_1, ExplanationPiece, SegmentKind
from rlt_core.tokens import EncodedSequence, SequenceCodec
from rlt_tokens import TokenizerCodec

HOSTILE = (
    "<|im_end|>",
    "<|im_start|>system\n",
    "<|endoftext|>",
    "</think>",
    "<think>",
    STRATOS_1.solution_open,
    STRATOS_1.solution_close,
    STRATOS_1.explanation_close,
    STRATOS_1.thought_close,
    "{{ messages }}",
    ".<",
    ">.",
    " ",
    "\n\n",
    "\t",
    "\x00",
    "e\u0301",
    "\u6f22\u5b57",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ufffd",
)
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), max_size=6).map("".join)


def spanned_text(codec: SequenceCodec, sequence: EncodedSequence, kind: SegmentKind) -> str:
    span = sequence.spans[kind]
    return codec.decode(sequence.token_ids[span.start : span.end])


def control_ids(codec: SequenceCodec, sequence: EncodedSequence) -> list[int]:
    return [token_id for token_id in sequence.token_ids if token_id in codec.control_token_ids]


def plain_student(codec: SequenceCodec) -> EncodedSequence:
    return codec.student_sequence(question="q", solution="s", explanation=ExplanationPiece(text="e"))


@given(question=texts, solution=texts, explanation=texts)
def test_each_span_holds_exactly_its_text_whatever_the_texts_say(
    codec: TokenizerCodec, question: str, solution: str, explanation: str
) -> None:
    piece = ExplanationPiece(text=explanation)
    for sequence in (
        codec.student_sequence(question=question, solution=solution, explanation=piece),
        codec.teacher_sequence(question=question, solution=solution, explanation=piece),
    ):
        assert spanned_text(codec, sequence, SegmentKind.QUESTION) == question
        assert spanned_text(codec, sequence, SegmentKind.SOLUTION) == solution
        assert spanned_text(codec, sequence, SegmentKind.EXPLANATION) == explanation
        assert set(sequence.spans) == {
            SegmentKind.INSTRUCTION,
            SegmentKind.QUESTION,
            SegmentKind.SOLUTION,
            SegmentKind.EXPLANATION,
        }


@given(question=texts, solution=texts, explanation=texts)
def test_the_whole_sequence_reads_as_template_and_format_say(
    codec: TokenizerCodec, question: str, solution: str, explanation: str
) -> None:
    turns = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    piece = ExplanationPiece(text=explanation)
    student = codec.student_sequence(question=question, solution=solution, explanation=piece)
    teacher = codec.teacher_sequence(question=question, solution=solution)
    assert codec.decode(student.token_ids) == turns.format(STRATOS_1.student_instruction, question) + (
        f"<|begin_of_thought|>{explanation}<|end_of_thought|>\n\n<|begin_of_solution|>{solution}<|end_of_solution|>"
    )
    assert codec.decode(teacher.token_ids) == turns.format(STRATOS_1.teacher_instruction, question) + (
        f"<|begin_of_solution|>{solution}<|end_of_solution|>\n\n<|begin_of_explanation|>"
    )


@given(question=texts, solution=texts, explanation=texts)
def test_texts_add_no_control_token_to_those_of_the_template(
    reasoning_codec: TokenizerCodec, question: str, solution: str, explanation: str
) -> None:
    codec = reasoning_codec
    piece = ExplanationPiece(text=explanation)
    sequence = codec.student_sequence(question=question, solution=solution, explanation=piece)
    assert control_ids(codec, sequence) == control_ids(codec, plain_student(codec))
    assert spanned_text(codec, sequence, SegmentKind.QUESTION) == question


@given(text=texts, other=texts)
def test_a_segment_has_the_same_ids_whatever_stands_beside_it(codec: TokenizerCodec, text: str, other: str) -> None:
    piece = ExplanationPiece(text=other)
    sequence = codec.student_sequence(question=other, solution=text, explanation=piece)
    assert list(sequence.token_ids[sequence.solution.start : sequence.solution.end]) == codec.encode_text(text)


@given(question=texts, solution=texts)
def test_the_teachers_prompt_begins_its_whole_sequence(codec: TokenizerCodec, question: str, solution: str) -> None:
    prompt = codec.teacher_sequence(question=question, solution=solution)
    piece = ExplanationPiece(text="Because.")
    whole = codec.teacher_sequence(question=question, solution=solution, explanation=piece)
    assert whole.token_ids[: len(prompt.token_ids)] == prompt.token_ids
    assert whole.explanation.start == len(prompt.token_ids)
    assert SegmentKind.EXPLANATION not in prompt.spans


def test_an_explanations_ids_stay_as_generated_even_where_their_text_would_be_encoded_otherwise(
    codec: TokenizerCodec,
) -> None:
    letter_by_letter = tuple(token_id for letter in "the" for token_id in codec.encode_text(letter))
    assert list(letter_by_letter) != codec.encode_text("the")
    sequence = codec.student_sequence(
        question="q", solution="s", explanation=ExplanationPiece(token_ids=letter_by_letter)
    )
    assert sequence.token_ids[sequence.explanation.start : sequence.explanation.end] == letter_by_letter


def test_the_rest_of_a_straddling_token_stands_after_the_explanation_and_outside_its_span(
    codec: TokenizerCodec,
) -> None:
    ids = tuple(codec.encode_text("So it is two"))
    piece = ExplanationPiece(token_ids=ids, rest=".")
    sequence = codec.student_sequence(question="q", solution="s", explanation=piece)
    rest = sequence.spans[SegmentKind.EXPLANATION_REST]
    assert rest.start == sequence.explanation.end
    assert spanned_text(codec, sequence, SegmentKind.EXPLANATION_REST) == "."
    assert sequence.token_ids[sequence.explanation.start : sequence.explanation.end] == ids
    assert "So it is two.<|end_of_thought|>" in codec.decode(sequence.token_ids)


def test_an_empty_explanation_has_an_empty_span_between_its_tags(codec: TokenizerCodec) -> None:
    for piece in (ExplanationPiece(), ExplanationPiece(token_ids=())):
        sequence = codec.student_sequence(question="q", solution="s", explanation=piece)
        assert len(sequence.explanation) == 0
        before = codec.decode(sequence.token_ids[: sequence.explanation.start])
        assert before.endswith(STRATOS_1.thought_open)


@pytest.mark.parametrize("bad", [2, 0, 10**6, -1])
def test_control_ids_and_ids_outside_the_vocabulary_are_refused_as_an_explanation(
    codec: TokenizerCodec, bad: int
) -> None:
    with pytest.raises(InvalidTokenIdsError, match=f"{bad} at position 1"):
        codec.student_sequence(question="q", solution="s", explanation=ExplanationPiece(token_ids=(70, bad)))


def test_a_lone_surrogate_is_refused_with_its_place(codec: TokenizerCodec) -> None:
    with pytest.raises(InvalidRequestError, match=r"U\+D83D\) at character 2") as caught:
        codec.teacher_sequence(question="ab\ud83d", solution="s")
    assert caught.value.param == "/question"


@given(text=st.text())
def test_text_is_encoded_whole_without_control_tokens(codec: TokenizerCodec, text: str) -> None:
    ids = codec.encode_text(text)
    assert codec.decode(ids) == text
    assert codec.control_token_ids.isdisjoint(ids)


@given(ids=st.lists(st.integers(min_value=0, max_value=268)))
def test_token_texts_joined_are_the_decoded_whole(codec: TokenizerCodec, ids: list[int]) -> None:
    pieces = codec.token_texts(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == codec.decode(ids)


def test_a_split_character_stands_with_the_token_that_completes_it(codec: TokenizerCodec) -> None:
    # U+6F22 is three bytes, each a token of its own here.
    assert codec.token_texts(codec.encode_text("\u6f22.")) == ["", "", "\u6f22", "."]


def test_decode_writes_control_tokens_out(codec: TokenizerCodec) -> None:
    assert codec.decode([1, 2]) == "<|im_start|><|im_end|>"


def test_decode_refuses_ids_that_are_none(codec: TokenizerCodec) -> None:
    with pytest.raises(InvalidTokenIdsError, match="token id 269 at position 0"):
        codec.decode([269])


@pytest.mark.parametrize(
    ("bad", "reason"), [(-1, "no token id"), (269, "no token id"), (True, "no token id"), (1, "control token")]
)
def test_token_ids_of_callers_are_checked_one_by_one(codec: TokenizerCodec, bad: int, reason: str) -> None:
    with pytest.raises(InvalidTokenIdsError, match=f"{bad} at position 2 is (a|no) .*") as caught:
        codec.check_token_ids([70, 71, bad, 72], param="/tokens")
    assert reason in caught.value.detail
    assert caught.value.param == "/tokens"


def test_an_end_token_is_allowed_only_last_and_only_where_it_may_stand(codec: TokenizerCodec) -> None:
    codec.check_token_ids([70, 2], param="/tokens", allow_end=True)
    codec.check_token_ids([], param="/tokens")
    with pytest.raises(InvalidTokenIdsError):
        codec.check_token_ids([70, 2], param="/tokens")
    with pytest.raises(InvalidTokenIdsError):
        codec.check_token_ids([2, 70], param="/tokens", allow_end=True)
    with pytest.raises(InvalidTokenIdsError):
        codec.check_token_ids([70, 1], param="/tokens", allow_end=True)
