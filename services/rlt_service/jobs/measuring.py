"""Own what a successful evaluate's words become: an evaluation a model, with figures that are computed here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_core.costs import in_common_words
from rlt_core.errors import InconsistentStateError
from rlt_core.measured_rows import MeasuredQuestion, file_name, read_questions
from rlt_core.measures import MeasuredRow, figures_of, values_of
from rlt_core.schemas.base import new_id
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import Job, JobResult
from rlt_core.schemas.measured import ModelEvaluation
from rlt_core.schemas.trainer import EvaluatedEvent
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.jobs import JobStore
from rlt_service.store.measured import MeasuredStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """Stores what was measured; each step can be done again after a crash, with the same outcome."""

    jobs: JobStore
    datasets: DatasetStore
    measured: MeasuredStore

    def register(self, job: Job, spec: EvaluateSpec, told: EvaluatedEvent) -> Sequence[ModelEvaluation]:
        """Compute every figure from the answers, and store both.

        Raises StaleAttemptError, StorageUnavailableError; InconsistentStateError where answers are missing.
        """
        dataset_sha256 = self.datasets.get(spec.dataset).sha256
        places = range(len(told.models))
        made = [_evaluation(job, spec, told, place=place, dataset_sha256=dataset_sha256) for place in places]
        return self.measured.keep(job, made)

    def result(self, job: Job, made: Sequence[ModelEvaluation]) -> JobResult:
        """Name what was made, with what the trainer told of it: also where that was in an earlier attempt."""
        events = self.jobs.newest(job.id, type_="evaluated", limit=1)
        cost: dict[str, float] = events[0].data.get("cost") or {} if events else {}
        ids = [evaluation.id for evaluation in made]
        return JobResult(evaluation=ids[0], evaluations=ids, cost=in_common_words(cost))


def _evaluation(
    job: Job, spec: EvaluateSpec, told: EvaluatedEvent, *, place: int, dataset_sha256: str
) -> tuple[ModelEvaluation, Sequence[MeasuredRow]]:
    model = told.models[place]
    with storage_faults(f"read the answers of {model}"):
        path = Path(told.path) / file_name(place)
        questions = sorted(read_questions(path), key=lambda question: question.position)
    if len({question.position for question in questions}) != told.questions or len(questions) != told.questions:
        raise InconsistentStateError(
            f"{len(questions)} of {told.questions} questions were answered by {model}: they are not as told"
        )
    rows = [row for question in questions for row in _rows(question)]
    student = spec.role == "student"
    return ModelEvaluation(
        id=new_id("eval"),
        created_at=told.at,
        job=job.id,
        role=spec.role,
        model=model,
        student=told.student,
        dataset=spec.dataset,
        dataset_sha256=dataset_sha256,
        questions=len(questions),
        samples=spec.samples,
        temperature=spec.temperature,
        top_p=spec.top_p,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
        verdict=spec.verdict if student else None,
        reward=None if student else spec.reward,
        format=told.format,
        engine=questions[0].engine,
        figures=figures_of(values_of(rows, pass_at=spec.pass_at)),
    ), rows


def _rows(question: MeasuredQuestion) -> Sequence[MeasuredRow]:
    return question.answers or question.explained
