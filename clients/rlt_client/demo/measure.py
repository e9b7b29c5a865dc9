"""Let one version explain every report question, score it by the student, and give one row a question."""

from collections.abc import Callable, Sequence

from rlt_client import Client
from rlt_client.demo.plan import DemoPlan
from rlt_client.demo.questions import Question, check_steps
from rlt_client.demo.table import DemoRow
from rlt_core.schemas.explain import ExplainRequest, Explanation
from rlt_core.schemas.score import ExplanationInput, RewardConfig, Score, ScoreRequest

CHUNK = 8
"""Questions asked at once: a bar that moves, and a batch that fills two cores."""


class Measurement:
    """Held-out figures of versions by one student; the baseline of a question is scored once and kept."""

    def __init__(self, client: Client, *, plan: DemoPlan, student: str, questions: Sequence[Question]) -> None:
        """Measure on `questions`, which no training has seen."""
        self._client = client
        self._plan = plan
        self._student = student
        self._questions = questions
        self._baseline_means: dict[str, float] = {}

    def rows(self, *, model: str, version: str, on_done: Callable[[int], None]) -> list[DemoRow]:
        """Ask and score all questions; one sample each, seeded by the question's place."""
        found: list[DemoRow] = []
        for start in range(0, len(self._questions), CHUNK):
            found += self._chunk(self._questions[start : start + CHUNK], model=model, version=version, offset=start)
            on_done(len(found))
        return found

    def _chunk(self, questions: Sequence[Question], *, model: str, version: str, offset: int) -> list[DemoRow]:
        answers = self._client.explain.batch(
            [self._explain(question, version=version, seed=offset + i) for i, question in enumerate(questions)]
        )
        explanations = [answer.explanations[0] for answer in answers]
        scores = self._client.score.batch(
            [self._score(question, explanation) for question, explanation in zip(questions, explanations, strict=True)]
        )
        for question, score in zip(questions, scores, strict=True):
            if score.baseline is not None:
                self._baseline_means[question.id] = score.baseline.mean
        return [
            self._row(question, explanation, score.scores[0], model=model, version=answer.teacher.version)
            for question, explanation, score, answer in zip(questions, explanations, scores, answers, strict=True)
        ]

    def _explain(self, question: Question, *, version: str, seed: int) -> ExplainRequest:
        return ExplainRequest(
            question=question.question,
            solution=question.solution,
            teacher=version,
            temperature=self._plan.temperature,
            max_tokens=self._plan.max_tokens,
            seed=seed,
            include=["tokens"],
        )

    def _score(self, question: Question, explanation: Explanation) -> ScoreRequest:
        entry = ExplanationInput(text=explanation.text, tokens=explanation.tokens, well_formed=explanation.well_formed)
        return ScoreRequest(
            question=question.question,
            solution=question.solution,
            explanations=[entry],
            student=self._student,
            baseline=question.id not in self._baseline_means,
            reward=RewardConfig.model_validate(self._plan.reward),
        )

    def _row(self, question: Question, explanation: Explanation, score: Score, *, model: str, version: str) -> DemoRow:
        tokens = explanation.tokens
        check = check_steps(explanation.text, question=question)
        return DemoRow(
            question_id=question.id,
            model=model,
            version=version,
            reward=score.reward,
            r_ss=score.r_ss,
            r_kl=score.r_kl,
            format=score.format,
            uplift=score.solution.mean - self._baseline_means[question.id],
            length=tokens.explanation[1] - tokens.explanation[0] if tokens else 0,
            closed=explanation.well_formed,
            verbatim=question.solution in explanation.text,
            steps_right=check.steps_right,
            chain_right=check.chain_right,
            text=explanation.text,
        )
