"""Translate between the engine's requests and vLLM's: sampling parameters out, completions and scores back."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import math
from collections.abc import Collection, Sequence
from typing import Literal

from vllm import RequestOutput, SamplingParams
from vllm.logprobs import FlatLogprobs
from vllm.sampling_params import RequestOutputKind

from rlt_core.errors import EngineUnavailableError, ScoringError
from rlt_service.engine.prompt_rows import ScoringParameters
from rlt_service.engine.protocol import (
    Completion,
    CompletionDelta,
    GenerateRequest,
    SequenceScoreRequest,
    SequenceScoreResult,
)

_SEEDS = 2**62
_ENDS: tuple[Literal["stop", "length"], ...] = ("stop", "length")


def generation_params(
    request: GenerateRequest,
    *,
    index: int,
    end_ids: Collection[int],
    banned_ids: Collection[int],
    in_deltas: bool,
) -> SamplingParams:
    """Sample one completion: it ends at the stop text, keeps the tokens of it, and never holds a banned id."""
    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        max_tokens=request.max_tokens,
        # Samples of one request, and of requests with neighbouring seeds, must differ.
        seed=None if request.seed is None else (request.seed * 1_000_003 + index) % _SEEDS,
        stop=[text for text in (request.stop_text, *request.further_stops) if text],
        include_stop_str_in_output=True,
        stop_token_ids=sorted(end_ids),
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        logit_bias=dict.fromkeys(banned_ids, -math.inf),
        logprobs=0,
        flat_logprobs=True,
        output_kind=RequestOutputKind.DELTA if in_deltas else RequestOutputKind.FINAL_ONLY,
    )


def score_params(parameters: ScoringParameters | None, *, read_cache: bool) -> SamplingParams:
    """Score a prompt by our worker or, without parameters, as vLLM does (all positions, temperature 1)."""
    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        skip_reading_prefix_cache=not read_cache,
        extra_args=None if parameters is None else parameters.as_extra_args(),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def delta_of(output: RequestOutput, *, index: int) -> CompletionDelta:
    """Read what was sampled; raises ScoringError where its log-probs are not one finite number for each token."""
    generated = output.outputs[0]
    if generated.finish_reason not in (None, *_ENDS):
        raise _ended_by(generated.finish_reason)
    ids = tuple(generated.token_ids)
    logprobs = generated.logprobs
    if not isinstance(logprobs, FlatLogprobs) or tuple(logprobs.token_ids) != ids:
        raise ScoringError(f"The engine gave log-probs that do not match the {len(ids)} tokens it generated.")
    check_finite(logprobs.logprobs)
    return CompletionDelta(index=index, token_ids=ids, logprobs=tuple(logprobs.logprobs))


def completion_of(last: RequestOutput | None, deltas: Sequence[CompletionDelta], *, index: int) -> Completion:
    """Put a completion together; `last` says how it ended. Raises EngineUnavailableError where it did not."""
    reason = None if last is None else last.outputs[0].finish_reason
    if last is None or reason not in _ENDS:
        raise _ended_by(reason)
    return Completion(
        index=index,
        token_ids=tuple(token for delta in deltas for token in delta.token_ids),
        logprobs=tuple(logprob for delta in deltas for logprob in delta.logprobs),
        finish_reason=reason,
        cached_tokens=last.num_cached_tokens or 0,
    )


def score_of(output: RequestOutput, request: SequenceScoreRequest, *, first: int) -> SequenceScoreResult:
    """Read the wanted log-probs; `first` is the position of the first one that the engine was to give.

    Raises ScoringError for a missing, surplus, misplaced or non-finite one.
    """
    logprobs = output.prompt_logprobs
    wanted = list(request.token_ids[first:])
    if not isinstance(logprobs, FlatLogprobs) or logprobs.token_ids != wanted:
        given = len(logprobs.token_ids) if isinstance(logprobs, FlatLogprobs) else 0
        raise ScoringError(f"The engine gave {given} log-probs where {len(wanted)} positions were to be scored.")
    values = logprobs.logprobs[request.start - first :]
    check_finite(values)
    return SequenceScoreResult(logprobs=tuple(values), cached_tokens=output.num_cached_tokens or 0)


def _ended_by(reason: str | None) -> EngineUnavailableError:
    return EngineUnavailableError(f"The engine ended a generation ({reason}); send it again.")


def check_finite(logprobs: list[float]) -> None:
    """Raise ScoringError for a log-prob that is NaN or infinite."""
    if all(map(math.isfinite, logprobs)):
        return
    position, value = next((p, v) for p, v in enumerate(logprobs) if not math.isfinite(v))
    raise ScoringError(f"The engine gave the log-prob {value} for the {position + 1}th token asked for.")
