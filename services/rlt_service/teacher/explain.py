"""Own the use case of /v1/explain: resolve, encode, generate, read the completions, score on request. No HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from rlt_core.schemas.base import EngineRef, new_id, now_utc
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, ExplainUsage, Explanation
from rlt_core.schemas.score import ExplanationInput, ScoreRequest, ScoreResponse
from rlt_service import engine_calls
from rlt_service.engine.protocol import Completion
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand, Load
from rlt_service.served import Versions, check_text
from rlt_service.settings import Settings
from rlt_service.student.score import Scorer
from rlt_service.teacher.generation import Generation, encode_prompt
from rlt_service.teacher.shadow import ShadowTraffic
from rlt_service.teacher.stream import Streamed, Told, done_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What an engine made, and what it was: the engine itself may be gone."""

    explanations: Sequence[Explanation]
    usage: ExplainUsage
    engine: EngineRef
    format: str

    @classmethod
    def of(cls, work: Generation, explanations: Sequence[Explanation], *, usage: ExplainUsage) -> "_Made":
        info = work.engine.info
        return cls(
            explanations=explanations,
            usage=usage,
            engine=EngineRef(name=info.name, version=info.version),
            format=work.engine.codec.format_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Lets a teacher explain how a question leads to its solution."""

    settings: Settings
    versions: Versions
    engines: Engines
    in_hand: InHand
    scorer: Scorer
    shadow: ShadowTraffic

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample explanations by one version.

        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        async with self._admitted(request) as work:
            with self.in_hand.taken(work.load):
                async with work.engine.holding(work.teacher.adapter):
                    result = await engine_calls.generate(work.engine, work.asked)
                    completions = await work.with_own_logprobs(result.completions)
            self._count(work, completions)
            explanations = await asyncio.to_thread(work.read, completions)
            usage = work.usage_of(completions, cached_tokens=result.cached_tokens)
            made = _Made.of(work, explanations, usage=usage)
        # Not within the teacher's lease: the student may need an engine that waits for just that one to be let go.
        return await self._answer(work, made)

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Streamed]:
        """Sample explanations by one version, and tell them while they are written; raises as `explain` does."""
        async with self._admitted(request) as work:
            told, version = Told(work), work.teacher.version
            with self.in_hand.taken(work.load):
                async with work.engine.holding(work.teacher.adapter), aclosing(told.events()) as events:
                    async for event in events:
                        yield Streamed(teacher=version, event=event)
            completions = told.completions
            self._count(work, completions)
            usage = work.usage_of(completions, cached_tokens=sum(made.cached_tokens for made in completions))
            made = _Made.of(work, told.explanations, usage=usage)
        yield Streamed(teacher=version, event=done_of(await self._answer(work, made)))

    def _count(self, work: Generation, completions: Sequence[Completion]) -> None:
        metrics = self.scorer.metrics
        metrics.count_generated("explain", completions, prompt_tokens=len(work.prompt))
        metrics.note_served("teacher", moved_at=work.teacher.moved_at)

    @asynccontextmanager
    async def _admitted(self, request: ExplainRequest) -> AsyncGenerator[Generation]:
        """Check and resolve a request, and hold the engine of its version until the block ends."""
        limit = self.settings.max_text_characters
        check_text(request.question, param="/question", max_characters=limit)
        check_text(request.solution, param="/solution", max_characters=limit)
        self.engines.some_ready()  # before anything is looked up: a starting server says so
        if "score" in request.include:
            await asyncio.to_thread(self.scorer.check_default)  # before anything is generated that it cannot score
        least = Load(requests=request.n, tokens=request.n * request.max_tokens)
        with self.in_hand.reserved(least):
            teacher = await asyncio.to_thread(self.versions.resolve, "teacher", request.teacher)
        async with self.engines.lease(teacher) as engine:
            with self.in_hand.reserved(least):
                prompt = await asyncio.to_thread(encode_prompt, request, engine)
            work = Generation(request=request, teacher=teacher, engine=engine, prompt=prompt)
            work.check()
            yield work

    async def _answer(self, work: Generation, made: "_Made") -> ExplainResponse:
        scored = await self._score(work.request, made.explanations) if "score" in work.request.include else None
        self.shadow.offer(work, made.explanations, explainer=self, scorer=self.scorer)
        return ExplainResponse(
            id=new_id("exp"),
            created_at=now_utc(),
            teacher=work.teacher.ref,
            format=made.format,
            engine=made.engine,
            explanations=[work.shown(explanation) for explanation in made.explanations],
            usage=made.usage,
            score=scored,
        )

    async def _score(self, request: ExplainRequest, explanations: Sequence[Explanation]) -> ScoreResponse:
        """Score by the default student, on the very ids and log-probs that were generated."""
        entries: list[str | ExplanationInput] = [
            ExplanationInput(text=made.text, tokens=made.tokens, well_formed=made.well_formed) for made in explanations
        ]
        asked = ScoreRequest(question=request.question, solution=request.solution, explanations=entries)
        return await self.scorer.score(asked, begun=True)
