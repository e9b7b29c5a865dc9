"""How a score is asked of vLLM and read from its answer: as our worker in the V1 or V2 runner has it, or plainly."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from vllm import RequestOutput, SamplingParams
from vllm.sampling_params import RequestOutputKind

from rlt_core.errors import ScoringError
from rlt_service.engine.prompt_rows import ScoringParameters
from rlt_service.engine.protocol import SequenceScoreRequest, SequenceScoreResult
from rlt_service.engine.vllm_requests import check_finite, score_of, score_params

VariantName = Literal["v1", "v2"]


class ScoringVariant(Protocol):
    """One way to have a prompt scored."""

    def params(self, request: SequenceScoreRequest, *, read_cache: bool) -> SamplingParams:
        """Ask for the wanted positions."""
        ...

    def has_gap(self, output: RequestOutput, request: SequenceScoreRequest) -> bool:
        """Tell whether wanted positions were not computed since they, or the one before, came from the cache."""
        ...

    def read(self, output: RequestOutput, request: SequenceScoreRequest) -> SequenceScoreResult:
        """Read the wanted log-probs; raises ScoringError for a missing, surplus, misplaced or non-finite one."""
        ...


@dataclass(frozen=True, slots=True)
class V1Scoring:
    """Our worker in the V1 runner (`scoring_runner.py`): prompt log-probs that begin at the wanted start."""

    def params(self, request: SequenceScoreRequest, *, read_cache: bool) -> SamplingParams:
        """Send start and temperature beside an order for prompt log-probs."""
        return score_params(_parameters(request), read_cache=read_cache)

    def has_gap(self, output: RequestOutput, request: SequenceScoreRequest) -> bool:
        """Compare what was cached with the hidden state before the start."""
        return _reached_by_cache(output, request)

    def read(self, output: RequestOutput, request: SequenceScoreRequest) -> SequenceScoreResult:
        """Read prompt log-probs from the wanted start on."""
        return score_of(output, request, first=request.start)


@dataclass(frozen=True, slots=True)
class V2Scoring:
    """Our worker in the V2 runner (`scoring_runner_v2.py`): log-probs of given ids from a start row on.

    **Not run on a GPU.** Leans on vLLM 0.32: `SamplingParams.prompt_logprob_token_ids` and `prompt_logprob_start` (the
    V1 runner refuses them), `RequestOutput.prompt_token_id_logprobs`.
    """

    def params(self, request: SequenceScoreRequest, *, read_cache: bool) -> SamplingParams:
        """Send the ids to score and their first row, and the temperature beside them."""
        return SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprob_token_ids=np.array(request.token_ids[request.start :], dtype=np.int32)[:, None],
            prompt_logprob_start=request.start - 1,
            detokenize=False,
            skip_reading_prefix_cache=not read_cache,
            extra_args=_parameters(request).as_extra_args(),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def has_gap(self, output: RequestOutput, request: SequenceScoreRequest) -> bool:
        """Look at the scores too: a preempted prompt may have been resumed on cached blocks of its own."""
        scores = output.prompt_token_id_logprobs
        return _reached_by_cache(output, request) or scores is None or bool(np.isnan(scores).any())

    def read(self, output: RequestOutput, request: SequenceScoreRequest) -> SequenceScoreResult:
        """Read the scores of the given ids."""
        scores, wanted = output.prompt_token_id_logprobs, len(request.token_ids) - request.start
        if scores is None or scores.shape != (wanted, 1):
            given = "none" if scores is None else f"an array of {scores.shape}"
            raise ScoringError(f"The engine gave {given} where {wanted} positions were to be scored.")
        logprobs: list[float] = scores[:, 0].tolist()
        check_finite(logprobs)
        return SequenceScoreResult(logprobs=tuple(logprobs), cached_tokens=output.num_cached_tokens or 0)


@dataclass(frozen=True, slots=True)
class PlainScoring:
    """vLLM's own prompt log-probs, of either runner: every position, temperature 1, no cache."""

    def params(self, request: SequenceScoreRequest, *, read_cache: bool) -> SamplingParams:
        """Ask for all positions; the cache is never read, since a cached position has no log-prob."""
        return score_params(None, read_cache=False)

    def has_gap(self, output: RequestOutput, request: SequenceScoreRequest) -> bool:
        """Nothing comes from the cache."""
        return False

    def read(self, output: RequestOutput, request: SequenceScoreRequest) -> SequenceScoreResult:
        """Read prompt log-probs of all positions, and keep the wanted ones."""
        return score_of(output, request, first=1)


VARIANTS: dict[VariantName, ScoringVariant] = {"v1": V1Scoring(), "v2": V2Scoring()}
"""By what the worker reports."""

PLAIN: ScoringVariant = PlainScoring()


def _parameters(request: SequenceScoreRequest) -> ScoringParameters:
    return ScoringParameters(start=request.start, temperature=request.temperature)


def _reached_by_cache(output: RequestOutput, request: SequenceScoreRequest) -> bool:
    # The log-prob at `start` comes from the hidden state one before it, which a cached position does not have.
    return (output.num_cached_tokens or 0) > request.start - 1
