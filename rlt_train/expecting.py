"""Own the refusal of an answer that is not what was asked for."""

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from rlt_train.errors import RolloutMismatchError


class Sampled(Protocol):
    """Ids and log-probs of a completion as the engine sampled it."""

    prompt_token_ids: list[int]
    completion_token_ids: list[int]
    completion_logprobs: list[float]
    temperature: float


SampledT = TypeVar("SampledT", bound=Sampled)


def expect(seen: object, wanted: object, *, what: str) -> None:
    """Raise RolloutMismatchError unless an answer says what was asked for."""
    if seen != wanted:
        shown = f"asked for {_short(wanted)}, got {_short(seen)}"
        raise RolloutMismatchError(f"{what}: {shown}; nothing of this answer is used")


def expect_tokens(tokens: SampledT | None, *, prompt: Sequence[int], temperature: float, of: str) -> SampledT:
    """Give the tokens that came with `of`, such as "an explanation".

    Raises RolloutMismatchError where none came, they follow another prompt than ours, or their log-probs are at another
    temperature, too few or not finite.
    """
    if tokens is None or not tokens.completion_token_ids:
        raise RolloutMismatchError(f"{of} came without its token ids although they were asked for")
    expect(tuple(tokens.prompt_token_ids), tuple(prompt), what="the prompt's token ids")
    expect(tokens.temperature, temperature, what="the temperature of the log-probs")
    expect(len(tokens.completion_logprobs), len(tokens.completion_token_ids), what="the number of log-probs")
    if not all(math.isfinite(value) for value in tokens.completion_logprobs):
        raise RolloutMismatchError(f"a log-prob of {of} is not finite")
    return tokens


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
