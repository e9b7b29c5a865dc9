"""Own how the use cases call an engine: within a span that says how much was read, cached and written.

It is counted against the project of the call.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from rlt_core.spans import span
from rlt_service.engine.protocol import (
    AdapterRef,
    Completion,
    CompletionDelta,
    Engine,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
)
from rlt_service.spending import spend


async def generate(engine: Engine, request: GenerateRequest) -> GenerateResult:
    """Have completions sampled; raises as the engine does."""
    with span(
        "engine generate",
        gen_ai__request__model=_name_of(engine, request.adapter),
        rlt__sequences=request.n,
        gen_ai__usage__input_tokens=request.n * len(request.prompt_token_ids),
    ) as told:
        result = await engine.generate(request)
        written = sum(len(made.token_ids) for made in result.completions)
        spend(request.n * len(request.prompt_token_ids) + written)
        told.set(gen_ai__usage__output_tokens=written, rlt__cached_tokens=result.cached_tokens)
        return result


async def generate_stream(engine: Engine, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
    """Have completions sampled and told while they are; closing the generator aborts. Raises as the engine does."""
    spend(request.n * len(request.prompt_token_ids))
    written = [0] * request.n
    async with aclosing(engine.generate_stream(request)) as pieces:
        async for piece in pieces:
            told = written[piece.index] if isinstance(piece, CompletionDelta) else 0  # a Completion is the whole
            spend(told + len(piece.token_ids) - written[piece.index])
            written[piece.index] = told + len(piece.token_ids)
            yield piece


async def score(engine: Engine, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
    """Have sequences scored as one batch; raises as the engine does."""
    with span(
        "engine score",
        gen_ai__request__model=_name_of(engine, requests[0].adapter if requests else None),
        rlt__sequences=len(requests),
        gen_ai__usage__input_tokens=sum(len(request.token_ids) for request in requests),
    ) as told:
        results = await engine.score(requests)
        spend(sum(len(request.token_ids) for request in requests))
        told.set(rlt__cached_tokens=sum(result.cached_tokens for result in results))
        return results


def _name_of(engine: Engine, adapter: AdapterRef | None) -> str:
    return engine.info.base_model if adapter is None else adapter.version
