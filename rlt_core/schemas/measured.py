"""Wire types of what an `evaluate` makes: one version on one dataset, its answers, and how two compare."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import Role, UtcTime, WireModel
from rlt_core.schemas.evaluate import VerdictRule
from rlt_core.schemas.explain import FinishReason
from rlt_core.schemas.score import RewardConfig
from rlt_core.schemas.teachers import Difference


class Figure(WireModel):
    """A mean over n questions with its 95% interval (bootstrap over questions); of one question there is none."""

    mean: float
    ci_low: float | None
    ci_high: float | None
    n: int


class ModelEvaluation(WireModel):
    """What one version came to on one dataset; every completion and verdict can be read as its rows."""

    id: str
    object: Literal["model.evaluation"] = "model.evaluation"
    created_at: UtcTime
    job: str
    role: Role
    model: str
    """The exact version."""
    student: str | None = None
    """Who scored, where a teacher was measured."""
    dataset: str
    dataset_sha256: str
    questions: int
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    verdict: VerdictRule | None = None
    """Where a student was measured."""
    reward: RewardConfig | None = None
    """Where a teacher was."""
    format: str
    engine: str
    """`fake` is a stand-in that computes nothing."""
    figures: dict[str, Figure]
    """Of a student: `pass@k`, `mean@n`, `closed`, `answered`, `tokens`; of a teacher: reward and its parts."""


class AnswerRow(WireModel):
    """One answer of a student to one question, and the verdict on it."""

    question_id: str
    question: str
    answer: str | None
    """What is right; null where a game decides."""
    version: str
    sample: int
    thought: str
    solution: str | None
    """Null where it was never closed."""
    finish_reason: FinishReason
    tokens: int
    right: bool
    found: str | None
    """The text that was compared."""
    place: str | None
    """Where it stood: `boxed`, `marked`, `stated`, `last_line`."""
    why: str
    """Why it is wrong; empty where it is right."""


class ComparedFigures(WireModel):
    """Two evaluations, figure by figure: after minus before on the same questions, in pairs."""

    before: str
    """An evaluation's id."""
    after: str
    differences: dict[str, Difference]


class EvaluationComparison(WireModel):
    """Evaluations side by side, each with each that comes after it."""

    object: Literal["evaluation.comparison"] = "evaluation.comparison"
    evaluations: list[ModelEvaluation]
    questions: int
    """That all have answered."""
    pairs: list[ComparedFigures]
    differing: list[str] = Field(default_factory=list[str])
    """Settings that are not the same in all: what differs may be theirs."""
