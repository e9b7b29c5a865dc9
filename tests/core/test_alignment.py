"""Two tokenizations of one text: pieces worked out by hand, and what must hold for any cuts."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.alignment import CommonPieces, common_pieces
from rlt_core.errors import ScoringError
from rlt_core.rewards import KlEstimator, kl_per_token
from rlt_core.tokens import Span

texts = st.text(max_size=12).map(str.encode)
logprobs = st.floats(min_value=-50.0, max_value=0.0)


@st.composite
def cuts(draw: st.DrawFn, text: bytes) -> list[bytes]:
    """Cut a text anywhere, within characters too; sometimes a token without bytes is among the pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in pairwise([0, *places, len(text)]) if start < end or draw(st.booleans())]


@st.composite
def scored(draw: st.DrawFn, pieces: list[bytes]) -> list[float]:
    return draw(st.lists(logprobs, min_size=len(pieces), max_size=len(pieces)))


def spans(*ends: int) -> tuple[Span, ...]:
    return tuple(Span(start=start, end=end) for start, end in pairwise([0, *ends]))


def bytes_of(pieces: list[bytes], found: tuple[Span, ...]) -> list[bytes]:
    return [b"".join(pieces[span.start : span.end]) for span in found]


def kl(
    found: CommonPieces, teacher_T: list[float], student: list[float], *, estimator: KlEstimator = "k1"
) -> list[float]:
    ours_T, theirs_T = found.by_teacher_token(teacher_logprobs_T=teacher_T, student_logprobs=student)
    return kl_per_token(teacher_logprobs_T=ours_T, student_logprobs_T=theirs_T, estimator=estimator)


def test_a_text_is_cut_where_both_tokenizers_cut_it() -> None:
    #  teacher |the| 4|2|      student |t|he |42|: they agree at 0, and at the end only; with |the| |42| at 3 and 4 too
    assert common_pieces(teacher=[b"the", b" 4", b"2"], student=[b"t", b"he ", b"42"]) == CommonPieces(
        teacher=spans(3), student=spans(3)
    )
    assert common_pieces(teacher=[b"the", b" ", b"4", b"2"], student=[b"t", b"he", b" ", b"42"]) == CommonPieces(
        teacher=spans(1, 2, 4), student=spans(2, 3, 4)
    )


def test_a_pieces_log_ratio_is_spread_evenly_over_the_teachers_tokens() -> None:
    found = common_pieces(teacher=[b"a", b"b", b"c"], student=[b"ab", b"c"])
    # ab: teacher -1 - 2 = -3, student -0.5: ratio -2.5, that is -1.25 on a and on b; c: -0.25 + 2 = 1.75
    kl_T = kl(found, [-1.0, -2.0, -0.25], [-0.5, -2.0])
    assert kl_T == pytest.approx([-1.25, -1.25, 1.75])
    # k3 of the spread ratios: -1.25 - 1 + e^1.25 = 1.240343; 1.75 - 1 + e^-1.75 = 0.923774
    assert kl(found, [-1.0, -2.0, -0.25], [-0.5, -2.0], estimator="k3") == pytest.approx([1.240343, 1.240343, 0.923774])
    # The student's tokens: all of ab's on its one token.
    assert found.by_student_token(kl_T) == pytest.approx([-2.5, 1.75])


def test_characters_that_are_split_over_tokens_are_cut_by_their_bytes() -> None:
    first, second = "\u00e9".encode()[:1], "\u00e9".encode()[1:]
    found = common_pieces(teacher=[first, second, b"!"], student=[b"", first, second + b"!"])
    assert found == CommonPieces(teacher=spans(1, 3), student=spans(2, 3))


def test_what_follows_the_last_common_border_is_left_out() -> None:
    # The student's last token reaches from T into the rest of a straddling token.
    assert common_pieces(teacher=[b"4", b"!"], student=[b"4", b"!."], rest=b".") == CommonPieces(
        teacher=spans(1), student=spans(1)
    )
    assert common_pieces(teacher=[b"4", b"!"], student=[b"4", b"!", b"."], rest=b".") == CommonPieces(
        teacher=spans(1, 2), student=spans(1, 2)
    )
    assert common_pieces(teacher=[b"4"], student=[b"4."], rest=b".") == CommonPieces(teacher=(), student=())


