"""Own the use case of /v1/score: resolve, plan, ask the engine once, assemble. No HTTP."""

import asyncio
from dataclasses import dataclass

from rlt_core.errors import NotAvailableYetError
from rlt_core.schemas.base import EngineRef, VersionRef, new_id, now_utc
from rlt_core.schemas.score import ScoreRequest, ScoreResponse, ScoreUsage
from rlt_service.engine.protocol import Engine, SequenceScoreResult
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand
from rlt_service.served import ServedVersion, Versions, check_text
from rlt_service.settings import Settings
from rlt_service.student.assemble import Assembled, assemble
from rlt_service.student.entries import read_entries
from rlt_service.student.plan import ScorePlan, Task, make_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Players:
    """Who reads and who is compared with; resolved once, when the request is admitted."""

    student: ServedVersion
    teacher: ServedVersion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Judges explanations by a student's log-probs."""

    settings: Settings
    versions: Versions
    engines: Engines
    in_hand: InHand

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Score all explanations of a question in one batch of the engine.

        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        limit = self.settings.max_text_characters
        check_text(request.question, param="/question", max_characters=limit)
        check_text(request.solution, param="/solution", max_characters=limit)
        self.engines.host.ready()  # before anything is looked up: a starting server says so
        players = await asyncio.to_thread(self._resolve, request)
        _check_one_engine(players)
        async with self.engines.lease(players.student) as engine:
            plan = await asyncio.to_thread(self._plan, request, players, engine)
            with self.in_hand.taken(len(plan.requests)):
                results = await engine.score(plan.requests)
            assembled = await asyncio.to_thread(
                assemble,
                plan,
                [result.logprobs for result in results],
                codec=engine.codec,
                include=request.include,
            )
            return _response(request, players, plan=plan, results=results, assembled=assembled, engine=engine)

    def _resolve(self, request: ScoreRequest) -> _Players:
        student = self.versions.resolve("student", request.student)
        teacher = None if request.teacher is None else self.versions.resolve("teacher", request.teacher)
        return _Players(student=student, teacher=teacher)

    def _plan(self, request: ScoreRequest, players: _Players, engine: Engine) -> ScorePlan:
        entries = read_entries(
            request.explanations, codec=engine.codec, max_characters=self.settings.max_text_characters
        )
        task = Task(
            question=request.question,
            solution=request.solution,
            entries=entries,
            weights=request.reward.to_weights(),
            student=players.student.adapter,
            teacher=None if players.teacher is None else players.teacher.adapter,
            teacher_named=players.teacher is not None,
            baseline=request.baseline,
            each_token="tokens" in request.include,
        )
        return make_plan(task, codec=engine.codec, max_model_len=engine.info.max_model_len)


def _check_one_engine(players: _Players) -> None:
    """Raise NotAvailableYetError where teacher and student are in two engines."""
    teacher = players.teacher
    if teacher is not None and teacher.weights != players.student.weights:
        raise NotAvailableYetError(
            f"not available yet is the teacher {teacher.version} in another engine than the student "
            f"{players.student.version}: send explanations with the tokens that /explain gave",
            param="/teacher",
        )


def _response(
    request: ScoreRequest,
    players: _Players,
    *,
    plan: ScorePlan,
    results: list[SequenceScoreResult],
    assembled: Assembled,
    engine: Engine,
) -> ScoreResponse:
    teacher: VersionRef | None = None if players.teacher is None else players.teacher.ref
    return ScoreResponse(
        id=new_id("score"),
        created_at=now_utc(),
        student=players.student.ref,
        teacher=teacher,
        format=engine.codec.format_id,
        engine=EngineRef(name=engine.info.name, version=engine.info.version),
        terms=["solution", "kl", "format"] if plan.with_kl else ["solution", "format"],
        reward=request.reward,
        baseline=assembled.baseline,
        scores=assembled.scores,
        usage=ScoreUsage(
            prompt_tokens=sum(len(asked.token_ids) for asked in plan.requests),
            cached_tokens=sum(result.cached_tokens for result in results),
        ),
    )
