"""Own what a successful trainer's words become: a version with its evaluation, then perhaps an alias, then the end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import httpx

from rlt_core.comparison import evaluation_of
from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import Role
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import DistillSpec, Job, JobResult, PromotionResult, RlSpec
from rlt_core.schemas.teachers import Evaluation, EvaluationRow, JobAttempt, ModelVersion
from rlt_core.schemas.trainer import EvaluationEvent, ResultEvent
from rlt_core.traces import teachers_of
from rlt_service.jobs.preparation import service_url
from rlt_service.jobs.promotion import Promoter
from rlt_service.settings import Settings
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.registry import Candidate, HeldOut, Registry

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Registers and promotes; each step can be done again after a crash, with the same outcome."""

    settings: Settings
    datasets: DatasetStore
    registry: Registry
    transport: httpx.BaseTransport | None = None
    """Null is the network."""

    def register(self, job: Job, result: ResultEvent, evaluation: EvaluationEvent | None) -> ModelVersion:
        """Make the adapter a version; raises StaleAttemptError, InvalidAdapterError."""
        candidate = Candidate(
            name=job.spec.target_name,
            role=_role(job),
            base_model=result.base_model,
            format=self.settings.format,
            folder=Path(result.adapter_dir),
            sha256=result.sha256,
            lora_rank=result.lora_rank,
            parent=result.parent,
            job_id=job.id,
            attempt=job.attempt,
            dataset_id=job.spec.dataset,
            dataset_sha256=self._dataset_sha256(job.spec.dataset),
            code_version=_code_version(),
        )
        return self.registry.register(candidate, held_out=_held_out(job, evaluation))

    def result(
        self,
        job: Job,
        made: ModelVersion,
        *,
        cost: dict[str, float],
        keep_on: Callable[[], bool],
        api_key: str | None = None,
    ) -> JobResult:
        """Promote as the spec says, and name what the job made; raises Interrupted."""
        evaluation = self.registry.evaluation_of_job(job.id)
        return JobResult(
            taught_by=self._taught_by(job),
            teacher=made.version if made.role == "teacher" else None,
            student=made.version if made.role == "student" else None,
            evaluation=evaluation.id if evaluation is not None else None,
            promotion=self._promote(job, made, evaluation, keep_on=keep_on, api_key=api_key),
            cost=cost,
        )

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


def _role(job: Job) -> Role:
    return "teacher" if isinstance(job.spec, RlSpec) else job.spec.role


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
