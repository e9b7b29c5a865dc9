"""Wire types of a shadow: a candidate that answers a sample of an alias's traffic, unseen by callers."""

from typing import Literal

from pydantic import Field

from rlt_core.schemas.base import RequestModel, Role, UtcTime, WireModel


class ShadowPut(RequestModel):
    """Let a candidate answer beside what an alias serves."""

    version: str = Field(min_length=1, max_length=200)
    """The candidate: a name (its newest version), or `name@number`."""
    share: float = Field(default=0.1, gt=0.0, le=1.0)
    """Of the alias's requests, drawn at random."""
    max_in_flight: int = Field(default=2, ge=1, le=64)
    """Most that the candidate answers at a time, in each process; what is drawn beyond it is skipped."""
    student: str = Field(default="default", min_length=1, max_length=200)
    """Who judges both answers: an alias, a name, or `name@number`."""


class ShadowCounts(WireModel):
    """What became of the requests that were drawn."""

    sampled: int
    """All of them, but for those in flight."""
    answered: int
    skipped: int
    """The service was busy, or the candidate had enough in hand."""
    failed: int


class Shadow(WireModel):
    """A candidate beside an alias, and what there is to compare so far."""

    object: Literal["shadow"] = "shadow"
    role: Role
    alias: str
    version: str
    served: str
    """What the alias points at now."""
    share: float
    max_in_flight: int
    student: str
    created_at: UtcTime
    counts: ShadowCounts
    pairs: int
    """Answers of both to the same question, of what is served now, judged by what the student's name means now."""


class ShadowEnded(WireModel):
    """Answer of DELETE; pairs that no evaluation holds are gone."""

    role: Role
    alias: str
    object: Literal["shadow.deleted"] = "shadow.deleted"
    deleted: bool = True
