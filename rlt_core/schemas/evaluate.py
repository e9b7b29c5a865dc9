"""Wire types of the `evaluate` kind: its spec, what one version came to on one dataset, and how two compare."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rlt_core.schemas.base import MIN_TEMPERATURE, Role, UtcTime, WireModel
from rlt_core.schemas.explain import FinishReason, samples_or_is_greedy
from rlt_core.schemas.score import RewardConfig
from rlt_core.schemas.spec_base import SharedSpec, VersionName
from rlt_core.schemas.teachers import Difference

VerdictRule = Literal["math", "exact", "choice", "countdown"]
"""How answers are compared: as mathematics, as text, as a letter, or by playing the game that a row describes."""

LISTED_MODELS = 8


class EvaluateSpec(SharedSpec):
    """What students answer rightly by themselves, or what teachers' explanations are worth to a student."""

    kind: Literal["evaluate"]
    role: Role = "student"
    """`student`: questions are solved and the answers judged; `teacher`: explanations are scored."""
    model: VersionName | None = None
    """Who is measured; or else `models`."""
    models: list[VersionName] | None = Field(default=None, min_length=1, max_length=LISTED_MODELS)
    """Several, on the same questions with the same seeds, so that they can be compared in pairs."""
    samples: int = Field(default=1, ge=1, le=64)
    """Answers to each question."""
    pass_at: list[int] = Field(default_factory=lambda: [1], min_length=1, max_length=8)
    """Each k of pass@k that is told; at most `samples`."""
    temperature: Annotated[float, AfterValidator(samples_or_is_greedy)] = Field(
        default=0.7, ge=0.0, le=2.0, json_schema_extra={"anyOf": [{"const": 0.0}, {"minimum": MIN_TEMPERATURE}]}
    )
    """0 is greedy: for one sample a question, of students."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Below 1 for students only: it renormalises the log-probs that rewards are made of."""
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    """Longest completion."""
    verdict: VerdictRule = "math"
    """How a student's answers are compared."""
    student: VersionName = "default"
    """Who scores a teacher's explanations."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """Of a teacher's explanations."""
    questions_at_once: int = Field(default=32, ge=1, le=96)
    """Questions that are asked at the same time."""


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
