"""Scores on a vLLM engine: one sequence by our worker or, where that did not prove itself, by vLLM's own code."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from vllm import SamplingParams
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

from rlt_core.errors import ConfigurationError, EngineUnavailableError
from rlt_service.engine.protocol import SequenceScoreRequest, SequenceScoreResult
from rlt_service.engine.scoring_variants import PLAIN, VARIANTS, ScoringVariant, VariantName
from rlt_service.engine.self_check import CheckResult, check_scoring
from rlt_service.engine.vllm_state import RunningVllm
from rlt_service.engine.vllm_workers import ask_workers, positions_in

RequestKey = tuple[tuple[int, ...], int, float, str | None]


def key_of(request: SequenceScoreRequest) -> RequestKey:
    """Give what makes two requests the same one."""
    adapter = request.adapter
    return (tuple(request.token_ids), request.start, request.temperature, None if adapter is None else adapter.version)


async def read_variant(llm: AsyncLLM) -> ScoringVariant:
    """Ask the workers which runner they score in."""
    names: set[VariantName] = {name for core in await ask_workers(llm, "scoring_variant") for name in core}
    (name,) = names
    return VARIANTS[name]


async def score_one(
    running: RunningVllm, request: SequenceScoreRequest, *, lora: LoRARequest | None
) -> SequenceScoreResult:
    """Score a sequence, again without the prefix cache where that reached into the wanted positions."""
    scoring = running.scoring
    send = partial(running.scored_output, request.token_ids, lora=lora, cache_salt=request.cache_salt)
    output = await send(scoring.params(request, read_cache=True))
    if not scoring.has_gap(output, request):
        return scoring.read(output, request)
    output = await send(scoring.params(request, read_cache=False))
    return replace(scoring.read(output, request), rescored=True)


async def prove_scoring(running: RunningVllm) -> CheckResult:
    """Have the worker score a probe, have vLLM score it, compare (self_check.py); raises ConfigurationError."""
    control = running.codec.control_token_ids

    async def scored(
        scoring: ScoringVariant, ids: Sequence[int], start: int, temperature: float = 1.0, *, read_cache: bool = False
    ) -> Sequence[float]:
        request = SequenceScoreRequest(token_ids=ids, start=start, temperature=temperature, adapter=None)
        output = await running.scored_output(ids, scoring.params(request, read_cache=read_cache), lora=None)
        return scoring.read(output, request).logprobs

    async def sample(ids: Sequence[int], temperature: float) -> tuple[int, float]:
        params = SamplingParams(temperature=temperature, max_tokens=1, seed=0, logprobs=0, detokenize=False)
        async with aclosing(running.outputs(ids, params, lora=None)) as outputs:
            [made] = [output.outputs[0] async for output in outputs]
        [(token, found)] = (made.logprobs or [{}])[0].items()
        return token, found.logprob

    async def scored_positions() -> int:
        return positions_in(await ask_workers(running.llm, "scored_positions"))

    try:
        return await check_scoring(
            vocabulary=[token for token in range(running.codec.vocab_size) if token not in control],
            dtype=running.info.dtype,
            score_by_worker=partial(scored, running.scoring),
            score_from_cache=partial(scored, running.scoring, read_cache=True),
            score_plainly=partial(scored, PLAIN),
            sample=sample,
            scored_positions=scored_positions,
        )
    except EngineUnavailableError as error:
        raise ConfigurationError(
            f"vLLM failed while its scoring worker was checked ({type(running.scoring).__name__}): {error.detail} The "
            "log above says more; VLLM_USE_V2_MODEL_RUNNER=0 (or 1) takes vLLM's other model runner."
        ) from error
