"""Own one question of a collect: explanations by exactly the teacher asked for, scored by exactly the student."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlt_core.comparison import states_solution
from rlt_core.errors import RltError
from rlt_core.schemas.collect import CollectSpec, SkippedRow
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, Explanation
from rlt_core.schemas.score import CompletionTokens, ExplanationInput, Score, ScoreRequest, ScoreResponse, Term
from rlt_train.collecting.answers import Answered, Sample, Spent
from rlt_train.dropped import costs_a_rollout
from rlt_train.errors import RolloutMismatchError
from rlt_train.expecting import expect
from rlt_train.services import SCORE_CALL_TOKENS, Services

TERMS: tuple[Term, ...] = ("solution", "kl", "format")
TOO_LONG = "prompt_too_long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row of the dataset, and where it stands."""

    position: int
    row: DatasetRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks the services for one question after the other; threads may share it."""

    services: Services
    spec: CollectSpec
    teacher: str
    student: str
    format_id: str
    clock: Callable[[], float] = time.monotonic

    def ask(self, question: Question) -> Answered:
        """Explain and score one question; one that does not fit, or fails for good, is an answer that says so.

        Raises RolloutMismatchError for an answer that is not what was asked for, and what the services raise where
        they are away or refuse the caller.
        """
        row_id, seed = str(question.row.id), question_seed(self.spec.seed, str(question.row.id))
        began_s = self.clock()
        try:
            explained = self._explained(question.row, seed=seed)
            explained_s = self.clock()
            samples, judged = self._judged(question.row, explained)
        except RltError as error:
            if not costs_a_rollout(error):
                raise
            return skipped(question, error, seed=seed, spent=Spent(explain_s=self.clock() - began_s))
        return Answered(
            position=question.position,
            row_id=row_id,
            seed=seed,
            engine=explained.engine.name,
            samples=samples,
            spent=Spent(
                prompt_tokens=explained.usage.prompt_tokens,
                cached_tokens=explained.usage.cached_tokens,
                generated_tokens=explained.usage.completion_tokens,
                scored_tokens=sum(answer.usage.prompt_tokens for answer in judged),
                scored_cached_tokens=sum(answer.usage.cached_tokens for answer in judged),
                explain_s=explained_s - began_s,
                score_s=self.clock() - explained_s,
            ),
        )

    def _explained(self, row: DatasetRow, *, seed: int) -> ExplainResponse:
        spec = self.spec
        request = ExplainRequest(
            question=row.question,
            solution=row.solution,
            teacher=self.teacher,
            n=spec.samples_per_question,
            temperature=spec.temperature,
            max_tokens=spec.max_tokens,
            seed=seed,
            include=["tokens"],
        )
        answers = self.services.explain([request])
        expect(len(answers), 1, what="the number of explanation lists")
        answer = answers[0]
        expect(answer.teacher.version, self.teacher, what="an explanation's teacher")
        expect(answer.format, self.format_id, what="an explanation's format")
        expect([item.index for item in answer.explanations], list(range(request.n)), what="the explanations")
        return answer

    def _judged(self, row: DatasetRow, explained: ExplainResponse) -> tuple[list[Sample], Sequence[ScoreResponse]]:
        items = [(item, _tokens(item, temperature=self.spec.temperature)) for item in explained.explanations]
        entries = [
            ExplanationInput(text=item.text, tokens=tokens, well_formed=item.well_formed) for item, tokens in items
        ]
        judge = Judge(services=self.services, spec=self.spec, student=self.student, format_id=self.format_id)
        scores, baseline, answers = judge.judge(row, entries, terms=TERMS)
        return [
            _sample(item, tokens, score, row=row, baseline=baseline)
            for (item, tokens), score in zip(items, scores, strict=True)
        ], answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Has explanations of one question scored by exactly the student asked for."""

    services: Services
    spec: CollectSpec
    student: str
    format_id: str

    def judge(
        self, row: DatasetRow, entries: Sequence[ExplanationInput], *, terms: Sequence[Term]
    ) -> tuple[list[Score], float, Sequence[ScoreResponse]]:
        """Give scores, the baseline and the answers; long completions go in several requests, as a body may be large.

        Raises RolloutMismatchError for an answer that is not what was asked for.
        """
        parts = _parts(entries)
        requests = [
            ScoreRequest(
                question=row.question,
                solution=row.solution,
                explanations=list(part),
                student=self.student,
                baseline=part is parts[0],
                include=["sequence"],
                reward=self.spec.reward,
            )
            for part in parts
        ]
        answers = self.services.score(requests)
        expect(len(answers), len(requests), what="the number of score lists")
        scores = [
            score
            for answer, request in zip(answers, requests, strict=True)
            for score in self._checked(answer, request, terms=terms)
        ]
        baseline = answers[0].baseline
        if baseline is None:
            raise RolloutMismatchError("a score came without the baseline that was asked for")
        return scores, baseline.mean, answers

    def _checked(self, answer: ScoreResponse, request: ScoreRequest, *, terms: Sequence[Term]) -> Sequence[Score]:
        expect(answer.student.version, self.student, what="a score's student")
        expect(answer.format, self.format_id, what="a score's format")
        expect(answer.reward, request.reward, what="a score's reward coefficients")
        expect(sorted(answer.terms), sorted(terms), what="the reward's terms")
        expect([score.index for score in answer.scores], list(range(len(request.explanations))), what="the scores")
        if not all(math.isfinite(score.reward) for score in answer.scores):
            raise RolloutMismatchError("a reward is not finite")
        return answer.scores


