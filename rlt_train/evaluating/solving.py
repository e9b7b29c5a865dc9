"""Own one question put to a student: solutions by exactly the version asked for, and the verdict on each."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rlt_core.errors import RltError
from rlt_core.measured_rows import MeasuredQuestion
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.measured import AnswerRow
from rlt_core.schemas.solve import Solution, SolveRequest, SolveResponse
from rlt_core.verdicts import MathEquality, Question, judge
from rlt_train.collecting.asking import Question as AskedQuestion
from rlt_train.collecting.asking import question_seed
from rlt_train.expecting import expect
from rlt_train.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What a student answered to a question; not judged yet."""

    question: AskedQuestion
    answer: SolveResponse
    spent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvingAsker:
    """Asks one version for solutions; threads may share it."""

    services: Services
    spec: EvaluateSpec
    version: str
    format_id: str
    clock: Callable[[], float] = time.monotonic

    def ask(self, question: AskedQuestion) -> Solved:
        """Have one question solved; raises RolloutMismatchError, and what the services raise.

        No question is left out: figures would be of those that were easy to ask.
        """
        began_s = self.clock()
        request = SolveRequest(
            question=question.row.question,
            student=self.version,
            n=self.spec.samples,
            temperature=self.spec.temperature,
            top_p=self.spec.top_p,
            max_tokens=self.spec.max_tokens,
            seed=question_seed(self.spec.seed, str(question.row.id)),
        )
        try:
            answers = self.services.solve([request])
        except RltError as error:
            error.detail = f"question {question.row.id!r}: {error.detail}"
            raise
        expect(len(answers), 1, what="the number of solution lists")
        answer = answers[0]
        expect(answer.student.version, self.version, what="a solution's student")
        expect(answer.format, self.format_id, what="a solution's format")
        expect([item.index for item in answer.solutions], list(range(request.n)), what="the solutions")
        return Solved(question=question, answer=answer, spent_s=self.clock() - began_s)


def judged(solved: Solved, *, spec: EvaluateSpec, equal: MathEquality | None) -> MeasuredQuestion:
    """Judge the solutions of a question; raises ValueError for one that its row's answer cannot be compared with."""
    row, answer = solved.question.row, solved.answer
    asked = Question(answer=row.answer, metadata=row.metadata)
    return MeasuredQuestion(
        position=solved.question.position,
        question_id=str(row.id),
        version=answer.student.version,
        engine=answer.engine.name,
        answers=[_row(item, asked=asked, solved=solved, verdict=spec, equal=equal) for item in answer.solutions],
        spent={
            "prompt_tokens": float(answer.usage.prompt_tokens),
            "cached_tokens": float(answer.usage.cached_tokens),
            "generated_tokens": float(answer.usage.completion_tokens),
            "generate_s": solved.spent_s,
        },
    )


def _row(
    item: Solution, *, asked: Question, solved: Solved, verdict: EvaluateSpec, equal: MathEquality | None
) -> AnswerRow:
    found = judge(item.solution, question=asked, rule=verdict.verdict, equal=equal)
    row = solved.question.row
    return AnswerRow(
        question_id=str(row.id),
        question=row.question,
        answer=row.answer,
        version=solved.answer.student.version,
        sample=item.index,
        thought=item.thought,
        solution=item.solution,
        finish_reason=item.finish_reason,
        tokens=item.tokens,
        right=found.right,
        found=found.found,
        place=found.place,
        why=found.why,
    )
