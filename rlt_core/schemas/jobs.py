"""Wire types of POST /v1/train and /v1/jobs: one spec a kind, the job, its progress and its events."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from rlt_core.job_errors import remedy_of
from rlt_core.schemas.base import Name, RequestModel, Role, UtcTime, WireModel
from rlt_core.schemas.collect import CollectSpec, SkippedRow
from rlt_core.schemas.dry_run import Estimates, Lengths, Rehearsal
from rlt_core.schemas.evaluate import EvaluateSpec, VerdictRule
from rlt_core.schemas.pipelines import PipelinePlace, PipelineSpec, PipelineStep, StepDryRun, StepResult
from rlt_core.schemas.score import RewardConfig
from rlt_core.schemas.spec_base import VersionName
from rlt_core.schemas.training import GrpoSpec, Schedule, TrainingBase
from rlt_core.verifiable_rewards import VerifiableWeights

StepKind = Literal["warmup", "rl", "collect", "distill", "evaluate", "rlvr"]
"""Kinds that a worker runs; each can be a step of a pipeline."""
JobKind = Literal[StepKind, "pipeline"]
JobStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]

QUEUE = "train"
"""Where jobs wait whose kind has no queue of its own."""
SPEC_VERSION = 1
"""Of what a job's spec may hold. It goes up when older code would misread a newer spec: such code leaves it waiting."""

TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class PromotePolicy(RequestModel):
    """What happens to an alias when the job has succeeded."""

    alias: Name = "default"
    """Which one is moved."""
    when: Literal["never", "if_better", "always"] = "never"
    """`if_better`: only if an evaluation on the `gate` questions says so."""


StudentName = Annotated[str, Field(min_length=1, max_length=200)]
StudentReduction = Literal["mean", "worst"]
"""What an explanation is worth that several students read: the mean of their rewards, or the lowest."""


class VerifiableReward(RequestModel):
    """What a student's solution is worth: `right` where its answer is, plus the penalty where it was never closed."""

    right: float = Field(default=1.0, gt=0.0, le=1e6)
    """For a right answer."""
    format_penalty: float = Field(default=-1.0, ge=-1e6, le=0.0)
    """Added where the solution's end never came."""

    def to_weights(self) -> VerifiableWeights:
        """Convert to what the reward maths takes."""
        return VerifiableWeights(**self.model_dump())


class _SupervisedSpec(TrainingBase):
    epochs: float = Field(default=1.0, gt=0.0, le=1000.0)
    """Times that every row is seen."""
    max_steps: int | None = Field(default=None, ge=1, le=10_000_000)
    """Stops before the epochs are done; null trains them all."""
    batch_size: int = Field(default=8, ge=1, le=4096)
    """Rows of a step."""
    learning_rate: float = Field(default=5e-4, gt=0.0, le=1.0)
    """Highest one of the schedule."""
    schedule: Schedule = "cosine"
    """How the learning rate goes after its rise."""
    warmup_ratio: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of the steps in which the learning rate rises from 0; fewer than two such steps are none."""
    weight_decay: float = Field(default=1e-4, ge=0.0, le=1.0)
    """AdamW's; it pulls weights towards 0."""
    adam_beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW's mean of gradients: how much of the former stays."""
    adam_beta2: float = Field(default=0.95, ge=0.0, lt=1.0)
    """AdamW's mean of their squares: how much of the former stays."""
    max_grad_norm: float = Field(default=1.0, gt=0.0, le=1e6)
    """A longer gradient is scaled down to it."""
    max_tokens: int = Field(default=2048, ge=16, le=1_000_000)
    """Longest sequence; a longer row is dropped and counted."""
    save_every: int = Field(default=25, ge=0, le=10_000_000)
    """Steps between checkpoints; 0 saves at the end, and when it is stopped."""
    eval_every: int = Field(default=0, ge=0, le=10_000_000)
    """Steps between measurements of the loss on the `select` questions, by which the result is chosen; 0 takes the
    last step."""
    patience: int = Field(default=0, ge=0, le=1000)
    """Measurements in a row without a new best that end training early; 0 trains all steps."""


