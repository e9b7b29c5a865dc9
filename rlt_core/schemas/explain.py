"""Wire types of POST /v1/explain and its batch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from rlt_core.schemas.base import MIN_TEMPERATURE, EngineRef, RequestModel, UtcTime, VersionRef, WireModel
from rlt_core.schemas.score import CompletionTokens, ScoreResponse
from rlt_core.schemas.server import BatchItemError

ExplainInclude = Literal["tokens", "score"]
FinishReason = Literal["stop", "length", "abort"]


def samples_or_is_greedy(temperature: float) -> float:
    """Pass a temperature that an engine can sample at; raises PydanticCustomError for one that is nearly 0."""
    if 0.0 < temperature < MIN_TEMPERATURE:
        raise PydanticCustomError(
            "temperature", "input should be 0 (greedy) or at least {least}", {"least": MIN_TEMPERATURE}
        )
    return temperature


class ExplainRequest(RequestModel):
    """A question with its solution; the teacher writes what leads from one to the other."""

    question: str = Field(min_length=1)
    solution: str = Field(min_length=1)
    teacher: str = Field(default="default", min_length=1, max_length=200)
    """An alias, a name (its newest version), or `name@number`."""
    n: int = Field(default=1, ge=1, le=64)
    """Explanations to sample."""
    temperature: Annotated[float, AfterValidator(samples_or_is_greedy)] = Field(
        default=0.7, ge=0.0, le=2.0, json_schema_extra={"anyOf": [{"const": 0.0}, {"minimum": MIN_TEMPERATURE}]}
    )
    """0 is greedy; its log-probs are those at 1."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Sample from the likeliest tokens that have this share of the probability; 1 from all."""
    top_k: int = Field(default=0, ge=0, le=1_000_000)
    """Sample from this many likeliest tokens; 0 from all. The log-probs stay those of the whole softmax."""
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    """Longest completion, closing tag included, in tokens."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    stream: bool = False
    """Answer in server-sent events, text as it is written; not within a batch."""
    include: list[ExplainInclude] = Field(default_factory=list[ExplainInclude], max_length=8)


class ExplainBatchRequest(WireModel):
    """Many requests at once; each answers for itself."""

    items: list[ExplainRequest] = Field(min_length=1, max_length=256)


class Explanation(WireModel):
    """One explanation, without tags."""

    index: int
    text: str
    finish_reason: FinishReason
    well_formed: bool
    tokens: CompletionTokens | None = None


class ExplainUsage(WireModel):
    """Tokens read, written, and read from the cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class ExplainResponse(WireModel):
    """Explanations by one version of a teacher."""

    id: str
    object: Literal["explanation.list"] = "explanation.list"
    created_at: UtcTime
    teacher: VersionRef
    format: str
    engine: EngineRef
    explanations: list[Explanation]
    usage: ExplainUsage
    score: ScoreResponse | None = None
    """The object of /score with the default student, when asked for."""


class ExplanationDelta(WireModel):
    """The event `delta` of a stream: text of one explanation that is now certain; joined, the whole text."""

    index: int
    text: str


class ExplanationEnd(WireModel):
    """How one explanation of a stream ended; its text came in `delta` events, and whole in `explanation`."""

    index: int
    finish_reason: FinishReason
    well_formed: bool


class ExplainDone(WireModel):
    """The event `done`, the last of a stream: the answer of /explain without texts."""

    id: str
    object: Literal["explanation.list"] = "explanation.list"
    created_at: UtcTime
    teacher: VersionRef
    format: str
    engine: EngineRef
    explanations: list[ExplanationEnd]
    usage: ExplainUsage
    score: ScoreResponse | None = None
    """As in the answer."""


ExplainEvent = ExplanationDelta | Explanation | ExplainDone
"""What a stream holds; where it fails, an event `error` with a problem ends it."""


class ExplainBatchResponse(WireModel):
    """Answers in the order of the items; a failed item is an error, and the others stand."""

    object: Literal["list"] = "list"
    data: list[Annotated[ExplainResponse | BatchItemError, Field(discriminator="object")]]
