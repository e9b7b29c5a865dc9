"""Own what is checked before a training job is accepted; a dry run checks the same, without the job."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from rlt_core.errors import InvalidRequestError, NotFoundError
from rlt_core.row_files import open_rows
from rlt_core.schemas.base import split_version
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import AnySpec, DistillSpec, Job, PolicySpec, RlSpec, RlvrSpec, SupervisedSpec
from rlt_core.splits import SplitRows, split_rows
from rlt_core.traces import SupervisedKind, missing_trace
from rlt_service.bases import base_role, model_reference
from rlt_service.control.branching import check_fits
from rlt_service.control.collecting import CollectChecks
from rlt_service.control.evaluating import EvaluateChecks
from rlt_service.control.judging import FaultyRows, check_library
from rlt_service.control.lengths import check_some_row_fits, longest_prompt
from rlt_service.control.specs import Spec, check_available, check_lora, check_not_before, check_taught
from rlt_service.control.starts import check_places, resolve_start
from rlt_service.control.versions import check_alias_name, check_new_name, resolve_version
from rlt_service.engine.protocol import Engine
from rlt_service.engine.request_checks import check_temperature
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.checkpoints import StoredCheckpoint, find_checkpoint
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry, ResolvedVersion

MIN_GATE_QUESTIONS = 2
"""A paired interval needs two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A spec that can be carried out, with all that it names."""

    spec: Spec
    dataset_rows: int
    parts: SplitRows
    teacher: ResolvedVersion | None
    """None but for rl."""
    student: ResolvedVersion | None
    """Of several the first; of rlvr where it starts."""
    longest_prompt_tokens: int | None
    first_step: int = 0
    """The step of another job's checkpoint, after which training goes on."""

    @property
    def start(self) -> ResolvedVersion | None:
        """The version from which the training of a policy starts."""
        return self.student if isinstance(self.spec, RlvrSpec) else self.teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a training's spec names beside its rows."""

    checkpoint: StoredCheckpoint | None
    teacher: ResolvedVersion | None
    student: ResolvedVersion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Checks specs against what is stored and served; `engine` is None where none has started."""

    settings: Settings
    jobs: JobStore
    datasets: DatasetStore
    registry: Registry
    artifacts: ArtifactStore
    engine: Engine | None

    def submit(self, spec: AnySpec) -> Job:
        """Check, then store the job; raises what the checks of its kind raise."""
        self.examine(spec)
        return self.jobs.submit(spec)

    def examine(self, spec: AnySpec) -> None:
        """Make the checks of a spec's kind, and nothing else."""
        if isinstance(spec, CollectSpec):
            self.collects.check(spec)
        elif isinstance(spec, EvaluateSpec):
            self.evaluates.check(spec)
        else:
            self.check(spec)

    def examine_names(self, spec: AnySpec) -> None:
        """Make those of them that look at no row: of a spec whose rows are not there yet."""
        if isinstance(spec, CollectSpec):
            self.collects.check_names(spec)
        elif isinstance(spec, EvaluateSpec):
            self.evaluates.check_names(spec)
        else:
            self.check_names(spec)

    @property
    def collects(self) -> CollectChecks:
        """The checks of a collect."""
        return CollectChecks(
            datasets=self.datasets, registry=self.registry, engine=self.engine, sources=tuple(self.settings.sources)
        )

    @property
    def evaluates(self) -> EvaluateChecks:
        """The checks of an evaluate."""
        return EvaluateChecks(
            settings=self.settings, datasets=self.datasets, registry=self.registry, engine=self.engine
        )

    def check(self, spec: Spec) -> Checked:
        """Find all that a training's spec names.

        Raises NotAvailableYetError, NotFoundError, ModelNotFoundError, PromptTooLongError or InvalidRequestError, each
        with `param`.
        """
        names = self.check_names(spec)
        rows = self._rows(spec.dataset, param="/dataset")
        # Rows of a large file are read here, when they are looked at.
        with storage_faults(f"read the rows of dataset {spec.dataset}"):
            parts = self._split(spec, rows)
            longest = self._check_rows(spec, parts)
        return Checked(
            spec=spec,
            dataset_rows=len(rows),
            parts=parts,
            teacher=names.teacher,
            student=names.student,
            longest_prompt_tokens=longest,
            first_step=names.checkpoint.point.step if names.checkpoint else 0,
        )

    def check_names(self, spec: Spec) -> Named:
        """Make the checks that look at no row; raises as `check` does."""
        if isinstance(spec, DistillSpec):
            check_taught(spec)
        base = self.registry.base(base_role(spec))
        check_available(
            spec,
            base_names=(
                base.base_model,
                base.version,
                split_version(base.version)[0],
                model_reference(self.settings, base_role(spec)),
            ),
        )
        check_not_before(spec)
        max_rank = self.engine.info.max_lora_rank if self.engine is not None else self.settings.max_lora_rank
        check_lora(spec, max_rank=max_rank)
        if isinstance(spec, RlvrSpec):
            check_library(self.settings, rule=spec.verdict)
        check_new_name(self.registry, spec.target_name, param="/target_name")
        checkpoint = self._checkpoint(spec)
        teacher, student = self._players(spec, begun=checkpoint.told.begun if checkpoint else None)
        return Named(checkpoint=checkpoint, teacher=teacher, student=student)

    def reads(self, spec: Spec) -> bool:
        """Tell whether this process's tokenizer is that of what is trained: students may have a base of their own."""
        return self.registry.base(base_role(spec)).base_model == self.registry.base().base_model

    def _checkpoint(self, spec: Spec) -> StoredCheckpoint | None:
        if spec.resume_from is None:
            return None
        found = find_checkpoint(spec.resume_from, jobs=self.jobs, artifacts=self.artifacts)
        base_model, format_id = self.registry.base(base_role(spec)).base_model, self.settings.format
        check_fits(spec, point=found.point, told=found.told, base_model=base_model, format_id=format_id)
        return found

    def _players(self, spec: Spec, *, begun: str | None) -> tuple[ResolvedVersion | None, ResolvedVersion | None]:
        """Find teacher and student; `begun` is the version at which the training that goes on began."""
        if isinstance(spec, RlvrSpec):
            start = resolve_start(self.registry, spec, begun=begun)
            check_places(spec, students=(), places=self.settings.max_full_engines)
            return None, start
        if not isinstance(spec, RlSpec):
            return None, None
        if spec.promote.when != "never":
            check_alias_name(self.registry, "teacher", spec.promote.alias, param="/promote/alias")
        start, students = resolve_start(self.registry, spec, begun=begun), self._students(spec)
        check_places(spec, students=students, places=self.settings.max_full_engines)
        return start, students[0]

    def _students(self, spec: RlSpec) -> list[ResolvedVersion]:
        if isinstance(spec.student, str):
            return [resolve_version(self.registry, "student", spec.student, param="/student")]
        found = [
            resolve_version(self.registry, "student", name, param=f"/student/{place}")
            for place, name in enumerate(spec.student)
        ]
        versions = [student.version for student in found]
        for place, version in enumerate(versions):
            if version in versions[:place]:
                raise InvalidRequestError(
                    f"{spec.student[place]!r} is {version}, which is named before: name each student once",
                    param=f"/student/{place}",
                )
        return found

    def _rows(self, dataset_id: str, *, param: str) -> Sequence[DatasetRow]:
        try:
            path = self.datasets.path(dataset_id)
        except NotFoundError as error:
            raise NotFoundError(error.detail, param=param) from error
        with storage_faults(f"read dataset {dataset_id}"):
            return open_rows(path)

    def _split(self, spec: Spec, rows: Sequence[DatasetRow]) -> SplitRows:
        named = {split: value for split, value in spec.splits.model_dump().items() if isinstance(value, str)}
        held_out = {split: self._rows(dataset, param=f"/splits/{split}") for split, dataset in named.items()}
        parts = split_rows(rows, splits=spec.splits, seed=spec.seed, held_out=held_out)
        if not parts.train:
            raise InvalidRequestError(f"of {len(rows)} rows none is left to train on: hold less out", param="/splits")
        return parts

    def _check_rows(self, spec: Spec, parts: SplitRows) -> int | None:
        codec = self.engine.codec if self.engine is not None and self.reads(spec) else None
        _check_selected(spec, parts)
        if isinstance(spec, RlvrSpec):
            _check_counts(spec, parts)
            _check_judged(spec, parts)
            if self.engine is None or codec is None:
                return None
            room = self.engine.info.max_model_len
            return longest_prompt(chain(parts.train, parts.select), spec=spec, codec=codec, max_model_len=room)
        if isinstance(spec, RlSpec):
            _check_counts(spec, parts)
            if self.engine is None or codec is None:
                return None
            check_temperature(spec.reward.temperature, info=self.engine.info, param="/reward/temperature")
            return longest_prompt(
                chain(parts.train, parts.gate), spec=spec, codec=codec, max_model_len=self.engine.info.max_model_len
            )
        _check_traces(parts.train, kind=spec.kind, param="/dataset")
        select_param = "/splits/select" if isinstance(spec.splits.select, str) else "/dataset"
        _check_traces(parts.select, kind=spec.kind, param=select_param)
        _check_share(spec, rows=len(parts.train))
        if codec is not None:
            check_some_row_fits(parts.train, spec=spec, codec=codec)
        if codec is not None and parts.select:
            check_some_row_fits(parts.select, spec=spec, codec=codec)
        return None


