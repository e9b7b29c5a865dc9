"""Own the use case of /v1/score: resolve, plan, ask the engines once, assemble. No HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.errors import ScoringError
from rlt_core.schemas.base import EngineRef, VersionRef, new_id, now_utc
from rlt_core.schemas.score import RewardConfig, ScoreRequest, ScoreResponse, ScoreUsage
from rlt_service import engine_calls
from rlt_service.engine.admission import cancel_all
from rlt_service.engine.protocol import Engine, SequenceScoreRequest, SequenceScoreResult
from rlt_service.engine.request_checks import check_results, check_temperature
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand, Load
from rlt_service.metrics import Metrics
from rlt_service.served import ServedVersion, Versions, check_text
from rlt_service.settings import Settings
from rlt_service.store.ownership import owner
from rlt_service.student.assemble import Assembled, assemble
from rlt_service.student.entries import Tokenizers, read_entries
from rlt_service.student.plan import Reader, ScorePlan, Task, make_plan


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
    metrics: Metrics

    async def score(self, request: ScoreRequest, *, begun: bool = False) -> ScoreResponse:
        """Score all explanations of a question, in one batch of each engine that it takes.

        Nothing is refused for want of room where they are the last part of a call that has `begun`.
        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        limit = self.settings.max_text_characters
        check_text(request.question, param="/question", max_characters=limit)
        check_text(request.solution, param="/solution", max_characters=limit)
        self.engines.some_ready()  # before anything is looked up: a starting server says so
        with self.in_hand.reserved(_least_of(request), begun=begun):
            players = await asyncio.to_thread(self._resolve, request)
        async with self.engines.lease_pair(players.student, players.teacher) as (engine, teacher_engine):
            with self.in_hand.reserved(_least_of(request), begun=begun):
                plan = await asyncio.to_thread(self._plan, request, players, engine, teacher_engine)
            with self.in_hand.taken(_load_of(plan), begun=begun):
                results = await _ask(plan, student=engine, teacher=teacher_engine)
            self.metrics.count_scores(plan.requests, results, explanations=len(request.explanations))
            self.metrics.note_served("student", moved_at=players.student.moved_at)
            assembled = await asyncio.to_thread(
                assemble,
                plan,
                [result.logprobs for result in results],
                codec=engine.codec,
                include=request.include,
            )
            return _response(request, players, plan=plan, results=results, assembled=assembled, engine=engine)

    def check_default(self) -> None:
        """Refuse what the default student cannot score with the default reward; raises InvalidRequestError."""
        info = self.engines.info_of(self.versions.resolve("student", "default"))
        if info is not None:
            check_temperature(RewardConfig().temperature, info=info, param="/include")

    def _resolve(self, request: ScoreRequest) -> _Players:
        student = self.versions.resolve("student", request.student)
        teacher = None if request.teacher is None else self.versions.resolve("teacher", request.teacher)
        return _Players(student=student, teacher=teacher)

    def _plan(self, request: ScoreRequest, players: _Players, engine: Engine, teacher_engine: Engine) -> ScorePlan:
        check_temperature(request.reward.temperature, info=engine.info, param="/reward/temperature")
        teacher = None if players.teacher is None else _reader(players.teacher, teacher_engine)
        tokenizers = Tokenizers(
            student=engine.codec,
            teacher=None if teacher is None else teacher.codec,
            others=self.engines.codec_of,
        )
        entries = read_entries(
            request.explanations, tokenizers=tokenizers, max_characters=self.settings.max_text_characters
        )
        task = Task(
            question=request.question,
            solution=request.solution,
            entries=entries,
            weights=request.reward.to_weights(),
            student=_reader(players.student, engine),
            teacher=teacher,
            baseline=request.baseline,
            each_token="tokens" in request.include,
        )
        plan = make_plan(task)
        for index, planned in enumerate(plan.explanations):
            if planned.teacher is not None:
                param = f"/explanations/{index}/tokens/temperature"
                check_temperature(planned.teacher.request.temperature, info=teacher_engine.info, param=param)
        return plan


def _reader(version: ServedVersion, engine: Engine) -> Reader:
    return Reader(
        adapter=version.adapter,
        codec=engine.codec,
        max_model_len=engine.info.max_model_len,
        cache_salt=owner(),
    )


async def _ask(plan: ScorePlan, *, student: Engine, teacher: Engine) -> list[SequenceScoreResult]:
    """Have all scored: in one batch where one engine holds both, else by both engines at the same time."""
    if teacher is student:
        return await _scored(student, plan.requests)
    if teacher.info.name != student.info.name:
        # An answer names one engine: of a fake one's numbers none may pass for a model's.
        raise ScoringError(f"the teacher's engine is {teacher.info.name!r}, the student's {student.info.name!r}")
    tasks = [
        asyncio.create_task(_scored(student, plan.student_requests)),
        asyncio.create_task(_scored(teacher, plan.teacher_requests)),
    ]
    try:
        by_student, by_teacher = await asyncio.gather(*tasks)
    finally:
        await cancel_all(set(tasks))  # where one failed, the other must not outlive its lease
    return by_student + by_teacher


async def _scored(engine: Engine, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
    results = await engine_calls.score(engine, requests)
    check_results(requests, results)
    return results


def _least_of(request: ScoreRequest) -> Load:
    """Say what a request asks at least, before anything of it is tokenised: a token for each explanation."""
    return Load(requests=len(request.explanations), tokens=len(request.explanations))


def _load_of(plan: ScorePlan) -> Load:
    return Load(requests=len(plan.requests), tokens=sum(len(asked.token_ids) for asked in plan.requests))


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
