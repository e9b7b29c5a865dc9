"""The format: what teacher and student read, segment by segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import NotFoundError
from rlt_core.formats import FORMATS, R1_1, STRATOS_1, ExplanationPiece, Format, Segment, SegmentKind, get_format


def tags(format: Format) -> set[str]:
    """Give the different tags of a format; an empty one is none."""
    written = (
        format.thought_open,
        format.thought_close,
        format.solution_open,
        format.solution_close,
        format.explanation_open,
        format.explanation_close,
    )
    return set(written) - {""}


def joined(segments: tuple[Segment, ...]) -> str:
    return "".join(segment.text for segment in segments)


def kinds(segments: tuple[Segment, ...]) -> list[SegmentKind]:
    return [segment.kind for segment in segments]


def test_the_teacher_reads_the_solution_and_stands_before_its_explanation() -> None:
    sequence = STRATOS_1.teacher(question="1+1?", solution="2")
    assert (sequence.instruction, sequence.question) == (STRATOS_1.teacher_instruction, "1+1?")
    assert joined(sequence.assistant) == ("<|begin_of_solution|>2<|end_of_solution|>\n\n<|begin_of_explanation|>")
    assert kinds(sequence.assistant) == [SegmentKind.TAG, SegmentKind.SOLUTION, SegmentKind.TAG]


def test_the_teachers_whole_sequence_closes_its_explanation() -> None:
    sequence = STRATOS_1.teacher(question="1+1?", solution="2", explanation=ExplanationPiece(text="Count."))
    assert joined(sequence.assistant) == (
        "<|begin_of_solution|>2<|end_of_solution|>\n\n<|begin_of_explanation|>Count.<|end_of_explanation|>"
    )


def test_the_student_reads_the_explanation_as_its_own_thought_before_the_solution() -> None:
    sequence = STRATOS_1.student(question="1+1?", solution="2", explanation=ExplanationPiece(text="Count."))
    assert (sequence.instruction, sequence.question) == (STRATOS_1.student_instruction, "1+1?")
    assert joined(sequence.assistant) == (
        "<|begin_of_thought|>Count.<|end_of_thought|>\n\n<|begin_of_solution|>2<|end_of_solution|>"
    )
    assert kinds(sequence.assistant) == [
        SegmentKind.TAG,
        SegmentKind.EXPLANATION,
        SegmentKind.TAG,
        SegmentKind.SOLUTION,
        SegmentKind.TAG,
    ]


def test_the_student_never_reads_the_teachers_tags() -> None:
    text = joined(STRATOS_1.student(question="q", solution="s", explanation=ExplanationPiece(text="e")).assistant)
    assert STRATOS_1.explanation_open not in text
    assert STRATOS_1.explanation_close not in text


def test_ids_and_the_rest_of_a_straddling_token_are_segments_of_their_own() -> None:
    piece = ExplanationPiece(token_ids=(5, 6), rest=".")
    sequence = STRATOS_1.student(question="q", solution="s", explanation=piece)
    assert sequence.assistant[1:3] == (
        Segment(kind=SegmentKind.EXPLANATION, token_ids=(5, 6)),
        Segment(kind=SegmentKind.EXPLANATION_REST, text="."),
    )


def test_an_empty_explanation_still_has_its_place() -> None:
    sequence = STRATOS_1.student(question="q", solution="s", explanation=ExplanationPiece())
    assert kinds(sequence.assistant)[1] is SegmentKind.EXPLANATION


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_no_tag_begins_where_it_ends_or_holds_another(format: Format) -> None:
    for tag in tags(format):
        assert not any(tag[:length] == tag[-length:] for length in range(1, len(tag)))
        assert [other for other in tags(format) if tag in other] == [tag]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_what_a_teacher_writes_has_an_end_that_differs_from_its_beginning(format: Format) -> None:
    assert format.explanation_close not in ("", format.explanation_open)


def test_in_r1_the_solution_stands_bare_and_the_teacher_explains_in_a_thought() -> None:
    whole = R1_1.teacher(question="1+1?", solution="2", explanation=ExplanationPiece(text="Count."))
    assert joined(whole.assistant) == "2\n\n<think>Count.</think>"
    student = R1_1.student(question="1+1?", solution="2", explanation=ExplanationPiece(text="Count."))
    assert joined(student.assistant) == "<think>Count.</think>\n\n2"
    # The same segments as in any format, those of the tags that it does not have being empty.
    assert kinds(student.assistant) == kinds(
        STRATOS_1.student(question="1+1?", solution="2", explanation=ExplanationPiece(text="Count.")).assistant
    )


def test_a_format_is_found_by_its_name_and_version() -> None:
    assert (get_format("stratos@1"), get_format("r1@1")) == (STRATOS_1, R1_1)
    assert all(format_id == found.id for format_id, found in FORMATS.items())
    with pytest.raises(NotFoundError, match=r"no format 'r2@7'; this server has r1@1, stratos@1"):
        get_format("r2@7")


@pytest.mark.parametrize("format", FORMATS.values(), ids=list(FORMATS))
@given(texts=st.tuples(*[st.text(max_size=20) | st.sampled_from(sorted(tags(STRATOS_1) | tags(R1_1)))] * 4))
def test_texts_stay_in_their_segments_whatever_they_say(format: Format, texts: tuple[str, str, str, str]) -> None:
    """A tag in a text is text: it opens and closes nothing."""
    question, solution, explanation, rest = texts
    piece = ExplanationPiece(text=explanation, rest=rest)
    plain = ExplanationPiece(text="e", rest="r" if rest else "")
    for made, usual in (
        (
            format.teacher(question=question, solution=solution, explanation=piece),
            format.teacher(question="q", solution="s", explanation=plain),
        ),
        (
            format.student(question=question, solution=solution, explanation=piece),
            format.student(question="q", solution="s", explanation=plain),
        ),
    ):
        assert kinds(made.assistant) == kinds(usual.assistant)
        assert (made.question, made.instruction) == (question, usual.instruction)
        told = {segment.kind: segment.text for segment in made.assistant if segment.kind != SegmentKind.TAG}
        wanted = {SegmentKind.SOLUTION: solution, SegmentKind.EXPLANATION: explanation}
        assert told == wanted | ({SegmentKind.EXPLANATION_REST: rest} if rest else {})
        assert [segment.text for segment in made.assistant if segment.kind == SegmentKind.TAG] == [
            segment.text for segment in usual.assistant if segment.kind == SegmentKind.TAG
        ]