def _check_traces(rows: Sequence[DatasetRow], *, kind: SupervisedKind, param: str) -> None:
    missing = missing_trace(rows, kind=kind)
    if missing is not None:
        raise InvalidRequestError(missing, param=param)


def _check_selected(spec: Spec, parts: SplitRows) -> None:
    if spec.eval_every and not parts.select:
        raise InvalidRequestError(
            f"eval_every measures on select questions, and of so few rows splits.select = {spec.splits.select} holds "
            "out none: hold more out",
            param="/splits/select",
        )


def _check_share(spec: SupervisedSpec, *, rows: int) -> None:
    if rows < spec.batch_size and rows % spec.parallel.processes:
        raise InvalidRequestError(
            f"{rows} rows are left to train on, fewer than batch_size = {spec.batch_size}, and they cannot be shared "
            f"out among {spec.parallel.processes} processes: choose a smaller batch_size that divides by them",
            param="/batch_size",
        )


def _check_judged(spec: RlvrSpec, parts: SplitRows) -> None:
    """Refuse rows whose answers the rule cannot judge: none would ever be right."""
    named = isinstance(spec.splits.select, str)
    for rows, param in ((parts.train, "/dataset"), (parts.select, "/splits/select" if named else "/dataset")):
        faulty = FaultyRows()
        for row in rows:
            faulty.judge(row, rule=spec.verdict)
        faulty.refuse_unjudged(rows=len(rows), rule=spec.verdict, param=param)


def _check_counts(spec: PolicySpec, parts: SplitRows) -> None:
    if len(parts.train) < spec.questions_per_step:
        raise InvalidRequestError(
            f"{len(parts.train)} rows are left to train on, fewer than questions_per_step = {spec.questions_per_step}: "
            "lower it, or hold less out",
            param="/questions_per_step",
        )
    if isinstance(spec, RlSpec) and spec.promote.when == "if_better" and len(parts.gate) < MIN_GATE_QUESTIONS:
        raise InvalidRequestError(
            f"promotion if_better compares on held-out gate questions, and {len(parts.gate)} are held out: set "
            f"splits.gate so that at least {MIN_GATE_QUESTIONS} are",
            param="/splits/gate",
        )
