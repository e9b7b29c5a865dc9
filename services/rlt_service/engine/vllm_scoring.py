"""Scores on a vLLM engine: one sequence by our worker or, where that did not prove itself, by vLLM's own code."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Sequence

from vllm.lora.request import LoRARequest

from rlt_service.engine.prompt_rows import ScoringParameters
from rlt_service.engine.protocol import SequenceScoreRequest, SequenceScoreResult
from rlt_service.engine.self_check import CheckResult, check_scoring
from rlt_service.engine.vllm_requests import score_of, score_params
from rlt_service.engine.vllm_state import RunningVllm

RequestKey = tuple[tuple[int, ...], int, float, str | None]


def key_of(request: SequenceScoreRequest) -> RequestKey:
    """Give what makes two requests the same one."""
    adapter = request.adapter
    return (tuple(request.token_ids), request.start, request.temperature, None if adapter is None else adapter.version)


async def score_one(
    running: RunningVllm, request: SequenceScoreRequest, *, lora: LoRARequest | None
) -> SequenceScoreResult:
    """Score by our worker, again without the prefix cache where that reached into the wanted positions."""
    if running.info.scoring == "plain":
        output = await running.last_output(request.token_ids, score_params(None, read_cache=False), lora=lora)
        return score_of(output, request, first=1)
    parameters = ScoringParameters(start=request.start, temperature=request.temperature)
    output = await running.last_output(request.token_ids, score_params(parameters, read_cache=True), lora=lora)
    # The log-prob at `start` comes from the hidden state one before it, which a cached position does not have.
    if (output.num_cached_tokens or 0) > request.start - 1:
        output = await running.last_output(request.token_ids, score_params(parameters, read_cache=False), lora=lora)
    return score_of(output, request, first=request.start)


async def prove_scoring(running: RunningVllm) -> CheckResult:
    """Have the worker score a probe, have vLLM score it, compare (self_check.py)."""
    control = running.codec.control_token_ids

    async def by_worker(ids: Sequence[int], start: int) -> Sequence[float]:
        params = score_params(ScoringParameters(start=start, temperature=1.0), read_cache=False)
        output = await running.last_output(ids, params, lora=None)
        return score_of(output, _probe(ids, start), first=start).logprobs

    async def plainly(ids: Sequence[int], start: int) -> Sequence[float]:
        output = await running.last_output(ids, score_params(None, read_cache=False), lora=None)
        return score_of(output, _probe(ids, start), first=1).logprobs

    async def scored_positions() -> int:
        return sum(await running.llm.collective_rpc("scored_positions"))

    return await check_scoring(
        vocabulary=[token for token in range(running.codec.vocab_size) if token not in control],
        dtype=running.info.dtype,
        score_by_worker=by_worker,
        score_plainly=plainly,
        scored_positions=scored_positions,
    )


def _probe(ids: Sequence[int], start: int) -> SequenceScoreRequest:
    return SequenceScoreRequest(token_ids=ids, start=start, temperature=1.0, adapter=None)
