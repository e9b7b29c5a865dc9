"""Own whether the rows of a job fit the engine and its own `max_tokens`, counted in tokens before anything starts."""

import heapq
from collections.abc import Sequence

from rlt_core.errors import InvalidRequestError, PromptTooLongError
from rlt_core.formats import ExplanationPiece
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_core.tokens import SequenceCodec

ENCODED_ROWS = 500
"""Only the rows with the most text are encoded: they are the long ones, and a submission has to answer soon."""


def longest_prompt(rows: Sequence[DatasetRow], *, spec: RlSpec, codec: SequenceCodec, max_model_len: int) -> int:
    """Count the tokens of the longest teacher prompt.

    Raises PromptTooLongError when it, or what the student reads, does not fit beside `max_tokens` of explanation.
    """
    empty = ExplanationPiece()
    longest = 0
    for row in heapq.nlargest(ENCODED_ROWS, rows, key=_text_bytes):
        teacher = len(codec.teacher_sequence(question=row.question, solution=row.solution).token_ids)
        student = len(codec.student_sequence(question=row.question, solution=row.solution, explanation=empty).token_ids)
        for reader, tokens in (("teacher's prompt", teacher), ("student's text around the explanation", student)):
            if tokens + spec.max_tokens > max_model_len:
                raise PromptTooLongError(
                    f"the {reader} of row {row.id!r} has {tokens} tokens; with max_tokens = {spec.max_tokens} that is "
                    f"{tokens + spec.max_tokens}, more than the {max_model_len} that the engine holds: lower "
                    "max_tokens, or shorten or drop the row",
                    param="/max_tokens",
                )
        longest = max(longest, teacher)
    return longest


def check_some_row_fits(rows: Sequence[DatasetRow], *, spec: WarmupSpec, codec: SequenceCodec) -> None:
    """Raise InvalidRequestError when a warm-up would drop every row for being longer than `max_tokens`."""
    encode = codec.teacher_sequence if spec.role == "teacher" else codec.student_sequence
    shortest: int | None = None
    for row in heapq.nsmallest(ENCODED_ROWS, rows, key=_text_bytes):
        trace = ExplanationPiece(text=row.reasoning_trace or "")
        tokens = len(encode(question=row.question, solution=row.solution, explanation=trace).token_ids)
        if tokens <= spec.max_tokens:
            return
        shortest = tokens if shortest is None else min(shortest, tokens)
    raise InvalidRequestError(
        f"every row is longer than max_tokens = {spec.max_tokens}; the shortest has {shortest} tokens: raise it",
        param="/max_tokens",
    )


def _text_bytes(row: DatasetRow) -> int:
    return sum(len(text.encode()) for text in (row.question, row.solution, row.reasoning_trace or ""))
