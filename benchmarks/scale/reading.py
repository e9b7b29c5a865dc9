"""Measure what reading an answer of /explain costs its caller: seconds and bytes for each token of ids and log-probs.

One process of a trainer calls, so that it reads every token of a step.
"""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from rlt_client._calls import parse
from rlt_core.schemas.explain import ExplainResponse

NAMES = ("explain",)
SAMPLES, TOKENS, PROMPT = 64, 1_000, 500
WINDOW_S = 10.0
URL = httpx.URL("http://127.0.0.1/v1/explain")


def measure(pending: Sequence[str], *, share: float, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read one answer again and again."""
    for name in pending:
        body = answer(samples=SAMPLES, tokens=TOKENS, prompt=PROMPT).model_dump_json().encode()
        times, began_s = 0, time.process_time()
        while (past_s := time.process_time() - began_s) < WINDOW_S * share or not times:
            parse(body, into=ExplainResponse, url=URL)
            times += 1
        tokens = SAMPLES * TOKENS
        yield (
            name,
            {
                "samples": SAMPLES,
                "tokens_each": TOKENS,
                "read_us_a_token": round(1e6 * past_s / (times * tokens), 4),
                "bytes_a_token": round(len(body) / tokens, 2),
            },
        )


def answer(*, samples: int, tokens: int, prompt: int) -> ExplainResponse:
    """Make an answer with the ids of a vocabulary of 150,000."""
    dice = random.Random(1)

    def ids(count: int) -> list[int]:
        return [dice.randrange(150_000) for _ in range(count)]

    made = [
        {
            "index": index,
            "text": "x" * (4 * tokens),
            "finish_reason": "stop",
            "well_formed": True,
            "tokens": {
                "prompt_token_ids": ids(prompt),
                "completion_token_ids": ids(tokens),
                "completion_logprobs": [-dice.expovariate(1.0) for _ in range(tokens)],
                "explanation": [0, tokens - 1],
                "temperature": 0.7,
                "straddled": False,
            },
        }
        for index in range(samples)
    ]
    usage = {"prompt_tokens": samples * prompt, "completion_tokens": samples * tokens, "cached_tokens": 0}
    return ExplainResponse.model_validate(
        {
            "id": "exp_00000000000000000000",
            "created_at": "2026-01-01T00:00:00Z",
            "teacher": {"version": "algebra@3", "base_model": "base"},
            "format": "stratos@1",
            "engine": {"name": "fake", "version": "1"},
            "explanations": made,
            "usage": usage,
        }
    )
