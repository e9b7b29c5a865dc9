"""Own what a trainer must know before it starts: names become folders and exact versions, or the job is invalid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rlt_core.errors import ConfigurationError, InvalidRequestError, NotFoundError
from rlt_core.schemas.collect import CollectSpec, Source
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import Job, PolicySpec, RlSpec, RlvrSpec, ServiceSpec, SupervisedSpec, TrainingSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.schemas.trainer import ResumePoint, TrainerJob
from rlt_service.bases import BASE_FIELDS, base_role, model_reference
from rlt_service.control.starts import check_kind_of_start
from rlt_service.jobs.launching import check_launchable
from rlt_service.listening import address_of
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.checkpoints import StoredCheckpoint, find_checkpoint
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry, ResolvedVersion

LEASE_SHARE = 0.8
"""A trainer gives up this part of a lease after the last beat, before any watcher can hand the job on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Resolves a job against the stores."""

    settings: Settings
    jobs: JobStore
    datasets: DatasetStore
    registry: Registry
    artifacts: ArtifactStore

    def prepare(self, job: Job, *, base_dir: Path) -> TrainerJob:
        """Resolve everything that the spec names; raises NotFoundError or InvalidRequestError for what is not there.

        ConfigurationError for a job that this worker cannot start.
        """
        spec = job.spec
        if isinstance(spec, PipelineSpec):
            raise ConfigurationError(f"{job.id} is a pipeline, which no worker runs")
        folder = self.artifacts.make_dir(self.artifacts.attempt_dir(job.id, job.attempt))
        fields = self._service(job, spec) if isinstance(spec, CollectSpec | EvaluateSpec) else self._training(job, spec)
        return TrainerJob(
            job_id=job.id,
            attempt=job.attempt,
            kind=job.kind,
            spec=spec,
            base_model=self.registry.base(base_role(spec)).base_model,
            base_model_dir=str(base_dir),
            dataset_path=str(self.datasets.path(spec.dataset)),
            attempt_dir=str(folder),
            events_path=str(folder / "events.jsonl"),
            base_url=service_url(self.settings),
            format_id=self.settings.format,
            lease_s=self.settings.lease_s * LEASE_SHARE,
            journal_dirs=[
                str(self._attempt_dir(job, earlier) / "journal") for earlier in range(job.attempt - 1, 0, -1)
            ],
            **fields,
        )

    def _training(self, job: Job, spec: TrainingSpec) -> dict[str, Any]:
        base = self.registry.base(base_role(spec))
        check_launchable(spec.parallel)
        first, branch = self._first_attempt(job), self._branch(spec)
        begun = (first and first.begun) or (branch and branch.told.begun)
        return self._by_kind(spec, base, first, begun=begun) | {
            "split_paths": self._splits(spec),
            "resume_points": self._resume_points(job),
            "branch_point": branch.point if branch is not None else None,
        }

    def _by_kind(
        self, spec: TrainingSpec, base: ResolvedVersion, first: TrainerJob | None, *, begun: str | None
    ) -> dict[str, Any]:
        if isinstance(spec, RlSpec):
            return self._rl(spec, base, first, begun=begun)
        if isinstance(spec, RlvrSpec):
            student = self._start(spec, base, begun=begun)
            return _started(student) | {"student_version": student.version}
        return self._warmup(spec, base)

    def _service(self, job: Job, spec: ServiceSpec) -> dict[str, Any]:
        # As with rl, what an alias means is decided once: all shards are of one teacher, judged by one student.
        first = self._first_attempt(job)
        if isinstance(spec, EvaluateSpec):
            return self._evaluate(spec, first)
        splits = {"split_paths": self._splits(spec)}
        if spec.source is not None:
            return self._outside(spec, spec.source, first) | splits
        teacher = (first and first.teacher_version) or spec.teacher
        student = (first and first.student_version) or spec.student
        return splits | {
            "teacher_version": self.registry.resolve("teacher", teacher).version,
            "student_version": self.registry.resolve("student", student).version,
        }

    def _evaluate(self, spec: EvaluateSpec, first: TrainerJob | None) -> dict[str, Any]:
        names = (first and first.measured_versions) or spec.models or [spec.model or "default"]
        versions = [self.registry.resolve(spec.role, name).version for name in names]
        if spec.role == "student":
            return {"measured_versions": versions}
        student = (first and first.student_version) or spec.student
        return {
            "measured_versions": versions,
            "student_version": self.registry.resolve("student", student).version,
        }

    def _resume_points(self, job: Job) -> list[ResumePoint]:
        """List where earlier attempts may be taken up, the furthest first; only what the database knows counts."""
        points = [
            ResumePoint(
                attempt=event.attempt,
                step=event.data["step"],
                folder=str(self._attempt_dir(job, event.attempt) / "checkpoints" / f"step-{event.data['step']}"),
                manifest_sha256=event.data["manifest_sha256"],
            )
            for event in self.jobs.checkpoints(job.id)
        ]
        return sorted(points, key=lambda point: (point.step, point.attempt), reverse=True)

    def _branch(self, spec: TrainingSpec) -> StoredCheckpoint | None:
        """Find the other job's checkpoint that a spec names; whether it fits was checked when it was submitted."""
        if spec.resume_from is None:
            return None
        return find_checkpoint(spec.resume_from, jobs=self.jobs, artifacts=self.artifacts)

    def _attempt_dir(self, job: Job, attempt: int) -> Path:
        return self.artifacts.attempt_dir(job.id, attempt)

    def _splits(self, spec: TrainingSpec | CollectSpec) -> dict[str, str]:
        named = spec.splits.model_dump().items()
        return {split: str(self.datasets.path(value)) for split, value in named if isinstance(value, str)}

    def _warmup(self, spec: SupervisedSpec, base: ResolvedVersion) -> dict[str, Any]:
        reference = model_reference(self.settings, base_role(spec))
        known = {None, base.base_model, base.version, base.version.partition("@")[0], reference}
        if spec.base_model not in known:
            field = BASE_FIELDS[spec.kind]
            raise InvalidRequestError(
                f"{field} {spec.base_model!r} is not the base that this server serves, {base.version}: "
                "leave it out, or start a server with that base.",
                param=f"/{field}",
            )
        return {}

    def _outside(self, spec: CollectSpec, source: Source, first: TrainerJob | None) -> dict[str, Any]:
        """Resolve a collect whose source lies outside; ConfigurationError where this worker does not know it."""
        known = self.settings.sources.get(source.name)
        if known is None:
            raise ConfigurationError(f"RLT_SOURCES of this worker has no {source.name!r}: lay it down there too")
        student = (first and first.student_version) or spec.student
        return {
            "teacher_version": f"{source.name}/{source.model}",
            "student_version": self.registry.resolve("student", student).version,
            "source_url": known.base_url,
            "source_key_env": known.api_key_env,
        }

    def _first_attempt(self, job: Job) -> TrainerJob | None:
        """Read what the first attempt that got that far was given; None where none did."""
        for attempt in range(1, job.attempt):
            try:
                text = self.artifacts.job_file(job.id, attempt).read_text(encoding="utf-8")
                return TrainerJob.model_validate_json(text, extra="ignore")  # a newer worker may have told it more
            except (OSError, ValidationError):
                continue
        return None

    def _rl(
        self, spec: RlSpec, base: ResolvedVersion, first: TrainerJob | None, *, begun: str | None
    ) -> dict[str, Any]:
        # An alias may have moved since: all attempts train one policy against one student, or a resume would mix them.
        told = [first.student_version, *first.other_student_versions] if first and first.student_version else None
        names = told or ([spec.student] if isinstance(spec.student, str) else spec.student)
        teacher = self._start(spec, base, begun=begun)
        bases = (base, self.registry.base("student"))
        students = [_of_base(self.registry.resolve("student", name), *bases).version for name in names]
        return _started(teacher) | {
            "teacher_version": teacher.version,
            "student_version": students[0],
            "other_student_versions": students[1:],
            "served_version": self._served(spec.promote.alias),
        }

    def _start(self, spec: PolicySpec, base: ResolvedVersion, *, begun: str | None) -> ResolvedVersion:
        """Find where a policy starts: where the first attempt did, or the training of which it goes on."""
        found = _of_base(self.registry.resolve(spec.role, begun or spec.start), base)
        check_kind_of_start(spec, found)
        self.registry.fetch(found)
        return found

    def _served(self, alias: str) -> str | None:
        try:
            return self.registry.get_alias("teacher", alias).version
        except NotFoundError:
            return None


def _started(start: ResolvedVersion) -> dict[str, Any]:
    files = start.adapter or start.full
    return {"start_adapter_dir": str(files.path) if files is not None else None}


def _of_base(resolved: ResolvedVersion, *bases: ResolvedVersion) -> ResolvedVersion:
    served = list(dict.fromkeys(base.base_model for base in bases))
    if resolved.base_model not in served:
        raise InvalidRequestError(
            f"{resolved.version} was trained on {resolved.base_model}, this server serves {' and '.join(served)}: "
            f"name a {resolved.role} of that base.",
            param=f"/{resolved.role}",
        )
    return resolved


def service_url(settings: Settings) -> str:
    """Return where this installation's services answer, one address or several in one text.

    Raises ConfigurationError where nobody can know.
    """
    if settings.service_url is not None:
        return settings.service_url
    if settings.port == 0:
        raise ConfigurationError("RLT_PORT is 0, so a worker cannot know the address: set RLT_SERVICE_URL.")
    return address_of(settings.host, settings.port)