def test_a_difference_between_the_texts_is_one_piece_and_its_neighbours_stay() -> None:
    # An accent composed by the student's tokenizer: bytes 65 cc 81 became c3 a9.
    accent = [b"e", "\u0301".encode()]
    found = common_pieces(teacher=[b"a", *accent, b"b", b"c"], student=[b"a", "\u00e9".encode(), b"b", b"c"])
    assert found == CommonPieces(teacher=spans(1, 3, 4, 5), student=spans(1, 2, 3, 4))
    # Half a character at the end, which the student reads as U+FFFD.
    found = common_pieces(teacher=[b"a", b"\xc3"], student=[b"a", "\ufffd".encode()])
    assert found == CommonPieces(teacher=spans(1, 2), student=spans(1, 2))
    # The first bytes of U+FFFD itself, cut off: nothing of the teacher's stands for the third.
    found = common_pieces(teacher=[b"a", b"\xef\xbf"], student=[b"a", b"\xef\xbf", b"\xbd"])
    assert found == CommonPieces(teacher=spans(1, 2), student=spans(1, 3))


@given(text=texts, data=st.data())
def test_equal_tokenizations_give_the_very_divergence_of_each_token(text: bytes, data: st.DataObject) -> None:
    pieces = [piece for piece in data.draw(cuts(text)) if piece]
    teacher_T, student_T = data.draw(scored(pieces)), data.draw(scored(pieces))
    found = common_pieces(teacher=pieces, student=pieces)
    for estimator in ("k1", "k3"):
        expected = kl_per_token(teacher_logprobs_T=teacher_T, student_logprobs_T=student_T, estimator=estimator)
        assert kl(found, teacher_T, student_T, estimator=estimator) == expected
    assert found.by_student_token(teacher_T) == teacher_T


@given(text=texts.filter(bool), data=st.data())
def test_the_mean_is_the_whole_texts_log_ratio_by_the_number_of_the_teachers_tokens(
    text: bytes, data: st.DataObject
) -> None:
    teacher = data.draw(cuts(text).filter(lambda pieces: bool(pieces[0])))
    student = data.draw(cuts(text))
    teacher_T, student_logprobs = data.draw(scored(teacher)), data.draw(scored(student))
    found = common_pieces(teacher=teacher, student=student)
    kl_T = kl(found, teacher_T, student_logprobs)
    assert len(kl_T) == len(teacher)
    whole = math.fsum(teacher_T) - math.fsum(student_logprobs)
    assert math.fsum(kl_T) / len(kl_T) == pytest.approx(whole / len(teacher))
    assert math.fsum(found.by_student_token(kl_T)) == pytest.approx(whole)


@given(text=texts, rest=texts, data=st.data())
def test_pieces_are_the_same_bytes_in_both_and_none_could_be_cut_further(
    text: bytes, rest: bytes, data: st.DataObject
) -> None:
    teacher = [piece for piece in data.draw(cuts(text)) if piece]
    student = [piece for piece in data.draw(cuts(text + rest)) if piece]
    found = common_pieces(teacher=teacher, student=student, rest=rest)
    assert bytes_of(teacher, found.teacher) == bytes_of(student, found.student)
    ends = {len(b"".join(teacher[:count])) for count in range(1, len(teacher) + 1)}
    common = ends & {len(b"".join(student[:count])) for count in range(1, len(student) + 1)}
    assert {len(b"".join(teacher[: span.end])) for span in found.teacher} == common


@given(teacher=st.lists(st.binary(max_size=3), max_size=6), student=st.lists(st.binary(max_size=3), max_size=6))
def test_texts_that_differ_still_leave_no_token_out_and_no_piece_empty(
    teacher: list[bytes], student: list[bytes]
) -> None:
    found = common_pieces(teacher=teacher, student=student)
    for pieces in (found.teacher, found.student):
        assert all(len(span) for span in pieces)
        assert all(one.end == other.start for one, other in pairwise(pieces))
    assert len(found.teacher) == len(found.student)
    if found.teacher:
        assert (found.teacher[-1].end, found.student[-1].end) == (len(teacher), len(student))
        assert found.teacher[0].start == found.student[0].start == 0


def test_without_tokens_there_is_no_piece() -> None:
    assert common_pieces(teacher=[], student=[]) == CommonPieces(teacher=(), student=())
    assert common_pieces(teacher=[], student=[b"."], rest=b".") == CommonPieces(teacher=(), student=())


def test_missing_and_impossible_logprobs_are_refused() -> None:
    found = common_pieces(teacher=[b"a", b"b"], student=[b"ab"])
    with pytest.raises(ScoringError, match="1 values for 2 tokens"):
        found.by_teacher_token(teacher_logprobs_T=[-1.0], student_logprobs=[-1.0])
    # Each would disappear in the sum with its neighbour.
    for bad in (math.nan, -math.inf, 0.5):
        with pytest.raises(ScoringError, match=r"teacher log-prob .* at position 1"):
            found.by_teacher_token(teacher_logprobs_T=[-1.0, bad], student_logprobs=[-1.0])
        with pytest.raises(ScoringError, match=r"student log-prob .* at position 0"):
            found.by_teacher_token(teacher_logprobs_T=[-1.0, -1.0], student_logprobs=[bad])
