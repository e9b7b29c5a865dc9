"""Wire types of the `pipeline` kind: a graph of jobs in one submission, and what its steps came to."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rlt_core.schemas.base import RequestModel, UtcTime, WireModel

if TYPE_CHECKING:  # they are made of each other: jobs.py completes the types of this module
    from rlt_core.schemas.jobs import DryRun, JobSpec, JobStatus

Output = Literal["teacher", "student", "dataset", "evaluation"]
"""What a step can make, as a job's result names it."""

MAX_STEPS = 32
MAX_ROUNDS = 100
MAX_VARIABLES = 16

StepId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""Of a step; `round` is none: `$round.…` means what goes from round to round."""
Variable = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
StepReference = Annotated[
    str, Field(pattern=r"^\$[a-z][a-z0-9-]{0,39}\.(teacher|student|dataset|evaluation)$", max_length=80)
]
"""`$STEP.OUTPUT`, such as `$distil.student`: no name, version or dataset can begin with a dollar."""


class PipelineStep(RequestModel):
    """A job of a pipeline."""

    id: StepId
    after: list[StepId] = Field(default_factory=list[StepId], max_length=MAX_STEPS)
    """Steps that must have succeeded before; those that its spec refers to need no mention."""
    spec: "JobSpec"
    """Of any other kind. Where it names a dataset, a teacher, a student or a model, it may refer: `$STEP.OUTPUT`, or
    `$round.NAME` for what goes from round to round. Without a seed or priority of its own it has the pipeline's."""


class RestartPoint(RequestModel):
    """From which step on the work of another pipeline is done again."""

    job: str = Field(pattern=r"^job_[a-z0-9]{16,32}$")
    """The pipeline; it must have ended."""
    step: StepId
    round: int = Field(default=1, ge=1, le=MAX_ROUNDS)


class PipelineSpec(RequestModel):
    """Jobs that feed each other, as one: each step is a job of its own, outputs go on by reference."""

    kind: Literal["pipeline"]
    name: str | None = Field(default=None, max_length=200)
    """For people; need not be unique."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of each step that gives none, plus 1 for each round before."""
    max_runtime_s: float | None = Field(default=None, gt=0.0)
    """Seconds that its steps together may run; beyond it those that run are cancelled."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Of each step that gives none."""
    not_before: Annotated[UtcTime, Field(strict=False)] | None = None
    steps: list[PipelineStep] = Field(min_length=1, max_length=MAX_STEPS)
    rounds: int = Field(default=1, ge=1, le=MAX_ROUNDS)
    """How often all steps are done; a round begins when all steps of the one before have succeeded."""
    start: dict[Variable, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict[str, str], max_length=MAX_VARIABLES
    )
    """What `$round.NAME` means in the first round: the name of a version, or a dataset's id."""
    carry: dict[Variable, StepReference] = Field(default_factory=dict[str, str], max_length=MAX_VARIABLES)
    """What it means in each later round: what a step of the round before has made."""
    resume_from: RestartPoint | None = None
    """Takes over what another pipeline's steps have made, all but this step and what depends on it."""


class PipelinePlace(WireModel):
    """Of which pipeline a job is a step."""

    job: str
    step: str
    round: int


class StepResult(WireModel):
    """What became of a step of a pipeline, and what it made."""

    step: str
    round: int
    kind: str
    job: str
    status: "JobStatus"
    taken_over: bool = False
    """Whether another pipeline's step did it; its cost counts there."""
    teacher: str | None = None
    student: str | None = None
    dataset: str | None = None
    evaluation: str | None = None


class StepDryRun(WireModel):
    """What a step would be in the first round; null where that cannot be known yet."""

    step: str
    dry_run: "DryRun | None" = None
    unknown: list[str] = Field(default_factory=list[str])
    """References of its spec to what is not made yet."""
