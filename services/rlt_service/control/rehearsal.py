"""Own the trial of a few rows in a dry run: sampled by the teacher, scored by the student, timed. Keeps nothing."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rlt_core.errors import RltError
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.dry_run import Rehearsal, RehearsedRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.jobs import DistillSpec, RlSpec, RlvrSpec, TrainingSpec, WarmupSpec
from rlt_core.schemas.score import ExplanationInput, ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import Solution, SolveRequest, SolveResponse
from rlt_core.traces import trace_of
from rlt_core.verdicts import Question, judge
from rlt_core.verifiable_rewards import reward_solution
from rlt_service.engine.admission import cancel_all

AnswerT = TypeVar("AnswerT")

REHEARSED_ROWS = 5
REHEARSED_TOKENS = 128
"""Longest completion that is sampled: a dry run answers soon."""
PATIENCE_S = 60.0
NO_PLAYERS = (
    "this process plays neither teacher nor student, and RLT_SERVICE_URL, where others would, is not set: "
    "speeds are not known"
)


class Players(Protocol):
    """Teacher and student, wherever they are."""

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample; raises RltError."""
        ...

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judge; raises RltError."""
        ...

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Have a student solve; raises RltError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What a trial came to."""

    shown: Rehearsal
    completion_bytes: float = 0.0
    """Mean of a sampled and scored completion, written down."""
    text_bytes: float = 0.0
    """Mean of a sampled row's texts with its score: about what a collected row takes."""


async def rehearse(
    spec: TrainingSpec | CollectSpec | EvaluateSpec,
    rows: Sequence[DatasetRow],
    *,
    players: Players | None,
    teacher: str | None,
    student: str,
    patience_s: float = PATIENCE_S,
) -> Rehearsed:
    """Try the first rows; what is not reached, refuses or takes too long is said, and is no failure of the dry run.

    `teacher` and `student` are exact versions: an alias could carry a shadow, which keeps what it sees.
    """
    if players is None:
        return _not_scored(NO_PLAYERS)
    tried = list(rows[:REHEARSED_ROWS])
    try:
        async with asyncio.timeout(patience_s):
            if isinstance(spec, WarmupSpec | DistillSpec):
                traces = [trace_of(row, kind=spec.kind) or "" for row in tried]
                return await _warmup(tried, traces, players=players, student=student)
            if isinstance(spec, RlvrSpec):
                return await _solved_by_student(spec, tried, players=players, student=student)
            if isinstance(spec, EvaluateSpec) and spec.role == "student":
                return await _solved(spec, tried, players=players, student=student)
            return await _sampled_by_teacher(spec, tried, players=players, teacher=teacher or "", student=student)
    except TimeoutError:
        return _not_scored(f"teacher and student did not answer within {patience_s:g} s")
    except RltError as error:
        return _not_scored(f"{error.detail} ({error.code})")


async def _together(calls: Sequence[Coroutine[Any, Any, AnswerT]]) -> list[AnswerT]:
    """Await all; where one fails, the others end too, so that nothing is computed for nobody."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_all(set(tasks))


def _not_scored(why: str) -> Rehearsed:
    return Rehearsed(shown=Rehearsal(not_scored=why))


async def _sampled_by_teacher(
    spec: RlSpec | CollectSpec | EvaluateSpec,
    rows: Sequence[DatasetRow],
    *,
    players: Players,
    teacher: str,
    student: str,
) -> Rehearsed:
    began_s = time.monotonic()
    asked = [_explain_request(spec, row, teacher=teacher, seed=index) for index, row in enumerate(rows)]
    answers = await _together([players.explain(request) for request in asked])
    generated_s = time.monotonic()
    scores = await _together(
        [
            players.score(
                ScoreRequest(
                    question=row.question,
                    solution=row.solution,
                    explanations=[_sampled(answer)],
                    student=student,
                    baseline=True,
                    reward=spec.reward,
                )
            )
            for row, answer in zip(rows, answers, strict=True)
        ]
    )
    shown = Rehearsal(
        rows=[
            _row(row, score, tokens=answer.usage.completion_tokens)
            for row, answer, score in zip(rows, answers, scores, strict=True)
        ],
        teacher=teacher,
        student=student,
        engine=scores[0].engine,
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
        generated_tokens=sum(answer.usage.completion_tokens for answer in answers),
        generate_s=generated_s - began_s,
        scored_tokens=sum(score.usage.prompt_tokens for score in scores),
        cached_tokens=sum(score.usage.cached_tokens for score in scores),
        score_s=time.monotonic() - generated_s,
    )
    written = [
        len(answer.explanations[0].model_dump_json()) + len(score.scores[0].model_dump_json())
        for answer, score in zip(answers, scores, strict=True)
    ]
    texts = [
        len(row.model_dump_json()) + len(answer.explanations[0].text) + len(score.scores[0].model_dump_json())
        for row, answer, score in zip(rows, answers, scores, strict=True)
    ]
    return Rehearsed(shown=shown, completion_bytes=sum(written) / len(written), text_bytes=sum(texts) / len(texts))


async def _solved_by_student(
    spec: RlvrSpec, rows: Sequence[DatasetRow], *, players: Players, student: str
) -> Rehearsed:
    began_s = time.monotonic()
    asked = [
        SolveRequest(
            question=row.question,
            student=student,
            temperature=spec.temperature,
            max_tokens=min(spec.max_tokens, REHEARSED_TOKENS),
            seed=spec.seed + index,
            include=["tokens"],
        )
        for index, row in enumerate(rows)
    ]
    answers = await _together([players.solve(request) for request in asked])
    generated_s = time.monotonic()
    thoughts = [answer.solutions[0].thought for answer in answers]
    read = await _warmup(rows, thoughts, players=players, student=student)
    solved = [answer.solutions[0] for answer in answers]
    shown = read.shown.model_copy(
        update={
            "rows": [_solved_row(row, made, spec=spec) for row, made in zip(rows, solved, strict=True)],
            "prompt_tokens": sum(answer.usage.prompt_tokens for answer in answers),
            "generated_tokens": sum(answer.usage.completion_tokens for answer in answers),
            "generate_s": generated_s - began_s,
        }
    )
    written = [len(made.model_dump_json()) for made in solved]
    return Rehearsed(shown=shown, completion_bytes=sum(written) / len(written))


async def _solved(spec: EvaluateSpec, rows: Sequence[DatasetRow], *, players: Players, student: str) -> Rehearsed:
    """Have questions solved as an evaluate does; mathematics is judged by its job's own process alone."""
    began_s = time.monotonic()
    asked = [
        SolveRequest(
            question=row.question,
            student=student,
            temperature=spec.temperature,
            top_p=spec.top_p,
            max_tokens=min(spec.max_tokens, REHEARSED_TOKENS),
            seed=spec.seed + index,
        )
        for index, row in enumerate(rows)
    ]
    answers = await _together([players.solve(request) for request in asked])
    return Rehearsed(
        shown=Rehearsal(
            rows=[_judged_row(row, answer.solutions[0], spec=spec) for row, answer in zip(rows, answers, strict=True)],
            student=student,
            engine=answers[0].engine,
            prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
            generated_tokens=sum(answer.usage.completion_tokens for answer in answers),
            generate_s=time.monotonic() - began_s,
        )
    )


