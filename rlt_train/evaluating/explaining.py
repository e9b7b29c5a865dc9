"""Own one question put to a teacher: its explanations, and what a student makes of them, as a collect asks for them."""

from rlt_core.errors import ConfigurationError
from rlt_core.measured_rows import MeasuredQuestion
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.teachers import EvaluationRow
from rlt_train.collecting.answers import Answered, Sample
from rlt_train.collecting.asking import Asker, Question
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.services import Services


def explaining_asker(services: Services, *, spec: EvaluateSpec, version: str, student: str, format_id: str) -> Asker:
    """Make what asks one version for explanations, and a student for their scores."""
    asked = CollectSpec(
        kind="collect",
        dataset=spec.dataset,
        seed=spec.seed,
        samples_per_question=spec.samples,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        reward=spec.reward,
    )
    return Asker(services=services, spec=asked, teacher=version, student=student, format_id=format_id)


def measured(question: Question, answered: Answered, *, version: str) -> MeasuredQuestion:
    """Read what came of a question; raises InvalidTrainingDataError for one that could not be asked.

    No question is left out: figures would be of those that were easy to ask.
    """
    if answered.skipped is not None:
        raise InvalidTrainingDataError(f"question {answered.row_id!r}: {answered.skipped.message}", param="/dataset")
    if answered.engine is None:
        raise ConfigurationError(f"question {answered.row_id!r} was answered by no engine")
    return MeasuredQuestion(
        position=answered.position,
        question_id=answered.row_id,
        version=version,
        engine=answered.engine,
        explained=[_row(question, sample, version=version, engine=answered.engine) for sample in answered.samples],
        spent=answered.spent.model_dump(),
    )


def _row(question: Question, sample: Sample, *, version: str, engine: str) -> EvaluationRow:
    return EvaluationRow(
        question_id=str(question.row.id),
        question=question.row.question,
        solution=question.row.solution,
        version=version,
        text=sample.text,
        reward=sample.reward,
        r_ss=sample.r_ss,
        r_kl=sample.r_kl,
        format=sample.format_reward,
        uplift=sample.uplift,
        length=sample.explanation_tokens,
        closed=sample.well_formed,
        verbatim=sample.verbatim,
        engine=engine,
    )
