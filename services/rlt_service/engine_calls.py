"""Own how the use cases call an engine: within a span that says how much was read, cached and written."""

from collections.abc import Sequence

from rlt_core.spans import span
from rlt_service.engine.protocol import (
    AdapterRef,
    Engine,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
)


async def generate(engine: Engine, request: GenerateRequest) -> GenerateResult:
    """Have completions sampled; raises as the engine does."""
    with span(
        "engine generate",
        gen_ai__request__model=_name_of(engine, request.adapter),
        rlt__sequences=request.n,
        gen_ai__usage__input_tokens=request.n * len(request.prompt_token_ids),
    ) as told:
        result = await engine.generate(request)
        told.set(
            gen_ai__usage__output_tokens=sum(len(made.token_ids) for made in result.completions),
            rlt__cached_tokens=result.cached_tokens,
        )
        return result


async def score(engine: Engine, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
    """Have sequences scored as one batch; raises as the engine does."""
    with span(
        "engine score",
        gen_ai__request__model=_name_of(engine, requests[0].adapter if requests else None),
        rlt__sequences=len(requests),
        gen_ai__usage__input_tokens=sum(len(request.token_ids) for request in requests),
    ) as told:
        results = await engine.score(requests)
        told.set(rlt__cached_tokens=sum(result.cached_tokens for result in results))
        return results


def _name_of(engine: Engine, adapter: AdapterRef | None) -> str:
    return engine.info.base_model if adapter is None else adapter.version
