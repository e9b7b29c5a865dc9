"""Wire types of the registry: versions, lineage, aliases, promotions, evaluations."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import RequestModel, Role, UtcTime, Version, WireModel
from rlt_core.schemas.jobs import JobSpec


class ModelVersion(WireModel):
    """One immutable version; number 0 is the untrained base."""

    version: str
    object: Literal["version"] = "version"
    name: str
    number: int
    role: Role
    created_at: UtcTime
    base_model: str
    format: str
    weights: Literal["base", "adapter", "full"]
    """A LoRA adapter on the base, or a fully trained model of the base's shape, which takes an engine of its own."""
    adapter_sha256: str | None = None
    """Of an adapter."""
    weights_sha256: str | None = None
    """Of a fully trained model."""
    lora_rank: int | None = None
    parent: str | None = None
    """The version it was trained from."""
    job: str | None = None
    dataset: str | None = None
    aliases: list[str] = Field(default_factory=list[str])


class NamedModel(WireModel):
    """A name with its newest version."""

    name: str
    object: Literal["teacher", "student"]
    latest: str
    versions: int
    created_at: UtcTime


class Lineage(WireModel):
    """Where a version comes from and what became of it."""

    version: str
    object: Literal["lineage"] = "lineage"
    base_model: str
    parent: str | None = None
    job: str | None = None
    spec: JobSpec | None = None
    code_version: str | None = None
    dataset: str | None = None
    dataset_sha256: str | None = None
    taught_by: list[str] = Field(default_factory=list[str])
    """Of a distilled student: the versions whose explanations are in its dataset, by the word of its rows."""
    deleted_at: UtcTime | None = None
    """When the version was deleted; what it came from can still be read."""
    evaluations: list[str] = Field(default_factory=list[str])
    promotions: list["AliasChange"] = Field(default_factory=list["AliasChange"])


class RegisterVersionRequest(RequestModel):
    """Register an adapter or a fully trained model that lies under the artifact root, as `imports/<folder>`."""

    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    parent: Version | None = None
    format: str | None = None
    """Null is the one that the server speaks."""


class VersionDeleted(WireModel):
    """Answer of DELETE; the number is never given again."""

    version: str
    object: Literal["version.deleted"] = "version.deleted"
    deleted: bool = True


class Alias(WireModel):
    """A name that points at one version of its role."""

    object: Literal["alias"] = "alias"
    role: Role
    alias: str
    version: str
    updated_at: UtcTime


class JobAttempt(RequestModel):
    """An attempt of a job, as who asks for something."""

    job: str = Field(pattern=r"^job_[a-z0-9]{16,32}$")
    attempt: int = Field(ge=1, le=1_000_000)


class AliasPut(RequestModel):
    """Move an alias: a compare-and-swap on `expected`."""

    version: str = Field(min_length=1, max_length=200)
    expected: str | None = None
    """What you believe it points at; null if it is new."""
    gate: Literal["if_better", "none"] = "none"
    evaluation: str | None = None
    student: str = Field(default="default", min_length=1, max_length=200)
    """Whose judgement the gate goes by: an alias, a name, or `name@number`."""
    reason: str | None = Field(default=None, max_length=500)
    by: str = Field(default="api", min_length=1, max_length=100)
    """Who asks, for the history: a person, a pipeline; a job gives its id."""
    attempt_of: JobAttempt | None = None
    """The attempt that asks: nothing moves once its job is no longer its own (409 `stale_attempt`)."""


class AliasRollback(RequestModel):
    """Move an alias back; `to` null is the version before."""

    expected: str = Field(max_length=200)
    to: str | None = Field(default=None, max_length=200)
    by: str = Field(default="api", min_length=1, max_length=100)


class AliasChange(WireModel):
    """One move of an alias."""

    role: Role
    alias: str
    version: str
    previous: str | None
    created_at: UtcTime
    by: str
    """Who asked; `install` made the first ones, `unknown` moved before this was written down."""
    reason: str
    evaluation: str | None = None


class EvaluationRow(WireModel):
    """One question answered by one version."""

    question_id: str
    question: str
    solution: str
    version: str
    text: str
    reward: float
    r_ss: float
    r_kl: float
    format: float
    uplift: float | None = None
    length: int
    """Tokens of the explanation."""
    closed: bool
    verbatim: bool
    """Whether the explanation contains the solution word for word."""
    engine: str | None = None
    """What scored it: "fake" is a stand-in that reads nothing. Null in rows from before this was noted."""


class Difference(WireModel):
    """Mean of after minus before on the same questions, with its 95% interval (paired bootstrap)."""

    mean: float
    ci_low: float
    ci_high: float
    n: int


class Evaluation(WireModel):
    """Comparison of a candidate with the version before, by one student; its rows can be read."""

    id: str
    object: Literal["evaluation"] = "evaluation"
    created_at: UtcTime
    job: str | None = None
    student: str
    format: str
    before: str
    after: str
    metrics: dict[str, dict[str, float]]
    """By version: means of reward, r_ss, r_kl, uplift, length, closed, verbatim."""
    difference: Difference
    """Of the reward."""
    difference_r_ss: Difference
    source: Literal["held_out", "shadow"] = "held_out"
    """Where the questions came from: a held-out split, or live traffic."""
    engine: str | None = None
    """What scored all rows, as in these."""


class ModelCard(WireModel):
    """One callable name, in OpenAI's list form."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(WireModel):
    """Every name that can be called."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class AliasHistory(WireModel):
    """Moves of one alias, newest first."""

    object: Literal["list"] = "list"
    data: list[AliasChange]
    has_more: bool = False
    last_id: str | None = None
