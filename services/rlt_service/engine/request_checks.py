"""Refuse requests that an engine cannot carry out as written, and results that are not what was asked for."""

import math
from collections.abc import Sequence

from rlt_core.errors import InvalidRequestError, InvalidTokenIdsError, PromptTooLongError, ScoringError
from rlt_core.rewards import check_logprobs
from rlt_core.schemas.base import MIN_TEMPERATURE
from rlt_service.engine.protocol import EngineInfo, GenerateRequest, SequenceScoreRequest, SequenceScoreResult


def check_generate(request: GenerateRequest, *, info: EngineInfo, vocab_size: int) -> None:
    """Raise for an empty or too long prompt, ids outside the vocabulary, and sampling values out of range."""
    prompt = len(request.prompt_token_ids)
    if prompt < 1 or request.max_tokens < 1 or request.n < 1:
        raise InvalidRequestError(
            f"Generation needs a prompt, max_tokens and n of at least 1; got {prompt} prompt tokens, "
            f"max_tokens {request.max_tokens}, n {request.n}."
        )
    if prompt + request.max_tokens > info.max_model_len:
        raise PromptTooLongError(
            f"The prompt has {prompt} tokens and max_tokens is {request.max_tokens}: together "
            f"{prompt + request.max_tokens}, the engine holds {info.max_model_len}. Shorten the prompt or lower "
            "max_tokens."
        )
    samples = math.isfinite(request.temperature) and request.temperature >= MIN_TEMPERATURE
    if not (samples or request.temperature == 0.0) or not 0.0 < request.top_p <= 1.0:
        raise InvalidRequestError(
            f"temperature must be 0 or at least {MIN_TEMPERATURE}, and top_p in (0, 1]; got {request.temperature} and "
            f"{request.top_p}."
        )
    if request.top_k < 0:
        raise InvalidRequestError(f"top_k must be 0, for all tokens, or at least 1; got {request.top_k}.")
    _check_ids(request.prompt_token_ids, vocab_size=vocab_size)


def check_score(request: SequenceScoreRequest, *, info: EngineInfo, vocab_size: int) -> None:
    """Raise for a sequence that is too long, has no wanted position, or a temperature that divides nothing."""
    length = len(request.token_ids)
    if length > info.max_model_len:
        raise PromptTooLongError(
            f"The sequence has {length} tokens, the engine holds {info.max_model_len}. Shorten question, explanation "
            "or solution."
        )
    if not 1 <= request.start < length:
        raise InvalidRequestError(f"Scoring starts at {request.start}; it must lie in [1, {length}).")
    if not (math.isfinite(request.temperature) and request.temperature >= MIN_TEMPERATURE):
        raise InvalidRequestError(
            f"Scoring needs a temperature of at least {MIN_TEMPERATURE}, got {request.temperature}."
        )
    check_temperature(request.temperature, info=info)
    _check_ids(request.token_ids, vocab_size=vocab_size)


def check_temperature(temperature: float, *, info: EngineInfo, param: str | None = None) -> None:
    """Raise for another temperature than 1 where the engine scores plainly; `param` names the field at fault."""
    if temperature != 1.0 and info.scoring == "plain":
        raise InvalidRequestError(
            f"This engine scores at temperature 1 only (got {temperature}): its scoring worker did not pass the check "
            "at start, see the server's log. Ask for temperature 1.",
            param=param,
        )


def _check_ids(token_ids: Sequence[int], *, vocab_size: int) -> None:
    low, high = min(token_ids), max(token_ids)
    if low < 0 or high >= vocab_size:
        raise InvalidTokenIdsError(
            f"Token id {low if low < 0 else high} is outside the vocabulary [0, {vocab_size}). Send ids of this model."
        )


def check_results(requests: Sequence[SequenceScoreRequest], results: Sequence[SequenceScoreResult]) -> None:
    """Raise ScoringError unless each request has its result, of exactly one log-prob for each wanted position."""
    if len(results) != len(requests):
        raise ScoringError(f"the engine gave {len(results)} results for {len(requests)} sequences: none is used")
    for request, result in zip(requests, results, strict=True):
        wanted = len(request.token_ids) - request.start
        if len(result.logprobs) != wanted:
            raise ScoringError(f"the engine gave {len(result.logprobs)} log-probs for {wanted} tokens: none is used")
        check_logprobs(result.logprobs, name="the engine's")
