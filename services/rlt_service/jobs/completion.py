"""Own what a successful trainer's words become: a version with its evaluation, then perhaps an alias, then the end."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from rlt_core.comparison import evaluation_of
from rlt_core.costs import in_common_words
from rlt_core.errors import InconsistentStateError, NotFoundError
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import Dataset, DatasetRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import DistillSpec, Job, JobResult, PromotionResult, RlSpec, TrainingSpec
from rlt_core.schemas.measured import ModelEvaluation
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.schemas.teachers import Evaluation, EvaluationRow, JobAttempt, ModelVersion
from rlt_core.schemas.trainer import CollectedEvent, EvaluatedEvent, EvaluationEvent, ResultEvent
from rlt_core.traces import teachers_of
from rlt_service.jobs.measuring import Measuring
from rlt_service.jobs.preparation import service_url
from rlt_service.jobs.promotion import Promoter
from rlt_service.settings import Settings
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.documents import read_document
from rlt_service.store.faults import storage_faults
from rlt_service.store.jobs import JobStore
from rlt_service.store.measured import MeasuredStore
from rlt_service.store.registry import Candidate, HeldOut, Registry

LOGGER = logging.getLogger(__name__)

Made = ModelVersion | Dataset | Sequence[ModelEvaluation]
"""What a job's result may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Registers and promotes; each step can be done again after a crash, with the same outcome."""

    settings: Settings
    jobs: JobStore
    datasets: DatasetStore
    registry: Registry
    measured: MeasuredStore
    transport: httpx.BaseTransport | None = None
    """Null is the network."""

    def made(self, job: Job) -> Made | None:
        """Give what an earlier attempt has registered as the job's result, if one has."""
        if isinstance(job.spec, CollectSpec):
            return self.datasets.collected_by(job.id)
        if isinstance(job.spec, EvaluateSpec):
            return self._measuring.measured.of_job(job.id) or None
        return self.registry.version_of_job(job.id)

    def register(
        self, job: Job, result: ResultEvent | CollectedEvent | EvaluatedEvent, evaluation: EvaluationEvent | None
    ) -> Made:
        """Make what was trained a version, what was collected a dataset, what was measured evaluations.

        Raises StaleAttemptError, InvalidAdapterError, StorageUnavailableError.
        """
        if isinstance(result, CollectedEvent):
            return self.datasets.keep_collected(job, result)
        if isinstance(result, EvaluatedEvent) and isinstance(job.spec, EvaluateSpec):
            return self._measuring.register(job, job.spec, result)
        if isinstance(result, EvaluatedEvent) or isinstance(job.spec, CollectSpec | EvaluateSpec | PipelineSpec):
            raise InconsistentStateError(f"the trainer of {job.id}, of the kind {job.kind}, told of {result.type}")
        return self._register_version(job, job.spec, result, evaluation)

    def _register_version(
        self, job: Job, spec: TrainingSpec, result: ResultEvent, evaluation: EvaluationEvent | None
    ) -> ModelVersion:
        candidate = Candidate(
            name=spec.target_name,
            role=spec.role,
            base_model=result.base_model,
            format=self.settings.format,
            folder=Path(result.adapter_dir),
            sha256=result.sha256,
            lora_rank=result.lora_rank,
            parent=result.parent,
            job_id=job.id,
            attempt=job.attempt,
            dataset_id=spec.dataset,
            dataset_sha256=self._dataset_sha256(spec.dataset),
            code_version=_code_version(),
        )
        return self.registry.register(candidate, held_out=_held_out(job, evaluation))

    def result(
        self,
        job: Job,
        made: Made,
        *,
        cost: dict[str, float],
        keep_on: Callable[[], bool],
        api_key: str | None = None,
    ) -> JobResult:
        """Promote as the spec says, and name what the job made; raises Interrupted."""
        if isinstance(made, Dataset):
            return self._collected(job, made)
        if not isinstance(made, ModelVersion):
            return self._measuring.result(job, made)
        evaluation = self.registry.evaluation_of_job(job.id)
        return JobResult(
            taught_by=self._taught_by(job),
            teacher=made.version if made.role == "teacher" else None,
            student=made.version if made.role == "student" else None,
            evaluation=evaluation.id if evaluation is not None else None,
            promotion=self._promote(job, made, evaluation, keep_on=keep_on, api_key=api_key),
            cost=in_common_words(cost),
        )

    def tidy(self, job: Job) -> None:
        """Remove what only the job itself needed, once it has succeeded; repeatable."""
        if isinstance(job.spec, CollectSpec):
            self.datasets.discard_shards(job.id)
        elif not isinstance(job.spec, EvaluateSpec):
            self.registry.collect_rollouts(job.id)

    @property
    def _measuring(self) -> Measuring:
        return Measuring(jobs=self.jobs, datasets=self.datasets, measured=self.measured)

    def _collected(self, job: Job, made: Dataset) -> JobResult:
        """Name the dataset, with what the trainer told of it: also where that was in an earlier attempt."""
        events = self.jobs.newest(job.id, type_="collected", limit=1)
        told = read_document(CollectedEvent, {"path": "", **events[0].data}) if events else None
        if told is None:
            return JobResult(dataset=made.id)
        return JobResult(dataset=made.id, cost=in_common_words(told.cost), counts=told.counts, skipped=told.skipped)

    def _promote(
        self,
        job: Job,
        made: ModelVersion,
        evaluation: Evaluation | None,
        *,
        keep_on: Callable[[], bool],
        api_key: str | None,
    ) -> PromotionResult | None:
        if not isinstance(job.spec, RlSpec):
            return None
        promoter = Promoter(
            base_url=service_url(self.settings), keep_on=keep_on, api_key=api_key, transport=self.transport
        )
        return promoter.promote(
            job.spec.promote,
            version=made.version,
            evaluation=evaluation,
            student=job.spec.student if isinstance(job.spec.student, str) else job.spec.student[0],
            asker=JobAttempt(job=job.id, attempt=job.attempt),
        )

    def _taught_by(self, job: Job) -> list[str]:
        """Say whose explanations a student was taught; nobody's where the rows do not say."""
        if not isinstance(job.spec, DistillSpec):
            return []
        try:
            path = self.datasets.path(job.spec.dataset)
        except NotFoundError:
            return []
        with storage_faults(f"read dataset {job.spec.dataset}"), path.open(encoding="utf-8") as lines:
            return teachers_of(DatasetRow.model_validate_json(line) for line in lines)

    def _dataset_sha256(self, dataset_id: str) -> str | None:
        try:
            return self.datasets.get(dataset_id).sha256
        except NotFoundError:
            return None


def _held_out(job: Job, event: EvaluationEvent | None) -> HeldOut | None:
    """Compute the comparison from the rows that the trainer wrote; None where these compare nothing."""
    if event is None or event.before is None:
        return None
    try:
        rows = [EvaluationRow.model_validate_json(line) for line in _lines(Path(event.path))]
        evaluation = evaluation_of(
            rows,
            before=event.before,
            after=event.after,
            student=event.student,
            format=event.format,
            created_at=event.at,
            job=job.id,
        )
    except ValueError as error:  # a gate refuses without an evaluation; the version itself is sound
        LOGGER.warning("the evaluation rows of %s are no comparison: %s", job.id, error)
        return None
    return HeldOut(evaluation=evaluation, rows=rows)


def _lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return list(lines)


def _code_version() -> str | None:
    try:
        return version("rlt")
    except PackageNotFoundError:
        return None
