"""Wire types of POST /v1/score and its batch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlt_core.rewards import KlEstimator, RewardWeights
from rlt_core.schemas.base import MIN_TEMPERATURE, EngineRef, RequestModel, UtcTime, VersionRef, WireModel
from rlt_core.schemas.server import BatchItemError

ScoreInclude = Literal["tokens", "sequence"]
Term = Literal["solution", "kl", "format"]
Alignment = Literal["tokens", "characters"]


class RewardConfig(RequestModel):
    """Coefficients of the reward (paper's run as defaults) and the temperature that divides the student's logits."""

    solution_mean: float = Field(default=1.0, ge=-1e6, le=1e6)
    """Weight of the mean log-prob of the solution's tokens."""
    solution_min: float = Field(default=0.01, ge=-1e6, le=1e6)
    """Weight of their lowest log-prob."""
    kl_mean: float = Field(default=3.0, ge=-1e6, le=1e6)
    """Weight of the explanation's mean divergence, teacher from student."""
    kl_max: float = Field(default=0.03, ge=-1e6, le=1e6)
    """Weight of its highest."""
    temperature: float = Field(default=0.7, ge=MIN_TEMPERATURE, le=10.0)
    """The student's logits are divided by it."""
    kl_estimator: KlEstimator = "k1"
    """A token's divergence from its log-ratio: `k1` is the ratio itself, `k3` is never negative."""
    format_penalty: float = Field(default=-1.0, ge=-1e6, le=0.0)
    """Added where the explanation's end never came."""

    def to_weights(self) -> RewardWeights:
        """Convert to what the reward maths takes."""
        return RewardWeights(**self.model_dump())


class CompletionTokens(RequestModel):
    """Exactly what was generated, closing tag included; `explanation` is T as [start, end) in it."""

    prompt_token_ids: list[int] = Field(default_factory=list[int])
    completion_token_ids: list[int]
    completion_logprobs: list[float]
    """Natural logs at `temperature`, one a completion token."""
    explanation: Annotated[tuple[int, int], Field(strict=False)]
    temperature: float = Field(ge=MIN_TEMPERATURE, le=2.0)
    straddled: bool = False
    """Whether a token held both explanation and closing tag; its text part is scored without KL."""
    tokenizer: str | None = Field(default=None, max_length=100)
    """What the ids are of, as /explain names it. Null: the teacher's where one is named, else the student's."""


class ExplanationInput(RequestModel):
    """An explanation to score: its text or, with `tokens`, exactly those ids and teacher log-probs."""

    text: str = ""
    tokens: CompletionTokens | None = None
    well_formed: bool = True


class ScoreRequest(RequestModel):
    """Explanations of one question, to be judged by one student."""

    question: str = Field(min_length=1)
    solution: str = Field(min_length=1)
    explanations: list[str | ExplanationInput] = Field(min_length=1, max_length=256)
    """Each is judged on its own. `explanation`, with one of them, is taken in its place."""
    student: str = Field(default="default", min_length=1, max_length=200)
    teacher: str | None = Field(default=None, min_length=1, max_length=200)
    """Named: its log-probs of each explanation are computed. Null: those given with the tokens, else no KL."""
    baseline: bool = False
    """Also score the solution without any explanation; each score then carries `uplift`."""
    include: list[ScoreInclude] = Field(default_factory=list[ScoreInclude], max_length=8)
    reward: RewardConfig = Field(default_factory=RewardConfig)

    @model_validator(mode="before")
    @classmethod
    def _accept_one(cls, data: Any) -> Any:
        if isinstance(data, dict) and "explanation" in data and "explanations" not in data:
            body: dict[str, Any] = dict(data)  # pyright: ignore[reportUnknownArgumentType] - JSON of a caller
            body["explanations"] = [body.pop("explanation")]
            return body
        return data  # pyright: ignore[reportUnknownVariableType] - JSON of a caller


class ScoreBatchRequest(WireModel):
    """Many requests at once; each answers for itself."""

    items: list[ScoreRequest] = Field(min_length=1, max_length=256)


class SolutionScore(WireModel):
    """The student's log-probs of the solution, summarised."""

    mean: float
    min: float
    sum: float
    tokens: int


class KlScore(WireModel):
    """Divergence of teacher from student over the explanation, summarised."""

    mean: float
    max: float
    tokens: int
    """The teacher's tokens that have one."""
    aligned: Alignment = "tokens"
    """`characters`: the tokenizers differ; log-ratios of pieces that both cut alike are spread over their tokens."""


class TokenScore(WireModel):
    """One token as the student saw it; with `characters`, teacher_logprob and kl are its share of its piece's."""

    segment: Literal["explanation", "solution"]
    text: str
    id: int
    logprob: float
    teacher_logprob: float | None = None
    kl: float | None = None


class StudentSequence(WireModel):
    """What the student read; spans are half-open."""

    token_ids: list[int]
    explanation: tuple[int, int]
    solution: tuple[int, int]


class Score(WireModel):
    """One explanation's reward and its parts: reward = r_ss - r_kl + format."""

    index: int
    reward: float
    r_ss: float
    r_kl: float
    format: float
    well_formed: bool
    uplift: float | None = None
    solution: SolutionScore
    kl: KlScore | None = None
    tokens: list[TokenScore] | None = None
    sequence: StudentSequence | None = None


class ScoreUsage(WireModel):
    """Tokens read, and how many of them came from the cache."""

    prompt_tokens: int
    cached_tokens: int = 0


class ScoreResponse(WireModel):
    """Rewards of one request; all hold the same terms."""

    id: str
    object: Literal["score.list"] = "score.list"
    created_at: UtcTime
    student: VersionRef
    teacher: VersionRef | None = None
    format: str
    engine: EngineRef
    terms: list[Term]
    reward: RewardConfig
    baseline: SolutionScore | None = None
    scores: list[Score]
    usage: ScoreUsage


class ScoreBatchResponse(WireModel):
    """Answers in the order of the items; a failed item is an error, and the others stand."""

    object: Literal["list"] = "list"
    data: list[Annotated[ScoreResponse | BatchItemError, Field(discriminator="object")]]
