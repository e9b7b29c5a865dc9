"""Own what the log-probs of sampled completions are of: the model's whole softmax at the temperature, or scored anew.

An engine that samples from part of the distribution gives log-probs that are renormalised over that part.
"""

from collections.abc import Sequence
from dataclasses import replace

from rlt_service.engine.protocol import Completion, Engine, GenerateRequest, SequenceScoreRequest
from rlt_service.engine.request_checks import check_results

GREEDY_TEMPERATURE = 1.0
"""Greedy has no distribution of its own: its log-probs are those at 1."""


def logprob_temperature(temperature: float) -> float:
    """Give the temperature that the log-probs of completions are at, which were sampled at `temperature`."""
    return temperature or GREEDY_TEMPERATURE


def is_cut_off(*, top_p: float, top_k: int) -> bool:
    """Tell whether part of the distribution is not sampled from, so that sampled log-probs are renormalised."""
    return top_p < 1.0 or top_k > 0


async def scored_anew(completions: Sequence[Completion], *, asked: GenerateRequest, engine: Engine) -> list[Completion]:
    """Score completions by what sampled them, so that their log-probs are the model's own (method: the reward)."""
    requests = [
        SequenceScoreRequest(
            token_ids=(*asked.prompt_token_ids, *completion.token_ids),
            start=len(asked.prompt_token_ids),
            temperature=logprob_temperature(asked.temperature),
            adapter=asked.adapter,
            cache_salt=asked.cache_salt,
        )
        for completion in completions
    ]
    results = await engine.score(requests)
    check_results(requests, results)
    return [replace(made, logprobs=result.logprobs) for made, result in zip(completions, results, strict=True)]
