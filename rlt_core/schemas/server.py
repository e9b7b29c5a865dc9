"""Wire types of what a server says about itself: errors, capabilities, health, formats."""

from typing import Literal

from pydantic import ConfigDict, Field

from rlt_core.schemas.base import Role, WireModel


class OpenAiError(WireModel):
    """The same error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None = None
    code: str


class Problem(WireModel):
    """An error, `application/problem+json` (RFC 9457); `code` is stable, `param` a JSON pointer."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    param: str | None = None
    request_id: str
    retryable: bool = False
    error: OpenAiError


class BatchItemError(WireModel):
    """One failed item of a batch."""

    index: int
    object: Literal["error"] = "error"
    problem: Problem


class EngineCapabilities(WireModel):
    """What the engine is and can."""

    holds: str
    """A base, or a fully trained version."""
    name: str
    version: str
    base_model: str
    dtype: str
    device: str
    max_model_len: int
    max_lora_rank: int
    scoring: str


class Limits(WireModel):
    """Sizes that this server takes."""

    max_body_bytes: int
    max_dataset_bytes: int
    max_samples: int
    max_batch_items: int
    max_json_depth: int
    max_text_characters: int


class Capabilities(WireModel):
    """GET /v1/capabilities."""

    object: Literal["capabilities"] = "capabilities"
    version: str
    roles: list[Role | Literal["control"]]
    formats: list[str]
    engine: EngineCapabilities | None = None
    """The one of teachers' base; null while it does not run."""
    engines: list[EngineCapabilities] = Field(default_factory=list[EngineCapabilities])
    """All that run now: those of the bases, then those of fully trained versions."""
    limits: Limits
    job_kinds: list[str]
    models: list[str]


class Check(WireModel):
    """One thing that readiness rests on."""

    ok: bool
    detail: str = ""


class Readiness(WireModel):
    """GET /readyz; a broker outage is `degraded`, not unready."""

    status: Literal["ready", "degraded", "not_ready"]
    checks: dict[str, Check]


class Health(WireModel):
    """GET /healthz: the process answers."""

    status: Literal["ok"] = "ok"


class FormatInfo(WireModel):
    """Tags and instructions of a format."""

    id: str
    object: Literal["format"] = "format"
    tags: dict[str, str]
    instructions: dict[str, str]


class FormatList(WireModel):
    """Formats that this server speaks."""

    object: Literal["list"] = "list"
    data: list[FormatInfo]
