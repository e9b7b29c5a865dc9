"""Where two tokenizations of one text agree, and what log-probs by one mean for the tokens of the other. Pure.

T explanation tokens of the teacher. Works on bytes, so that characters split over tokens are exact.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rlt_core.errors import ScoringError
from rlt_core.rewards import check_logprobs
from rlt_core.tokens import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonPieces:
    """The smallest stretches of a text that two tokenizations both cut out: their tokens, piece by piece.

    Spans begin at 0 and follow one another; tokens after the last belong to no piece.
    """

    teacher: tuple[Span, ...]
    student: tuple[Span, ...]

    def by_teacher_token(
        self, *, teacher_logprobs_T: Sequence[float], student_logprobs: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """Give each teacher's token in a piece an even share of the piece's log-prob by teacher and by student.

        The shares' difference is the piece's log-ratio, spread evenly: summed over a piece it is exact, and where a
        piece is one token of both it is that token's. Raises ScoringError for what are no log-probs.
        """
        check_logprobs(teacher_logprobs_T, name="teacher")
        check_logprobs(student_logprobs, name="student")
        return (
            _spread(teacher_logprobs_T, of=self.teacher, over=self.teacher),
            _spread(student_logprobs, of=self.student, over=self.teacher),
        )

    def by_student_token(self, values_T: Sequence[float]) -> list[float]:
        """Give each student's token in a piece an even share of the values that the piece's teacher's tokens have."""
        return _spread(values_T, of=self.teacher, over=self.student)


def common_pieces(*, teacher: Sequence[bytes], student: Sequence[bytes], rest: bytes = b"") -> CommonPieces:
    """Cut a text where a token of the teacher and one of the student end at the same place.

    `teacher` are the bytes of its tokens T, `rest` what a token that straddled the closing tag holds after them
    (method: rule 4); `student` are the bytes of all tokens that it reads the same text in. What follows the last
    common border, tokens that reach from T into the rest among it, is in no piece.

    A tokenizer may hold the text a little differently (accents composed, U+FFFD for bytes that form no character):
    there no border counts as common from the first difference to the last, so that all between is one piece.
    """
    teacher_text, student_text = b"".join((*teacher, rest)), b"".join(student)
    front, back = _agreement(teacher_text, student_text)
    counts = {end: count for count, end in enumerate(accumulate(len(piece) for piece in student), start=1)}
    longer = len(student_text) - len(teacher_text)
    borders: list[tuple[int, int]] = []
    for count, end in enumerate(accumulate(len(piece) for piece in teacher), start=1):
        if end <= front and end in counts:
            borders.append((count, counts[end]))
        elif len(teacher_text) - end <= back and end + longer in counts:
            borders.append((count, counts[end + longer]))
    if not rest:
        borders.append((len(teacher), len(student)))  # both end with the text, whatever differs before
    return _between(borders)


def _between(borders: Sequence[tuple[int, int]]) -> CommonPieces:
    """Make pieces that hold a token of both at least; one that would not is part of the one before it."""
    ends: list[tuple[int, int]] = []
    for teacher_end, student_end in borders:
        before = ends[-1] if ends else (0, 0)
        if teacher_end > before[0] and student_end > before[1]:
            ends.append((teacher_end, student_end))
        elif ends:
            ends[-1] = (teacher_end, student_end)
    return CommonPieces(
        teacher=tuple(_spans(teacher_end for teacher_end, _ in ends)),
        student=tuple(_spans(student_end for _, student_end in ends)),
    )


def _spans(ends: Iterator[int]) -> Iterator[Span]:
    start = 0
    for end in ends:
        yield Span(start=start, end=end)
        start = end


def _agreement(one: bytes, other: bytes) -> tuple[int, int]:
    """Count the bytes from the front in which two texts are the same, then those from the back."""
    if one == other:
        return len(one), 0
    shorter = min(len(one), len(other))
    front = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    room = shorter - front
    back = next((place for place in range(room) if one[-1 - place] != other[-1 - place]), room)
    return front, back


def _spread(values: Sequence[float], *, of: Sequence[Span], over: Sequence[Span]) -> list[float]:
    """Sum the values of each span of `of`, and give every token of its counterpart in `over` an even share."""
    if of and len(values) < of[-1].end:
        raise ScoringError(f"{len(values)} values for {of[-1].end} tokens: exactly one is needed for each")
    return [
        math.fsum(values[held.start : held.end]) / len(taking)
        for held, taking in zip(of, over, strict=True)
        for _ in range(len(taking))
    ]
