"""Own the use case of a dry run: what a submission checks, a trial of a few rows, estimates. Makes nothing."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from rlt_core.errors import InvalidRequestError
from rlt_core.job_errors import remedy_of
from rlt_core.memory import refusal
from rlt_core.model_shape import read_shape
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.dry_run import Estimates, Lengths, Rehearsal
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import AnySpec, DryRun, RlSpec, RlvrSpec
from rlt_core.schemas.training import GrpoSpec
from rlt_core.splits import HELD_OUT
from rlt_service.bases import base_role, model_reference
from rlt_service.control.collect_dry_run import CollectDryRun
from rlt_service.control.estimates import Machine, Speeds, Work, estimate, least_memory, per_s
from rlt_service.control.evaluate_dry_run import EvaluateDryRun
from rlt_service.control.lengths import first_fitting, measure_lengths
from rlt_service.control.rehearsal import REHEARSED_ROWS, Players, Rehearsed, rehearse
from rlt_service.control.specs import Spec
from rlt_service.control.submission import Checked, Submission
from rlt_service.control.workload import counted, work_of
from rlt_service.engine.models import known_folder
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from rlt_service.store.faults import storage_faults

UNACCELERATED = ("cpu", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunner:
    """Says what a job would be and take; the job is not stored, and nothing else is."""

    settings: Settings
    submission: Submission
    players: Players | None
    """None where neither this process nor another is known to play teacher and student."""
    engine: Engine | None

    async def run(self, spec: AnySpec) -> DryRun:
        """Check, try, estimate; raises what the checks of a kind raise, or InvalidRequestError for want of memory."""
        if isinstance(spec, CollectSpec):
            dry = CollectDryRun(
                checks=self.submission.collects, players=self.players, artifacts=self.settings.artifacts
            )
            return await dry.run(spec)
        if isinstance(spec, EvaluateSpec):
            return await EvaluateDryRun(checks=self.submission.evaluates, players=self.players).run(spec)
        checked = await asyncio.to_thread(self.submission.check, spec)
        lengths = await asyncio.to_thread(self._lengths, checked)
        await asyncio.to_thread(self._check_memory, checked, lengths)
        rehearsed = await rehearse(
            spec,
            await asyncio.to_thread(self._tried, checked),
            players=self.players,
            teacher=checked.teacher.version if checked.teacher is not None else None,
            student=await asyncio.to_thread(self._student, checked),
        )
        return await asyncio.to_thread(self._told, checked, lengths, rehearsed)

    def _lengths(self, checked: Checked) -> Lengths | None:
        if self.engine is None or not self.submission.reads(checked.spec):
            return None
        with storage_faults(f"read the rows of dataset {checked.spec.dataset}"):
            return measure_lengths(
                checked.parts.train,
                spec=checked.spec,
                codec=self.engine.codec,
                max_model_len=self.engine.info.max_model_len,
            )

    def _check_memory(self, checked: Checked, lengths: Lengths | None) -> None:
        """Raise InvalidRequestError where no worker of this machine could ever hold the training.

        Only where workers are known to run here, on CPUs, and rows were counted; a trainer looks again as it starts.
        """
        elsewhere = self.settings.broker_url is not None
        if elsewhere or lengths is None or self._accelerated:
            return
        need = least_memory(self._work(checked, lengths, Rehearsal()), self._machine(checked))
        has = psutil.virtual_memory().total
        if need is not None and need.total > has:
            raise InvalidRequestError(
                f"{refusal(need, has=has, where='this machine')}. {remedy_of('out_of_memory')}",
                param="/max_tokens" if need.total - need.passing <= has else "/lora",
            )

    @property
    def _accelerated(self) -> bool:
        return self.engine is not None and self.engine.info.device not in UNACCELERATED

    def _tried(self, checked: Checked) -> Sequence[DatasetRow]:
        """Choose the rows of the trial: one that training leaves out would only say that it is too long."""
        with storage_faults(f"read the rows of dataset {checked.spec.dataset}"):
            if self.engine is None or isinstance(checked.spec, GrpoSpec) or not self.submission.reads(checked.spec):
                return tuple(checked.parts.train[:REHEARSED_ROWS])
            return first_fitting(
                checked.parts.train,
                spec=checked.spec,
                codec=self.engine.codec,
                max_model_len=self.engine.info.max_model_len,
                count=REHEARSED_ROWS,
            )

    def _student(self, checked: Checked) -> str:
        """Give who judges; a warm-up names nobody, so that its rows are judged by the untrained base."""
        return checked.student.version if checked.student else self.submission.registry.base("student").version

    def _told(self, checked: Checked, lengths: Lengths | None, rehearsed: Rehearsed) -> DryRun:
        estimates = self._estimates(checked, lengths, rehearsed)
        teacher, student = checked.teacher, checked.student
        return DryRun(
            spec=checked.spec,
            dataset_rows=checked.dataset_rows,
            train_rows=len(checked.parts.train),
            held_out_rows={name: len(getattr(checked.parts, name)) for name in HELD_OUT},
            teacher=teacher.version if teacher is not None else None,
            student=student.version if student is not None else None,
            longest_prompt_tokens=checked.longest_prompt_tokens,
            lengths=lengths,
            rehearsal=rehearsed.shown,
            estimates=estimates,
            warnings=self._warnings(checked.spec, estimates, lengths),
        )

    def _estimates(self, checked: Checked, lengths: Lengths | None, rehearsed: Rehearsed) -> Estimates:
        shown = rehearsed.shown
        work = self._work(checked, lengths, shown)
        return estimate(
            work,
            speeds=Speeds(
                generated_per_s=per_s(shown.generated_tokens, shown.generate_s),
                scored_per_s=per_s(shown.scored_tokens - shown.cached_tokens, shown.score_s),
                completion_bytes=rehearsed.completion_bytes,
            ),
            machine=self._machine(checked),
        )

    def _work(self, checked: Checked, lengths: Lengths | None, shown: Rehearsal) -> Work:
        served = isinstance(checked.spec, RlSpec) and self._serves(checked.spec)
        return work_of(
            _left_of(checked),
            counted(checked.spec, lengths=lengths, rehearsal=shown),
            train_rows=len(checked.parts.train),
            gate_rows=0 if isinstance(checked.spec, RlvrSpec) else len(checked.parts.gate),
            select_rows=len(checked.parts.select),
            compared=2 if served else 1,
        )

    def _serves(self, spec: RlSpec) -> bool:
        """Tell whether the gate has a version to compare with."""
        return any(
            known.role == "teacher" and known.alias == spec.promote.alias
            for known in self.submission.registry.aliases()
        )

    def _machine(self, checked: Checked) -> Machine:
        reference = model_reference(self.settings, base_role(checked.spec))
        folder = known_folder(reference, state_folder=self.settings.home)
        shape = read_shape(folder) if folder is not None else None
        lora = checked.spec.lora
        size = 0
        if shape is not None and lora is None:
            size = shape.parameters
        elif shape is not None and lora is not None:
            size = shape.adapter_parameters(rank=self._rank(checked) or lora.rank, targets=lora.targets)
        return Machine(shape=shape, adapter_parameters=size, full=lora is None, accelerated=self._accelerated)

    def _rank(self, checked: Checked) -> int | None:
        """Give the rank of the adapter that training continues."""
        if checked.start is None or checked.start.adapter is None:
            return None
        return self.submission.registry.get_version(checked.start.version).lora_rank

    def _warnings(self, spec: Spec, estimates: Estimates, lengths: Lengths | None) -> list[str]:
        found: list[str] = []
        free = shutil.disk_usage(_existing(self.settings.artifacts)).free
        if (disk := estimates.disk_bytes.value) is not None and disk > free:
            found.append(
                f"the job takes about {disk / 1e9:.3g} GB of disk, {free / 1e9:.3g} GB are free under RLT_HOME: it "
                "would pause with disk_full"
            )
        memory, available = estimates.memory_bytes.value, psutil.virtual_memory().available
        if memory is not None and not self._accelerated and memory > available:
            found.append(
                f"the trainer takes about {memory / 1e9:.3g} GB of memory, {available / 1e9:.3g} GB are free here: a "
                "worker of this machine would take smaller passes, or refuse it where one row at a time does not fit"
            )
        if spec.max_runtime_s is not None and (estimates.total_s.value or 0.0) > spec.max_runtime_s:
            found.append(f"max_runtime_s = {spec.max_runtime_s:g} is less than the {estimates.total_s.value:.0f} s")
        if lengths is not None and lengths.too_long:
            found.append(
                f"{lengths.too_long} of the {lengths.looked_at} rows looked at are longer than max_tokens = "
                f"{spec.max_tokens} and would be left out"
            )
        return found


def _left_of(checked: Checked) -> Spec:
    """Give the spec of the steps that are left after a checkpoint; a warm-up's are counted all."""
    spec = checked.spec
    if not isinstance(spec, GrpoSpec):
        return spec
    return spec.model_copy(update={"steps": spec.steps - checked.first_step})


def _existing(path: Path) -> Path:
    """Give the path, or the nearest folder above it that is there."""
    return path if path.exists() or path == path.parent else _existing(path.parent)