def _judged_row(row: DatasetRow, made: Solution, *, spec: EvaluateSpec) -> RehearsedRow:
    closed = made.solution is not None
    found = RehearsedRow(row=row.id, explanation_tokens=made.tokens, well_formed=closed)
    if not closed or spec.verdict == "math_verify":
        return found
    asked = Question(answer=row.answer, metadata=row.metadata)
    return found.model_copy(update={"right": judge(made.solution, question=asked, rule=spec.verdict).right})


def _solved_row(row: DatasetRow, made: Solution, *, spec: RlvrSpec) -> RehearsedRow:
    """Judge a solution where its end was seen, by any rule but mathematics, which the trainer's process compares."""
    closed = made.solution is not None
    found = RehearsedRow(row=row.id, explanation_tokens=made.tokens, well_formed=closed)
    cut_off = not closed and made.finish_reason == "length" and spec.max_tokens > REHEARSED_TOKENS
    if cut_off or (closed and spec.verdict == "math_verify"):
        return found
    asked = Question(answer=row.answer, metadata=row.metadata)
    right = closed and judge(made.solution, question=asked, rule=spec.verdict).right
    worth = reward_solution(right=right, closed=closed, weights=spec.reward.to_weights())
    return found.model_copy(update={"right": right, "reward": worth.reward})


async def _warmup(
    rows: Sequence[DatasetRow], traces: Sequence[str | None], *, players: Players, student: str
) -> Rehearsed:
    began_s = time.monotonic()
    asked = [
        ScoreRequest(question=row.question, solution=row.solution, explanations=[trace or ""], student=student)
        for row, trace in zip(rows, traces, strict=True)
    ]
    scores = await _together([players.score(request) for request in asked])
    return Rehearsed(
        shown=Rehearsal(
            rows=[_row(row, score, tokens=None) for row, score in zip(rows, scores, strict=True)],
            student=student,
            engine=scores[0].engine,
            scored_tokens=sum(score.usage.prompt_tokens for score in scores),
            cached_tokens=sum(score.usage.cached_tokens for score in scores),
            score_s=time.monotonic() - began_s,
        )
    )


def _explain_request(
    spec: RlSpec | CollectSpec | EvaluateSpec, row: DatasetRow, *, teacher: str, seed: int
) -> ExplainRequest:
    return ExplainRequest(
        question=row.question,
        solution=row.solution,
        teacher=teacher,
        temperature=spec.temperature,
        max_tokens=min(spec.max_tokens, REHEARSED_TOKENS),
        seed=spec.seed + seed,
        include=["tokens"],
    )


def _sampled(answer: ExplainResponse) -> ExplanationInput:
    made = answer.explanations[0]
    return ExplanationInput(text=made.text, tokens=made.tokens, well_formed=made.well_formed)


def _row(row: DatasetRow, answer: ScoreResponse, *, tokens: int | None) -> RehearsedRow:
    score = answer.scores[0]
    return RehearsedRow(
        row=row.id,
        explanation_tokens=tokens,
        reward=score.reward,
        r_ss=score.r_ss,
        r_kl=score.r_kl,
        uplift=score.uplift,
        well_formed=score.well_formed,
    )
