"""Own how explanations are told while they are written: text as soon as it is certain, then each one whole. No HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from rlt_core.schemas.explain import (
    ExplainDone,
    ExplainEvent,
    ExplainResponse,
    Explanation,
    ExplanationDelta,
    ExplanationEnd,
)
from rlt_service import engine_calls
from rlt_service.engine.protocol import Completion, CompletionDelta
from rlt_service.teacher.generation import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One event, and the version that makes all of its stream."""

    teacher: str
    event: ExplainEvent


class Told:
    """Tells one generation, and keeps what it has told."""

    def __init__(self, work: Generation) -> None:
        self._work = work
        self._readers = [work.engine.codec.explanation_reader() for _ in range(work.request.n)]
        self._completions: list[Completion] = []
        self._explanations: list[Explanation] = []

    @property
    def completions(self) -> list[Completion]:
        """Those that are whole, by index."""
        return sorted(self._completions, key=lambda made: made.index)

    @property
    def explanations(self) -> list[Explanation]:
        """Those that are whole, by index, with all that was generated."""
        return sorted(self._explanations, key=lambda made: made.index)

    async def events(self) -> AsyncGenerator[ExplanationDelta | Explanation]:
        """Generate, and tell; an explanation comes after all of its text."""
        async with aclosing(engine_calls.generate_stream(self._work.engine, self._work.asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, CompletionDelta):
                    text = self._readers[piece.index].feed(piece.token_ids)
                else:
                    text = self._readers[piece.index].finish()
                if text:
                    yield ExplanationDelta(index=piece.index, text=text)
                if isinstance(piece, Completion):
                    yield await self._whole(piece)

    async def _whole(self, completion: Completion) -> Explanation:
        completions = await self._work.with_own_logprobs([completion])
        (explanation,) = await asyncio.to_thread(self._work.read, completions)
        self._completions += completions
        self._explanations.append(explanation)
        return self._work.shown(explanation)


def done_of(answer: ExplainResponse) -> ExplainDone:
    """Say how all of it ended: the answer without what has been told already."""
    ends = [
        ExplanationEnd(index=made.index, finish_reason=made.finish_reason, well_formed=made.well_formed)
        for made in answer.explanations
    ]
    return ExplainDone(
        id=answer.id,
        created_at=answer.created_at,
        teacher=answer.teacher,
        format=answer.format,
        engine=answer.engine,
        explanations=ends,
        usage=answer.usage,
        score=answer.score,
    )