def skipped(question: Question, error: RltError, *, seed: int, spent: Spent) -> Answered:
    """Say why a question has no explanation."""
    reason = "too_long" if error.code == TOO_LONG else "failed"
    row = SkippedRow(row=str(question.row.id), reason=reason, message=str(error)[:500])
    return Answered(position=question.position, row_id=row.row, seed=seed, skipped=row, spent=spent)


def question_seed(seed: int, row_id: str) -> int:
    """Give the seed of a row's samples: the same in any attempt, another for each row."""
    digest = hashlib.sha256(f"{seed}\0collect\0{row_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _tokens(item: Explanation, *, temperature: float) -> CompletionTokens:
    if item.tokens is None or not item.tokens.completion_token_ids:
        raise RolloutMismatchError("an explanation came without its token ids although they were asked for")
    expect(item.tokens.temperature, temperature, what="the temperature of the log-probs")
    return item.tokens


def _parts(entries: Sequence[ExplanationInput]) -> list[list[ExplanationInput]]:
    parts: list[list[ExplanationInput]] = []
    room = 0
    for entry in entries:
        size = len(entry.tokens.completion_token_ids) if entry.tokens is not None else 0
        if not parts or size > room:
            parts.append([])
            room = SCORE_CALL_TOKENS
        parts[-1].append(entry)
        room -= size
    return parts


def _sample(item: Explanation, tokens: CompletionTokens, score: Score, *, row: DatasetRow, baseline: float) -> Sample:
    if score.sequence is None:
        raise RolloutMismatchError("a score came without the student's sequence although it was asked for")
    start, end = tokens.explanation
    return Sample(
        index=item.index,
        text=item.text,
        finish_reason=item.finish_reason,
        well_formed=item.well_formed,
        verbatim=states_solution(item.text, solution=row.solution),
        explanation_tokens=end - start,
        completion_tokens=len(tokens.completion_token_ids),
        student_tokens=len(score.sequence.token_ids),
        solution_tokens=score.solution.tokens,
        reward=score.reward,
        r_ss=score.r_ss,
        r_kl=score.r_kl,
        format_reward=score.format,
        uplift=score.solution.mean - baseline,
        solution_mean=score.solution.mean,
        solution_min=score.solution.min,
        kl_mean=score.kl.mean if score.kl is not None else None,
        kl_max=score.kl.max if score.kl is not None else None,
    )
