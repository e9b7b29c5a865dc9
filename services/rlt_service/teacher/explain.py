"""Own the use case of /v1/explain: resolve, encode, generate, read the completions, score on request. No HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlt_core.errors import NotAvailableYetError, PromptTooLongError
from rlt_core.schemas.base import EngineRef, new_id, now_utc
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, ExplainUsage, Explanation
from rlt_core.schemas.score import ExplanationInput, ScoreRequest, ScoreResponse
from rlt_service.engine.protocol import Completion, Engine, GenerateRequest, GenerateResult, SequenceScoreRequest
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand
from rlt_service.served import ServedVersion, Versions, check_text
from rlt_service.settings import Settings
from rlt_service.student.score import Scorer
from rlt_service.teacher.completions import read_completion

GREEDY_TEMPERATURE = 1.0
"""Greedy has no distribution of its own: its log-probs are those at 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Lets a teacher explain how a question leads to its solution."""

    settings: Settings
    versions: Versions
    engines: Engines
    in_hand: InHand
    scorer: Scorer

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample explanations by one version.

        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        _check_available(request)
        limit = self.settings.max_text_characters
        check_text(request.question, param="/question", max_characters=limit)
        check_text(request.solution, param="/solution", max_characters=limit)
        self.engines.host.ready()  # before anything is looked up: a starting server says so
        teacher = await asyncio.to_thread(self.versions.resolve, "teacher", request.teacher)
        async with self.engines.lease(teacher) as engine:
            prompt = await asyncio.to_thread(_prompt, request, engine)
            with self.in_hand.taken(request.n):
                result = await engine.generate(_generation(request, prompt, teacher, engine))
                completions = await _with_own_logprobs(request, prompt, teacher, result.completions, engine)
            explanations = await asyncio.to_thread(
                _explanations, completions, prompt, temperature=_logprob_temperature(request), engine=engine
            )
            scored = await self._score(request, explanations) if "score" in request.include else None
            return ExplainResponse(
                id=new_id("exp"),
                created_at=now_utc(),
                teacher=teacher.ref,
                format=engine.codec.format_id,
                engine=EngineRef(name=engine.info.name, version=engine.info.version),
                explanations=explanations if "tokens" in request.include else _without_tokens(explanations),
                usage=_usage(prompt, result),
                score=scored,
            )

    async def _score(self, request: ExplainRequest, explanations: Sequence[Explanation]) -> ScoreResponse:
        """Score by the default student, on the very ids and log-probs that were generated."""
        entries: list[str | ExplanationInput] = [
            ExplanationInput(text=made.text, tokens=made.tokens, well_formed=made.well_formed) for made in explanations
        ]
        return await self.scorer.score(
            ScoreRequest(question=request.question, solution=request.solution, explanations=entries)
        )


def _check_available(request: ExplainRequest) -> None:
    if request.stream:
        raise NotAvailableYetError(
            "not available yet is stream: leave it out, and read the whole answer", param="/stream"
        )


def _prompt(request: ExplainRequest, engine: Engine) -> tuple[int, ...]:
    """Encode what the teacher reads; raises PromptTooLongError with both lengths."""
    prompt = engine.codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
    room = engine.info.max_model_len
    if len(prompt) + request.max_tokens > room:
        raise PromptTooLongError(
            f"question and solution make a prompt of {len(prompt)} tokens, with max_tokens = {request.max_tokens} that "
            f"is {len(prompt) + request.max_tokens}, this engine holds {room}: lower max_tokens or shorten the texts",
            param="/max_tokens" if len(prompt) < room else "/question",
        )
    return prompt


def _generation(
    request: ExplainRequest, prompt: tuple[int, ...], teacher: ServedVersion, engine: Engine
) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=prompt,
        adapter=teacher.adapter,
        n=request.n,
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        seed=request.seed,
        stop_text=engine.codec.format.explanation_close,
    )


async def _with_own_logprobs(
    request: ExplainRequest,
    prompt: tuple[int, ...],
    teacher: ServedVersion,
    completions: Sequence[Completion],
    engine: Engine,
) -> list[Completion]:
    """Score completions anew where `top_p` has renormalised log-probs that are wanted (method: the reward)."""
    if request.top_p == 1.0 or not request.include:
        return list(completions)
    asked = [
        SequenceScoreRequest(
            token_ids=(*prompt, *completion.token_ids),
            start=len(prompt),
            temperature=_logprob_temperature(request),
            adapter=teacher.adapter,
        )
        for completion in completions
    ]
    results = await engine.score(asked)
    return [replace(made, logprobs=result.logprobs) for made, result in zip(completions, results, strict=True)]


def _explanations(
    completions: Sequence[Completion], prompt: tuple[int, ...], *, temperature: float, engine: Engine
) -> list[Explanation]:
    return [
        read_completion(completion, prompt_token_ids=prompt, temperature=temperature, codec=engine.codec)
        for completion in completions
    ]


def _logprob_temperature(request: ExplainRequest) -> float:
    return request.temperature or GREEDY_TEMPERATURE


def _without_tokens(explanations: Sequence[Explanation]) -> list[Explanation]:
    return [made.model_copy(update={"tokens": None}) for made in explanations]


def _usage(prompt: tuple[int, ...], result: GenerateResult) -> ExplainUsage:
    """Count what the engine read and wrote: the prompt once for each completion."""
    return ExplainUsage(
        prompt_tokens=len(prompt) * len(result.completions),
        completion_tokens=sum(len(completion.token_ids) for completion in result.completions),
        cached_tokens=result.cached_tokens,
    )
