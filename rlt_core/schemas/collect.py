"""Wire types of the `collect` kind: its spec, and what each row of its dataset says of where it comes from."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import MIN_TEMPERATURE, Name, RequestModel, WireModel
from rlt_core.schemas.evaluate import VerdictRule
from rlt_core.schemas.explain import FinishReason
from rlt_core.schemas.score import RewardConfig
from rlt_core.schemas.spec_base import SharedSpec, VersionName
from rlt_core.schemas.training import Splits

Keep = Literal["all", "best", "best_that_fits"]
"""Which explanations of a question become rows: all, the one of highest reward, or that among those that fit."""
Flaw = Literal["verbatim", "unclosed", "wrong"]
"""`verbatim`: the explanation states the solution word for word; `unclosed`: its end never came; `wrong`: of a source
that solves, it ends at another answer."""
SkipReason = Literal["too_long", "failed", "no_answer"]
"""`too_long`: the question does not fit the context of teacher or student; `failed`: its calls failed for good;
`no_answer`: the row has none that a source's answers could be held against."""

PROVENANCE = "collect"
"""Where a row's Provenance stands in its metadata."""
MAX_LISTED = 100
"""Skipped rows that a result names."""


class Source(RequestModel):
    """An OpenAI-compatible endpoint that solves the questions; nobody shows it a solution."""

    name: Name
    """Of RLT_SOURCES, where the operator has laid down its address and its key."""
    model: str = Field(min_length=1, max_length=200)
    """As the endpoint names it."""
    instruction: str = Field(default="", max_length=20_000)
    """System message; empty is none."""
    prompt: str = Field(default="{question}", max_length=20_000, pattern=r"\{question\}")
    """User message."""
    cleanup: str | None = Field(default=None, max_length=20_000, pattern=r"\{trace\}")
    """A second message, which asks the same model to write the reasoning anew, in a chat of its own; null: none."""
    verdict: VerdictRule = "math_verify"
    """How its answer is held against the row's `answer`."""


class CollectSpec(SharedSpec):
    """Explanations of every question of a dataset by one teacher, scored by a student (paper, section 4)."""

    kind: Literal["collect"]
    teacher: VersionName = "default"
    """Who explains; an alias is resolved once, when the first attempt starts."""
    source: Source | None = None
    """Who writes the reasoning in the teacher's place, without knowing the solution; null: the teacher."""
    student: VersionName = "default"
    """Who scores."""
    samples_per_question: int = Field(default=4, ge=1, le=64)
    """Explanations of each question."""
    temperature: float = Field(default=0.7, ge=MIN_TEMPERATURE, le=2.0)
    """Of sampling."""
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    """Longest completion."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """By which the best explanation is the best."""
    keep: Keep = "all"
    """Which of a question's explanations become rows: all, the best, or the best that fits."""
    max_student_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """With `best_that_fits`: the most tokens of question, explanation and solution together, as the student reads
    them, tags included."""
    drop: list[Flaw] = Field(default_factory=list[Flaw], max_length=3)
    """Flaws that keep an explanation out of the dataset, before the best is chosen; all are marked and counted."""
    max_failed: float = Field(default=0.05, ge=0.0, le=0.9)
    """Share of the questions whose calls may fail for good; one more, and the job fails."""
    questions_at_once: int = Field(default=32, ge=1, le=96)
    """Questions that are explained and scored at the same time."""
    splits: Splits = Field(default_factory=Splits)
    """Questions that are left out, so that what learns from the explanations can be measured on them."""


class Provenance(WireModel):
    """Where a row of a collected dataset comes from and what its explanation is worth."""

    job: str
    source_row: str
    """The question's id in the dataset that was collected over."""
    teacher: str
    student: str
    format: str
    engine: str
    """What sampled; `fake` is a test double."""
    seed: int
    """With `n`, `temperature` and `max_tokens`, what /explain was asked; the row is its explanation `sample`."""
    sample: int
    n: int
    temperature: float
    max_tokens: int
    reward: float
    r_ss: float
    r_kl: float
    format_reward: float
    uplift: float | None
    solution_mean: float
    """The student's mean log-prob of the solution's tokens, in nats."""
    solution_min: float
    kl_mean: float | None
    kl_max: float | None
    explanation_tokens: int
    """Without tags, of the teacher's tokenizer."""
    completion_tokens: int
    """As generated, closing tag included."""
    student_tokens: int
    """Of the whole sequence that the student read."""
    solution_tokens: int
    finish_reason: FinishReason
    well_formed: bool
    """False when the closing tag never came."""
    verbatim: bool
    """Whether the explanation states the solution word for word."""
    right: bool | None = None
    """Whether a source that solves ended at the row's answer; null where a teacher explained."""


class SkippedRow(WireModel):
    """A question of which the dataset has no explanation, and why."""

    row: str
    reason: SkipReason
    message: str
