"""Wire types between supervisor and trainer: the job file that goes in, the event lines that come out."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.base import UtcTime, WireModel, now_utc
from rlt_core.schemas.collect import CollectSpec, SkippedRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import JobKind, JobSpec, TrainingSpec
from rlt_core.schemas.teachers import Difference

KEPT_CHECKPOINTS = 2
"""Stored checkpoints of an attempt that stay: the newest, and the one before, for when the newest does not verify."""
STORED_STEP = "stored-step"
"""File in an attempt's folder: the step of the newest checkpoint that the database knows. The worker writes it."""

EXIT_SUCCESS = 0
"""The result event stands in the file."""
EXIT_FAILURE = 1
"""An error event stands in the file."""
EXIT_DISK_FULL = 74
"""Nothing can be written, so perhaps not even an error event."""
EXIT_LEASE_LOST = 75
"""No beat for a lease, or end of the pipe: the attempt may belong to someone else by now."""
EXIT_STOPPED = 143
"""SIGTERM: the last whole step was saved as a checkpoint."""


class ResumePoint(WireModel):
    """A checkpoint that an earlier attempt told of, and that was stored while the job was its own."""

    attempt: int
    step: int
    folder: str
    manifest_sha256: str


class BranchPoint(ResumePoint):
    """A checkpoint of another job, from which this one goes on."""

    job_id: str


class TrainerJob(WireModel):
    """One attempt at one job, everything resolved: what `python -m rlt_train --job FILE` reads."""

    job_id: str = Field(pattern=r"^job_[a-z0-9]{16,32}$")
    attempt: int = Field(ge=1)
    """Fencing token; part of every path and name that this attempt makes."""
    kind: JobKind
    spec: JobSpec
    base_model: str
    """Name of the base, as it shall stand in adapter_config.json (never a path of this machine)."""
    base_model_dir: str
    """Folder in transformers' layout."""
    dataset_path: str
    """JSONL of dataset rows."""
    split_paths: dict[str, str] = Field(default_factory=dict[str, str])
    """JSONL of each split (`select`, `gate`, `report`) that names a dataset instead of a fraction."""
    attempt_dir: str
    """The only folder that the trainer writes to."""
    events_path: str
    """JSON lines, one event each, appended."""
    resume_points: list[ResumePoint] = Field(default_factory=list[ResumePoint])
    """Where training may go on, the furthest first; the trainer takes the first that verifies."""
    branch_point: BranchPoint | None = None
    """Where the job begins if none of those verifies; null is at the start of training."""
    journal_dirs: list[str] = Field(default_factory=list[str])
    """Rollouts of earlier attempts, the newest attempt's first."""
    start_adapter_dir: str | None = None
    """The adapter, or where all weights are trained the whole model, that training continues from; null starts from the
    bare base."""
    teacher_version: str | None = None
    """Exact version that `start_adapter_dir` belongs to (rl)."""
    student_version: str | None = None
    """Exact version that scores (rl); of several students the first, who also judges at the gate. Of `rlvr` the one
    that `start_adapter_dir` belongs to."""
    other_student_versions: list[str] = Field(default_factory=list[str])
    """Exact versions of the other students, where there are several."""
    measured_versions: list[str] = Field(default_factory=list[str])
    """Exact versions that are measured, in the order of the spec (evaluate)."""
    served_version: str | None = None
    """What the promotion's alias points at now; the gate compares with it. Null where the alias is new."""
    source_url: str = ""
    """Where a collect's source answers `/chat/completions`; empty without one."""
    source_key_env: str | None = None
    """The variable of the trainer's environment that holds its key."""
    base_url: str = ""
    """Where /v1/explain, /v1/score, /v1/solve and /v1/jobs answer: one address, or several in one text."""
    format_id: str
    lease_s: float = Field(default=30.0, gt=0.0)
    """Longest silence on stdin, in seconds."""

    @property
    def begun(self) -> str | None:
        """The exact version at which the training of a policy began; null for a kind that names none."""
        return self.student_version if self.kind == "rlvr" else self.teacher_version

    @property
    def training(self) -> TrainingSpec:
        """The spec of a kind that trains; raises ConfigurationError for another."""
        if isinstance(self.spec, CollectSpec | EvaluateSpec):
            raise ConfigurationError(f"a {self.kind} job trains nothing")
        return self.spec


class _EventBase(WireModel):
    at: UtcTime = Field(default_factory=now_utc)


