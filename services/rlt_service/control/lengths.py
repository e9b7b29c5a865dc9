"""Own whether the rows of a job fit the engine and its own `max_tokens`, counted in tokens before anything starts."""

import heapq
import math
from collections.abc import Iterable, Sequence
from itertools import islice

from rlt_core.errors import InvalidRequestError, PromptTooLongError
from rlt_core.formats import ExplanationPiece
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.dry_run import Lengths
from rlt_core.schemas.jobs import PolicySpec, RlvrSpec, SupervisedSpec
from rlt_core.schemas.training import GrpoSpec
from rlt_core.statistics import mean
from rlt_core.tokens import SequenceCodec
from rlt_core.traces import longest_trace, trace_of

ENCODED_ROWS = 500
"""Only the rows with the most text are encoded: they are the long ones, and a submission has to answer soon."""
SAMPLED_ROWS = 2000
"""Rows that a dry run encodes besides."""


def longest_prompt(rows: Iterable[DatasetRow], *, spec: PolicySpec, codec: SequenceCodec, max_model_len: int) -> int:
    """Count the tokens of the longest prompt of the policy.

    Raises PromptTooLongError when it, or what a student reads of an explanation, does not fit beside `max_tokens`.
    """
    longest, examined = 0, heapq.nlargest(ENCODED_ROWS, rows, key=_text_bytes)
    too_long: list[str] = []
    for row in examined:
        read = _read_tokens(row, spec=spec, codec=codec)
        longest = max(longest, next(iter(read.values())))
        for reader, tokens in read.items():
            if tokens + spec.max_tokens > max_model_len:
                too_long.append(
                    f"the {reader} of row {row.id!r} has {tokens} tokens; with max_tokens = {spec.max_tokens} that is "
                    f"{tokens + spec.max_tokens}, more than the {max_model_len} that the engine holds"
                )
                break
    if too_long:
        raise PromptTooLongError(
            f"{too_long[0]}: lower max_tokens, or shorten or drop the row ({len(too_long)} of the {len(examined)} "
            "longest rows do not fit)",
            param="/max_tokens",
        )
    return longest


def measure_lengths(
    rows: Sequence[DatasetRow], *, spec: SupervisedSpec | PolicySpec, codec: SequenceCodec, max_model_len: int
) -> Lengths:
    """Count rows in tokens: all of them, or of many the longest and an even sample, of which the mean is."""
    numbers = range(len(rows))
    chosen = numbers[:: math.ceil(len(rows) / SAMPLED_ROWS)]
    sizes = map(_text_bytes, rows) if len(chosen) < len(rows) else ()
    longest = [number for _, number in heapq.nlargest(ENCODED_ROWS, zip(sizes, numbers, strict=False))]
    sample = [rows[number] for number in chosen]
    extra = [rows[number] for number in longest if number not in chosen]
    if isinstance(spec, GrpoSpec):
        counted = [tuple(_read_tokens(row, spec=spec, codec=codec).values()) for row in [*sample, *extra]]
        readers = [float(tokens[1]) for tokens in counted[: len(sample)] if len(tokens) > 1]
        prompts = [tokens[0] for tokens in counted]
        return Lengths(
            rows=len(rows),
            looked_at=len(sample) + len(extra),
            mean_tokens=mean([float(tokens) for tokens in prompts[: len(sample)]]),
            longest_tokens=max(prompts),
            mean_reader_tokens=mean(readers) if readers else None,
            limit_tokens=max_model_len - spec.max_tokens,
            too_long=0,  # `longest_prompt` refuses a spec with any
        )
    sampled = [_warmup_tokens(row, spec=spec, codec=codec) for row in sample]
    counts = [*sampled, *(_warmup_tokens(row, spec=spec, codec=codec) for row in extra)]
    fitting = [float(tokens) for tokens in sampled if tokens <= spec.max_tokens]
    return Lengths(
        rows=len(rows),
        looked_at=len(counts),
        mean_tokens=mean(fitting or [float(spec.max_tokens)]),
        longest_tokens=max(counts),
        limit_tokens=spec.max_tokens,
        too_long=sum(tokens > spec.max_tokens for tokens in counts),
    )


def first_fitting(
    rows: Sequence[DatasetRow], *, spec: SupervisedSpec, codec: SequenceCodec, max_model_len: int, count: int
) -> list[DatasetRow]:
    """Give the first rows that a warm-up trains on and that the engine can read."""
    limit = min(spec.max_tokens, max_model_len)
    return list(islice((row for row in rows if _warmup_tokens(row, spec=spec, codec=codec) <= limit), count))


def check_some_row_fits(rows: Sequence[DatasetRow], *, spec: SupervisedSpec, codec: SequenceCodec) -> None:
    """Raise InvalidRequestError when a warm-up would drop every row for being longer than `max_tokens`."""
    shortest: int | None = None
    for row in heapq.nsmallest(ENCODED_ROWS, rows, key=_text_bytes):
        tokens = _warmup_tokens(row, spec=spec, codec=codec)
        if tokens <= spec.max_tokens:
            return
        shortest = tokens if shortest is None else min(shortest, tokens)
    raise InvalidRequestError(
        f"every row is longer than max_tokens = {spec.max_tokens}; the shortest has {shortest} tokens: raise it",
        param="/max_tokens",
    )


def _read_tokens(row: DatasetRow, *, spec: PolicySpec, codec: SequenceCodec) -> dict[str, int]:
    """Count what is read beside a completion: the policy's prompt first; of an explanation also by the student."""
    if isinstance(spec, RlvrSpec):
        return {"student's prompt": len(codec.student_prompt(question=row.question).token_ids)}
    empty = ExplanationPiece()
    teacher = codec.teacher_sequence(question=row.question, solution=row.solution)
    student = codec.student_sequence(question=row.question, solution=row.solution, explanation=empty)
    return {
        "teacher's prompt": len(teacher.token_ids),
        "student's text around the explanation": len(student.token_ids),
    }


def _warmup_tokens(row: DatasetRow, *, spec: SupervisedSpec, codec: SequenceCodec) -> int:
    encode = codec.teacher_sequence if spec.role == "teacher" else codec.student_sequence
    trace = ExplanationPiece(text=trace_of(row, kind=spec.kind) or "")
    return len(encode(question=row.question, solution=row.solution, explanation=trace).token_ids)


def _text_bytes(row: DatasetRow) -> int:
    return sum(len(text.encode()) for text in (row.question, row.solution, longest_trace(row)))
