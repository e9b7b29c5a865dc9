"""Own one question of a collect whose source lies outside: solved there, cleaned up there, scored by our student."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rlt_core.comparison import states_solution
from rlt_core.errors import RltError
from rlt_core.schemas.collect import CollectSpec, SkippedRow, Source
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.score import ExplanationInput, Score, Term
from rlt_core.verdicts import MathEquality, fault_of, judge
from rlt_core.verdicts import Question as JudgedQuestion
from rlt_train.collecting.answers import Answered, Sample, Spent
from rlt_train.collecting.asking import Judge, Question, question_seed, skipped
from rlt_train.collecting.chat_endpoint import ChatEndpoint, Reply
from rlt_train.dropped import costs_a_rollout
from rlt_train.errors import RolloutMismatchError
from rlt_train.patience import Patience
from rlt_train.services import Services

TERMS: tuple[Term, ...] = ("solution", "format")
"""There is no divergence: whoever wrote the reasoning told no log-probs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideAsker:
    """Asks an endpoint and our services for one question after the other; threads may share it."""

    services: Services
    endpoint: ChatEndpoint
    patience: Patience
    spec: CollectSpec
    source: Source
    student: str
    format_id: str
    engine: str
    clock: Callable[[], float] = time.monotonic

    def ask(self, question: Question) -> Answered:
        """Have a question solved and the reasoning scored; verdicts are given later. Raises as `Asker.ask` does."""
        row, seed = question.row, question_seed(self.spec.seed, str(question.row.id))
        if (fault := fault_of(_judged(row), rule=self.source.verdict)) is not None:
            without = SkippedRow(row=str(row.id), reason="no_answer", message=f"the row {fault}")
            return Answered(position=question.position, row_id=str(row.id), seed=seed, skipped=without)
        began_s = self.clock()
        try:
            replies = [self._solved(row, seed=seed + index) for index in range(self.spec.samples_per_question)]
            solved_s = self.clock()
            entries = [ExplanationInput(text=reply.trace, well_formed=reply.finished) for reply in replies]
            scoring = Judge(services=self.services, spec=self.spec, student=self.student, format_id=self.format_id)
            scores, baseline, judged = scoring.judge(row, entries, terms=TERMS)
        except RltError as error:
            if not costs_a_rollout(error):
                raise
            return skipped(question, error, seed=seed, spent=Spent(explain_s=self.clock() - began_s))
        return Answered(
            position=question.position,
            row_id=str(row.id),
            seed=seed,
            engine=self.engine,
            samples=[
                _sample(index, reply, score, row=row, baseline=baseline)
                for index, (reply, score) in enumerate(zip(replies, scores, strict=True))
            ],
            spent=Spent(
                prompt_tokens=sum(reply.prompt_tokens for reply in replies),
                generated_tokens=sum(reply.completion_tokens for reply in replies),
                scored_tokens=sum(answer.usage.prompt_tokens for answer in judged),
                scored_cached_tokens=sum(answer.usage.cached_tokens for answer in judged),
                explain_s=solved_s - began_s,
                score_s=self.clock() - solved_s,
            ),
        )

    def _solved(self, row: DatasetRow, *, seed: int) -> Reply:
        source = self.source
        asked = source.prompt.replace("{question}", row.question)
        system = [{"role": "system", "content": source.instruction}] if source.instruction else []
        reply = self._call([*system, {"role": "user", "content": asked}], temperature=self.spec.temperature, seed=seed)
        if source.cleanup is None or not reply.finished:
            return reply
        again = source.cleanup.replace("{question}", row.question).replace("{trace}", reply.trace)
        clean = self._call([{"role": "user", "content": again}], temperature=0.0, seed=seed)
        return Reply(
            trace=clean.final,
            final=reply.final,
            finished=clean.finished,
            prompt_tokens=reply.prompt_tokens + clean.prompt_tokens,
            completion_tokens=reply.completion_tokens + clean.completion_tokens,
        )

    def _call(self, messages: list[dict[str, str]], *, temperature: float, seed: int) -> Reply:
        def ask() -> Reply:
            return self.endpoint.ask(
                messages,
                model=self.source.model,
                temperature=temperature,
                max_tokens=self.spec.max_tokens,
                seed=seed,
            )

        return self.patience.call(ask, what=f"asking {self.source.name}")


def with_verdicts(answered: Answered, row: DatasetRow, *, source: Source, equal: MathEquality | None) -> Answered:
    """Say of each sample whether it ended at the row's answer; in the main thread, as mathematics is compared there."""
    if answered.skipped is not None:
        return answered
    samples = [
        sample.model_copy(
            update={
                "right": judge(
                    sample.final if sample.well_formed else None,
                    question=_judged(row),
                    rule=source.verdict,
                    equal=equal,
                ).right
            }
        )
        for sample in answered.samples
    ]
    return answered.model_copy(update={"samples": samples})


def _judged(row: DatasetRow) -> JudgedQuestion:
    return JudgedQuestion(answer=row.answer, metadata=row.metadata)


def _sample(index: int, reply: Reply, score: Score, *, row: DatasetRow, baseline: float) -> Sample:
    if score.sequence is None:
        raise RolloutMismatchError("a score came without the student's sequence although it was asked for")
    start, end = score.sequence.explanation
    return Sample(
        index=index,
        text=reply.trace,
        finish_reason="stop" if reply.finished else "length",
        well_formed=reply.finished,
        verbatim=states_solution(reply.trace, solution=row.solution),
        explanation_tokens=end - start,
        completion_tokens=reply.completion_tokens,
        student_tokens=len(score.sequence.token_ids),
        solution_tokens=score.solution.tokens,
        reward=score.reward,
        r_ss=score.r_ss,
        r_kl=score.r_kl,
        format_reward=score.format,
        uplift=score.solution.mean - baseline,
        solution_mean=score.solution.mean,
        solution_min=score.solution.min,
        kl_mean=None,
        kl_max=None,
        final=reply.final,
    )
