"""Wire types of `POST /v1/train?dry_run=true`: what was counted, tried and estimated before anything starts."""

from pydantic import Field

from rlt_core.schemas.base import EngineRef, WireModel


class Estimate(WireModel):
    """A figure that nobody has measured yet; `basis` says what it was made of, or why there is none."""

    value: float | None
    basis: str


class Estimates(WireModel):
    """What the job will take. Seconds by the speed of the rehearsal, bytes by the shapes of model and adapter."""

    generated_tokens: Estimate
    """Tokens that are sampled."""
    scored_tokens: Estimate
    """Tokens that the student reads."""
    trained_tokens: Estimate
    """Tokens that go through the trainer's model."""
    generate_s: Estimate
    score_s: Estimate
    train_s: Estimate
    total_s: Estimate
    memory_bytes: Estimate
    """Of the trainer alone, at its peak."""
    disk_bytes: Estimate
    """What lies on disk at its peak; less stays."""


class Lengths(WireModel):
    """Rows in tokens, as the job would read them."""

    rows: int
    """Rows to train on."""
    looked_at: int
    """Rows that were tokenised: all, or of many the longest and an even sample."""
    mean_tokens: float
    """Of a row: the prompt of an rl teacher or an rlvr student, a warm-up's whole sequence."""
    longest_tokens: int
    mean_reader_tokens: float | None = None
    """Of what the student reads beside an explanation (rl)."""
    limit_tokens: int
    """The longest row that the job takes."""
    too_long: int
    """Rows, of those looked at, that a warm-up would leave out."""


class RehearsedRow(WireModel):
    """One row as the job would have it judged."""

    row: str | None
    explanation_tokens: int | None = None
    """Of what was sampled."""
    reward: float | None = None
    """Null where nobody can know here (of rlvr, where the trial cut the solution off, or mathematics would judge), and
    of a student's evaluate."""
    r_ss: float | None = None
    """Null of a student's answers, whose reward, if any, has no such part."""
    r_kl: float | None = None
    uplift: float | None = None
    right: bool | None = None
    """Whether a student's answer is right (rlvr, evaluate), where that is known."""
    well_formed: bool


class Rehearsal(WireModel):
    """A few rows really sampled by the teacher (rl; a warm-up's bring their trace) and scored by the student.

    Of rlvr: solved by the student, who then reads the rows' own solutions after its thoughts, which tells its speed. Of
    an evaluate: solved by the first of the students, or explained by the first of the teachers and scored.
    """

    rows: list[RehearsedRow] = Field(default_factory=list[RehearsedRow])
    not_scored: str | None = None
    """Why no row was; null where rows were."""
    teacher: str | None = None
    student: str | None = None
    engine: EngineRef | None = None
    prompt_tokens: int = 0
    """Of the teacher (rl), or of the student who solves (rlvr, evaluate)."""
    generated_tokens: int = 0
    generate_s: float = 0.0
    """For all rows at the same time, as a step samples them."""
    scored_tokens: int = 0
    cached_tokens: int = 0
    """Of the scored ones, those that the engine had read before: speeds leave them out."""
    score_s: float = 0.0
