"""The spec of the `evaluate` kind."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rlt_core.schemas.base import MIN_TEMPERATURE, Role
from rlt_core.schemas.explain import samples_or_is_greedy
from rlt_core.schemas.score import RewardConfig
from rlt_core.schemas.spec_base import SharedSpec, VersionName


def current_rule(value: object) -> object:
    """Give a rule by today's name: specs and evaluations that were stored before say `math` for `math_verify`."""
    return "math_verify" if value == "math" else value


VerdictRule = Annotated[Literal["math_verify", "exact", "choice", "countdown"], BeforeValidator(current_rule)]
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
    verdict: VerdictRule = "math_verify"
    """How a student's answers are compared."""
    student: VersionName = "default"
    """Who scores a teacher's explanations."""
    reward: RewardConfig = Field(default_factory=RewardConfig)
    """Of a teacher's explanations."""
    questions_at_once: int = Field(default=32, ge=1, le=96)
    """Questions that are asked at the same time."""
