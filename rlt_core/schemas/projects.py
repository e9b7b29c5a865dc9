"""Wire types of projects: whose keys share what they make, what each may use and has used; keys; the audit log."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import Name, RequestModel, UtcTime, WireModel

MOST = 2**53
"""Largest count that every reader of JSON keeps whole."""


class Quotas(RequestModel):
    """What a project may use; null has no limit. Days and months are those of UTC."""

    requests_per_day: int | None = Field(default=None, ge=0, le=MOST)
    """Calls of explain, score, solve and chat; a batch is one."""
    tokens_per_day: int | None = Field(default=None, ge=0, le=MOST)
    """Read and written by engines for those calls, as `usage` of their answers counts them."""
    jobs_at_once: int | None = Field(default=None, ge=0, le=10**6)
    """Jobs that have not ended; a pipeline with its steps is one."""
    gpu_hours_per_month: float | None = Field(default=None, ge=0.0, le=1e9)
    """Running time by processes of training, of the jobs that were submitted in the month. Jobs then need
    `max_runtime_s`, and count with it until they have ended."""
    disk_bytes: int | None = Field(default=None, ge=0, le=MOST)
    """Of datasets and versions."""


class QuotaUse(WireModel):
    """What a project has used, each of what the quota of that name bounds."""

    requests_per_day: int
    """Of today; other processes' within a second."""
    tokens_per_day: int
    jobs_at_once: int
    gpu_hours_per_month: float
    disk_bytes: int


class Project(WireModel):
    """A tenant: its keys find what any of them made."""

    object: Literal["project"] = "project"
    id: str
    name: str
    created_at: UtcTime
    quotas: Quotas
    used: QuotaUse


class ProjectPost(RequestModel):
    """A new project; keys are made for it on the server's machine (`rlt keys create --project`)."""

    name: Name
    """Unique, and for good."""
    quotas: Quotas = Field(default_factory=Quotas)


class KeyCard(WireModel):
    """An API key without its secret, which nobody has but its holder."""

    object: Literal["key"] = "key"
    id: str
    name: str
    project: str | None
    """Name of its project; null where what it makes is its own."""
    scopes: list[str]
    max_per_minute: int | None
    max_at_once: int | None
    created_at: UtcTime
    revoked_at: UtcTime | None


class AuditEntry(WireModel):
    """Something that was done, by whom and when; it holds no texts."""

    object: Literal["audit.entry"] = "audit.entry"
    id: str
    created_at: UtcTime
    key: str | None
    """Null for what was done on the server's machine (`rlt keys`, `rlt projects`)."""
    project: str | None
    """Id of the key's project."""
    action: str
    """Method and route of a call, or a command."""
    subject: str | None
    """Id or name of what was made or changed."""
    status: int | None
    """Of the answer; null for a command."""
    request_id: str | None
