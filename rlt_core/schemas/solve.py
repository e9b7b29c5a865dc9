"""Wire types of POST /v1/solve and its batch: a student answers a question by itself."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rlt_core.schemas.base import MIN_TEMPERATURE, EngineRef, RequestModel, UtcTime, VersionRef, WireModel
from rlt_core.schemas.explain import ExplainUsage, FinishReason, samples_or_is_greedy
from rlt_core.schemas.server import BatchItemError

SolveInclude = Literal["tokens"]


class SolveRequest(RequestModel):
    """A question; the student thinks it through and solves it, as it was trained to."""

    question: str = Field(min_length=1)
    student: str = Field(default="default", min_length=1, max_length=200)
    """An alias, a name (its newest version), or `name@number`."""
    n: int = Field(default=1, ge=1, le=64)
    """Solutions to sample."""
    temperature: Annotated[float, AfterValidator(samples_or_is_greedy)] = Field(
        default=0.7, ge=0.0, le=2.0, json_schema_extra={"anyOf": [{"const": 0.0}, {"minimum": MIN_TEMPERATURE}]}
    )
    """0 is greedy; its log-probs are those at 1."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Sample from the likeliest tokens that have this share of the probability; 1 from all."""
    top_k: int = Field(default=0, ge=0, le=1_000_000)
    """Sample from this many likeliest tokens; 0 from all. The log-probs stay those of the whole softmax."""
    max_tokens: int = Field(default=512, ge=1, le=1_000_000)
    """Longest completion, thought and solution together, in tokens."""
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    include: list[SolveInclude] = Field(default_factory=list[SolveInclude], max_length=8)


class SolveBatchRequest(WireModel):
    """Many requests at once; each answers for itself."""

    items: list[SolveRequest] = Field(min_length=1, max_length=256)


class SolutionTokens(WireModel):
    """Exactly what was read and generated; closing tag and end token included, where they were sampled."""

    prompt_token_ids: list[int]
    completion_token_ids: list[int]
    completion_logprobs: list[float]
    """Natural logs at `temperature`, one a completion token."""
    temperature: float


class Solution(WireModel):
    """One solution with the thought before it, without tags."""

    index: int
    thought: str
    solution: str | None
    """Null where it never came, or was never closed."""
    finish_reason: FinishReason
    tokens: int
    """Tokens of the whole completion."""
    generated: SolutionTokens | None = None
    """Null unless `include` asks for `tokens`."""


class SolveResponse(WireModel):
    """Solutions by one version of a student."""

    id: str
    object: Literal["solution.list"] = "solution.list"
    created_at: UtcTime
    student: VersionRef
    format: str
    engine: EngineRef
    solutions: list[Solution]
    usage: ExplainUsage


class SolveBatchResponse(WireModel):
    """Answers in the order of the items; a failed item is an error, and the others stand."""

    object: Literal["list"] = "list"
    data: list[Annotated[SolveResponse | BatchItemError, Field(discriminator="object")]]