class WarmupSpec(_SupervisedSpec):
    """Supervised fine-tuning on the format (paper, section 4.1; its defaults are for 7B, these for small models)."""

    kind: Literal["warmup"]
    role: Role
    """`teacher`: question, solution -> explanation; `student`: question -> thought, solution."""
    base_model: str | None = None
    """Null is the base that the engine serves for `role`: students may have one of their own."""


class DistillSpec(_SupervisedSpec):
    """Supervised fine-tuning of a student on a teacher's explanations as its own thoughts (paper, section 4.2).

    A row's thought is its column `explanation`, else `thought`, else `reasoning_trace`; of a collected row the last.
    """

    kind: Literal["distill"]
    dataset: str = Field(default="", max_length=200)
    """Of explanations; with `teacher`, of questions."""
    teacher: VersionName | None = None
    """Who explains the questions first: the job is then a `pipeline` of a `collect`, with its defaults, and this.
    Without `dataset` it explains those that it was trained on. Not within a pipeline."""
    student_base: str | None = None
    """Null is the base that the engine serves for students."""

    @property
    def role(self) -> Role:
        """What is made plays the student."""
        return "student"

    @property
    def base_model(self) -> str | None:
        """What training starts from, by the name that a warm-up has for it."""
        return self.student_base


class RlSpec(GrpoSpec):
    """GRPO against the student's log-probs (paper, section 3; one step = questions x samples completions)."""

    kind: Literal["rl"]
    teacher: str = Field(default="default", min_length=1, max_length=200)
    """Where the policy starts; also the reference of the KL penalty."""
    student: StudentName | Annotated[list[StudentName], Field(min_length=1, max_length=8)] = "default"
    """Who judges; of several, the first also judges at the gate."""
    student_reduction: StudentReduction = "mean"
    """Of several students: the mean of their rewards, or the lowest."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    promote: PromotePolicy = Field(default_factory=PromotePolicy)

    @property
    def role(self) -> Role:
        """What is made plays the teacher."""
        return "teacher"

    @property
    def start(self) -> str:
        """Where the policy starts, as the spec names it."""
        return self.teacher


class RlvrSpec(GrpoSpec):
    """GRPO of a student on whether its own answers are right, which a rule can verify, and whether they come to an end.

    There is no `promote`: the gate goes by what explanations are worth to a student, and this trains no teacher.
    """

    kind: Literal["rlvr"]
    student: VersionName = "default"
    """Where the policy starts; also the reference of the KL penalty."""
    verdict: VerdictRule = "math_verify"
    """How its answers are compared, as `evaluate` compares them."""
    reward: VerifiableReward = Field(default_factory=VerifiableReward)
    max_tokens: int = Field(default=256, ge=1, le=1_000_000)
    """Longest completion, thought and solution together."""

    @property
    def role(self) -> Role:
        """What is made plays the student."""
        return "student"

    @property
    def start(self) -> str:
        """Where the policy starts, as the spec names it."""
        return self.student


SupervisedSpec = WarmupSpec | DistillSpec
"""Of the kinds that imitate texts."""
PolicySpec = RlSpec | RlvrSpec
"""Of the kinds that reinforce a policy by GRPO."""
TrainingSpec = SupervisedSpec | PolicySpec
"""Of the kinds that train a model."""
ServiceSpec = CollectSpec | EvaluateSpec
"""Of the kinds that ask services and hold no model."""
AnySpec = TrainingSpec | ServiceSpec
JobSpec = Annotated[AnySpec, Field(discriminator="kind")]
JOB_SPEC: TypeAdapter[AnySpec] = TypeAdapter(JobSpec)
SPECS: dict[str, type[AnySpec]] = {
    "warmup": WarmupSpec,
    "rl": RlSpec,
    "collect": CollectSpec,
    "distill": DistillSpec,
    "evaluate": EvaluateSpec,
    "rlvr": RlvrSpec,
}
PipelineStep.model_rebuild()  # pipelines.py was made without the types above
PipelineSpec.model_rebuild()
StepResult.model_rebuild()
SubmittedSpec = AnySpec | PipelineSpec
"""Of every kind that can be handed in."""
AnyJobSpec = Annotated[SubmittedSpec, Field(discriminator="kind")]
SUBMITTED_SPEC: TypeAdapter[SubmittedSpec] = TypeAdapter(AnyJobSpec)


class Progress(WireModel):
    """How far a job is; `metrics` are the last step's."""

    step: int = 0
    total: int | None = None
    eta_s: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict[str, float])


