"""What every spec of POST /v1/train has, whatever its kind."""

from typing import Annotated

from pydantic import Field

from rlt_core.schemas.base import RequestModel, UtcTime

VersionName = Annotated[str, Field(min_length=1, max_length=200)]
"""An alias, a name (its newest version), or `name@number`."""


class SharedSpec(RequestModel):
    """The fields that all kinds share."""

    name: str | None = Field(default=None, max_length=200)
    """For people; need not be unique."""
    dataset: str = Field(min_length=1, max_length=200)
    """A dataset's id."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of everything drawn: splits, order, sampling, weights."""
    max_runtime_s: float | None = Field(default=None, gt=0.0)
    """Seconds that all attempts together may run."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher first."""
    not_before: Annotated[UtcTime, Field(strict=False)] | None = None
    """It starts then at the earliest: ISO 8601 with its zone."""
