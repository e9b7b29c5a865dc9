"""Own how one budget of tokens becomes steps and rows a step, so that long and short texts train equally. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a student is trained on rows of some lengths."""

    batch: int
    """Rows a step."""
    steps: int
    tokens: float
    """That it comes to, as expected of whole epochs; the job counts those that were really trained on."""


def course_of(lengths: Sequence[int], *, budget: int, a_step: int) -> Course:
    """Choose rows a step, so that a step has about `a_step` tokens, then steps, so that all have about `budget`.

    `lengths` are tokens of each row's whole sequence. An epoch sees each row once, and its last step may be smaller, as
    the job's. Raises ValueError where there are no rows.
    """
    if not lengths:
        raise ValueError("no rows to train on")
    batch = min(len(lengths), max(1, round(a_step * len(lengths) / sum(lengths))))
    tokens_a_step = sum(lengths) / math.ceil(len(lengths) / batch)
    steps = max(1, round(budget / tokens_a_step))
    return Course(batch=batch, steps=steps, tokens=steps * tokens_a_step)
