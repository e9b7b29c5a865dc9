"""Own what is known of one question once its explanations are sampled and scored. Wire types of the journal."""

from pydantic import Field

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.collect import SkippedRow
from rlt_core.schemas.explain import FinishReason


class Sample(WireModel):
    """One explanation with its score; `index` is its place among those that were asked for."""

    index: int
    text: str
    finish_reason: FinishReason
    well_formed: bool
    verbatim: bool
    explanation_tokens: int
    completion_tokens: int
    student_tokens: int
    solution_tokens: int
    reward: float
    r_ss: float
    r_kl: float
    format_reward: float
    uplift: float | None
    solution_mean: float
    solution_min: float
    kl_mean: float | None
    kl_max: float | None
    right: bool | None = None
    final: str = ""
    """What a source that solves said after its reasoning; empty where a teacher explained."""


class Spent(WireModel):
    """Tokens and seconds of one question's calls."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    scored_tokens: int = 0
    scored_cached_tokens: int = 0
    explain_s: float = 0.0
    score_s: float = 0.0


class Answered(WireModel):
    """A question that needs nothing more: its samples, or why there are none."""

    position: int
    """Of its row in the dataset, from 0."""
    row_id: str
    seed: int
    engine: str = ""
    samples: list[Sample] = Field(default_factory=list[Sample])
    skipped: SkippedRow | None = None
    spent: Spent = Field(default_factory=Spent)