class PromotionResult(WireModel):
    """What a job's promotion came to; a refusal is a result, not an error."""

    alias: str
    outcome: Literal["promoted", "refused", "skipped"]
    reason: str
    previous: str | None = None


class JobResult(WireModel):
    """What the job made."""

    teacher: str | None = None
    student: str | None = None
    dataset: str | None = None
    evaluation: str | None = None
    evaluations: list[str] = Field(default_factory=list[str])
    """Of an evaluate: one for each model, in the order of the spec; `evaluation` is the first."""
    promotion: PromotionResult | None = None
    taught_by: list[str] = Field(default_factory=list[str])
    """Of a student that was distilled: the versions whose explanations its dataset's rows hold, by their own word."""
    cost: dict[str, float] = Field(default_factory=dict[str, float])
    """Seconds and tokens by part."""
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    """Of a collect: what became of its questions and explanations."""
    skipped: list[SkippedRow] = Field(default_factory=list[SkippedRow])
    """Of a collect: questions without an explanation, the first hundred; `counts` has them all."""
    steps: list[StepResult] = Field(default_factory=list[StepResult])
    """Of a pipeline: its steps in the order in which they began; the names above are the last ones made."""


class JobError(WireModel):
    """Why a job failed or waits, what to do about it, and what its trainer said last."""

    code: str
    message: str
    remedy: str = ""
    """Filled in from the code."""
    retryable: bool = False
    log_tail: str = ""

    @model_validator(mode="after")
    def _with_remedy(self) -> Self:
        self.remedy = self.remedy or remedy_of(self.code)
        return self


class Job(WireModel):
    """A training job as stored; the database is the truth."""

    id: str
    object: Literal["job"] = "job"
    kind: JobKind
    name: str | None = None
    status: JobStatus
    created_at: UtcTime
    started_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    attempt: int = 0
    runtime_s: float = 0.0
    """Seconds that its attempts have run so far; `max_runtime_s` bounds them together."""
    cancel_requested: bool = False
    pause_requested: bool = False
    progress: Progress = Field(default_factory=Progress)
    spec: AnyJobSpec
    pipeline: PipelinePlace | None = None
    """Which pipeline's step it is."""
    output: str | None = None
    """Of a collect: the dataset that it fills, readable while it grows."""
    result: JobResult | None = None
    error: JobError | None = None


class JobEvent(WireModel):
    """One line of a job's append-only history; `seq` counts from 1 within the job."""

    seq: int
    job_id: str
    attempt: int
    created_at: UtcTime
    type: str
    data: dict[str, Any] = Field(default_factory=dict[str, Any])


class DryRun(WireModel):
    """What `?dry_run=true` can say before anything starts."""

    object: Literal["dry_run"] = "dry_run"
    spec: AnyJobSpec
    dataset_rows: int
    train_rows: int
    held_out_rows: dict[str, int]
    teacher: str | None = None
    student: str | None = None
    longest_prompt_tokens: int | None = None
    lengths: Lengths | None = None
    """Null where this process has no tokenizer."""
    rehearsal: Rehearsal | None = None
    estimates: Estimates | None = None
    warnings: list[str] = Field(default_factory=list[str])
    """What does not forbid the job, and may end it."""
    steps: list[StepDryRun] = Field(default_factory=list[StepDryRun])
    """Of a pipeline, whose rows and estimates are the sums of those that can be known."""


StepDryRun.model_rebuild()
DryRun.model_rebuild()


class JobMetrics(WireModel):
    """Series of a job by step; every series has one entry a step, null where the step has no such metric."""

    object: Literal["job.metrics"] = "job.metrics"
    job: str
    steps: list[int]
    series: dict[str, list[float | None]]


class Checkpoint(WireModel):
    """A checkpoint that an attempt has announced."""

    id: str
    object: Literal["checkpoint"] = "checkpoint"
    job: str
    attempt: int
    step: int
    created_at: UtcTime
    manifest_sha256: str | None = None