class ProgressEvent(_EventBase):
    """One optimizer step is done."""

    type: Literal["progress"] = "progress"
    step: int
    total: int
    eta_s: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict[str, float])
    not_finite: list[str] = Field(default_factory=list[str])
    """Metrics of the step that were no number, and are left out: a loss that overflows must not end a job."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, data: Any) -> Any:
        metrics = data.get("metrics") if isinstance(data, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a line of another process
        if not isinstance(metrics, dict):
            return data  # pyright: ignore[reportUnknownVariableType] - what it is not, pydantic says
        values: dict[str, Any] = metrics  # pyright: ignore[reportUnknownVariableType] - as above
        odd = [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
        if not odd:
            return data  # pyright: ignore[reportUnknownVariableType] - as above
        body: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType] - as above
        return body | {"metrics": {name: values[name] for name in values if name not in odd}, "not_finite": odd}


class LogEvent(_EventBase):
    """A sentence for people."""

    type: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    message: str


class CheckpointEvent(_EventBase):
    """A checkpoint lies whole under the attempt's folder."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str
    manifest_sha256: str


class SampleEvent(_EventBase):
    """One rollout of a step of `rl`, to look at."""

    type: Literal["sample"] = "sample"
    step: int
    question_id: str
    question: str
    solution: str
    text: str
    reward: float
    r_ss: float
    r_kl: float
    well_formed: bool


class SolvedEvent(_EventBase):
    """One rollout of a step of `rlvr`, to look at."""

    type: Literal["solved"] = "solved"
    step: int
    question_id: str
    question: str
    answer: str | None
    """What is right; null where a game decides."""
    thought: str
    solution: str | None
    """Null where it was never closed."""
    reward: float
    right: bool
    why: str
    """Why it is wrong; empty where it is right."""


class EvaluationEvent(_EventBase):
    """Held-out comparison; `path` holds one EvaluationRow a line, those of `before` first."""

    type: Literal["evaluation"] = "evaluation"
    split: Literal["gate"] = "gate"
    path: str
    student: str
    format: str
    before: str | None
    after: str
    metrics: dict[str, dict[str, float]]
    """By version: means of reward, r_ss, r_kl, uplift, length, closed, verbatim."""
    difference: Difference | None = None
    """Of the reward; null where there is nothing to compare with."""
    difference_r_ss: Difference | None = None


class ResultEvent(_EventBase):
    """What the job made; the last line of a successful attempt."""

    type: Literal["result"] = "result"
    adapter_dir: str
    """Of a whole model where that was trained."""
    sha256: str
    """Of what lies there, as rlt_core.artifacts computes it."""
    lora_rank: int | None
    """Null for a whole model."""
    base_model: str
    steps: int
    parent: str | None = None
    """The version that training continued from."""
    cost: dict[str, float] = Field(default_factory=dict[str, float])
    """Seconds and tokens by part."""


class CollectingEvent(_EventBase):
    """A collect has taken up what lay there, and its folder holds from here on all that is whole."""

    type: Literal["collecting"] = "collecting"
    questions: int
    """That need nothing more."""
    rows: int
    total: int


class CollectedEvent(_EventBase):
    """A collect has asked for everything; the last line of a successful attempt."""

    type: Literal["collected"] = "collected"
    path: str
    """Folder of shards, as rlt_core.collected reads it."""
    rows: int
    columns: list[str]
    counts: dict[str, int]
    skipped: list[SkippedRow]
    cost: dict[str, float]


class EvaluatedEvent(_EventBase):
    """An evaluate has asked everything; the last line of a successful attempt."""

    type: Literal["evaluated"] = "evaluated"
    path: str
    """Folder of a file for each model, as rlt_core.measured_rows names and reads it."""
    models: list[str]
    """Exact versions, in the order of the spec."""
    student: str | None = None
    """Who scored, where teachers were measured."""
    format: str
    questions: int
    cost: dict[str, float]


class ErrorEvent(_EventBase):
    """Why the attempt failed; the last line of a failed one."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool = False


AnyEvent = (
    ProgressEvent
    | LogEvent
    | CheckpointEvent
    | SampleEvent
    | SolvedEvent
    | EvaluationEvent
    | ResultEvent
    | CollectingEvent
    | CollectedEvent
    | EvaluatedEvent
    | ErrorEvent
)
TrainerEvent = Annotated[AnyEvent, Field(discriminator="type")]
TRAINER_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(TrainerEvent)
