"""Own how a training job cuts its rows into steps and passes: what the trainer does and a dry run foretells. Pure."""

import math

MICRO_BATCH_TOKENS = 4096
"""Tokens in one forward and backward pass at most: what 24 GiB hold of a small model's activations in fp32."""


EXAMPLE_TOKEN_BYTES = 8
"""Of a token of supervised fine-tuning as it lies on disk: its id and its label."""


def micro_batch_rows(rows: int, *, tokens_per_row: int) -> int:
    """Choose the largest divisor of `rows` whose tokens fit into one pass (at least 1)."""
    fitting = [size for size in range(1, rows + 1) if rows % size == 0 and size * tokens_per_row <= MICRO_BATCH_TOKENS]
    return max(fitting, default=1)


def epoch_steps(*, rows: int, batch: int, epochs: float, max_steps: int | None) -> int:
    """Count the optimizer steps over `rows`; an epoch's last batch may be smaller."""
    whole = max(1, math.ceil(epochs * math.ceil(rows / batch)))
    return whole if max_steps is None else min(whole, max_steps)


def passed_tokens(*, longest_prompt: int, max_tokens: int, samples: int, shares: bool) -> int:
    """Count the tokens that one completion bears of a pass; a shared prompt is computed once for its samples."""
    return max_tokens + (math.ceil(longest_prompt / samples) if shares else longest_prompt)
